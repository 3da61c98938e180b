//! Random commands over a small world, so that they meet often.

use std::{collections::BTreeSet, time::Duration};

use proptest::{collection::vec, option, prelude::*};
use serde::{Deserialize, Serialize};

use crate::snapshot;

pub(crate) const LOGS: [&str; 2] = ["orders", "Orders:2_a.b-c"];
pub(crate) const STREAMS: [&str; 4] = ["order-1", "ORDER-1", "it's \"ü\" 100%", "z"];
pub(crate) const TYPES: [&str; 3] = ["Placed", "Shipped", "placed"];
pub(crate) const TAGS: [&str; 4] = ["customer:1", "customer:2", "Customer:1", "ü'"];

/// A number that is given, or one near a head when the command runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Number {
    Is(u64),
    Near(i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventSpec {
    pub(crate) event_type: usize,
    pub(crate) payload: usize,
    pub(crate) metadata: bool,
    pub(crate) tags: BTreeSet<usize>,
    pub(crate) id: Option<u8>,
}

/// Items of types and tags; `None` is every event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QuerySpec(pub(crate) Option<Vec<(BTreeSet<usize>, BTreeSet<usize>)>>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConditionSpec {
    pub(crate) query: QuerySpec,
    pub(crate) after: Number,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Operation {
    Append {
        log: usize,
        stream: Option<usize>,
        /// `None` is any.
        expected: Option<Number>,
        condition: Option<ConditionSpec>,
        events: Vec<EventSpec>,
    },
    /// Appends so many events.
    Fill {
        log: usize,
        stream: Option<usize>,
        count: usize,
    },
    RequireHead {
        log: usize,
        stream: usize,
        head: Number,
    },
    RequireNoneMatch {
        log: usize,
        condition: ConditionSpec,
    },
    Compact {
        log: usize,
        stream: usize,
        through: Number,
    },
    RaiseMark {
        log: usize,
        stream: usize,
        through: Number,
    },
    Trim {
        log: usize,
        through: Number,
    },
    Forget {
        log: usize,
        through: Number,
    },
    DropLog {
        log: usize,
    },
    AuditConditions {
        log: usize,
        enabled: bool,
    },
    /// Into one log what the other holds now.
    Restore {
        log: usize,
    },
    Snapshot(snapshot::Change),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum SourceSpec {
    Stream { stream: usize, from: u64, to: u64 },
    Query(QuerySpec),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReadSpec {
    pub(crate) log: usize,
    pub(crate) source: SourceSpec,
    pub(crate) after: Option<Number>,
    pub(crate) limit: Option<usize>,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) descending: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    Commit {
        id: Option<u8>,
        on_callers_thread: bool,
        operations: Vec<Operation>,
    },
    /// An earlier commit, word for word: so many before the last one.
    Repeat(usize),
    Read(ReadSpec),
    /// The same, from page to page to the end.
    ReadPages(ReadSpec),
    Streams {
        log: usize,
        after: Option<usize>,
        limit: Option<usize>,
        descending: bool,
    },
    Infos {
        log: usize,
        stream: usize,
    },
    Snapshots(snapshot::Look),
    Stats,
    Verify,
    History {
        log: usize,
        limit: usize,
    },
    Advance(Duration),
    Reopen,
}

/// How large the logs become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Small,
    /// Thousands of events, so that what engines do in slices takes more than one.
    Large,
}

pub(crate) fn commands(scale: Scale) -> impl Strategy<Value = Vec<Command>> {
    vec(command(scale), 1..30)
}

pub(crate) fn command(scale: Scale) -> impl Strategy<Value = Command> {
    let commit = (option::weighted(0.2, 0..3_u8), any::<bool>(), operations(scale));
    let history_limit = match scale {
        Scale::Small => 1..5_usize,
        Scale::Large => 100..700,
    };
    prop_oneof![
        30 => commit.prop_map(|(id, on_callers_thread, operations)| Command::Commit {
            id, on_callers_thread, operations
        }),
        4 => (0..6_usize).prop_map(Command::Repeat),
        8 => read(scale).prop_map(Command::Read),
        3 => read(scale).prop_map(Command::ReadPages),
        2 => (log(), option::of(stream()), option::of(1..4_usize), any::<bool>()).prop_map(
            |(log, after, limit, descending)| Command::Streams { log, after, limit, descending }
        ),
        2 => (log(), stream()).prop_map(|(log, stream)| Command::Infos { log, stream }),
        8 => snapshot::look().prop_map(Command::Snapshots),
        1 => Just(Command::Stats),
        1 => Just(Command::Verify),
        1 => (log(), history_limit).prop_map(|(log, limit)| Command::History { log, limit }),
        2 => (0..40_000_000_000_u64).prop_map(|micros| Command::Advance(Duration::from_micros(micros))),
        1 => Just(Command::Reopen),
    ]
}

fn operations(scale: Scale) -> impl Strategy<Value = Vec<Operation>> {
    prop_oneof![
        3 => vec(operation(scale), 1..2),
        1 => vec(operation(scale), 0..5),
    ]
}

fn operation(scale: Scale) -> impl Strategy<Value = Operation> {
    let (fills, count) = match scale {
        Scale::Small => (1, 1..9_usize),
        Scale::Large => (10, 200..900),
    };
    let fill = (log(), option::weighted(0.8, stream()), count);
    prop_oneof![
        20 => append(),
        fills => fill.prop_map(|(log, stream, count)| Operation::Fill { log, stream, count }),
        2 => (log(), stream(), number()).prop_map(|(log, stream, head)| Operation::RequireHead {
            log, stream, head
        }),
        2 => (log(), condition()).prop_map(|(log, condition)| Operation::RequireNoneMatch { log, condition }),
        4 => (log(), stream(), number()).prop_map(|(log, stream, through)| Operation::Compact {
            log, stream, through
        }),
        2 => (log(), stream(), number()).prop_map(|(log, stream, through)| Operation::RaiseMark {
            log, stream, through
        }),
        2 => (log(), number()).prop_map(|(log, through)| Operation::Trim { log, through }),
        2 => (log(), number()).prop_map(|(log, through)| Operation::Forget { log, through }),
        1 => log().prop_map(|log| Operation::DropLog { log }),
        1 => (log(), any::<bool>()).prop_map(|(log, enabled)| Operation::AuditConditions { log, enabled }),
        1 => log().prop_map(|log| Operation::Restore { log }),
        10 => snapshot::change().prop_map(Operation::Snapshot),
    ]
}

fn append() -> impl Strategy<Value = Operation> {
    let stream = option::weighted(0.8, stream());
    let expected = option::weighted(0.5, number());
    let condition = option::weighted(0.3, condition());
    (log(), stream, expected, condition, vec(event(), 0..4)).prop_map(
        |(log, stream, expected, condition, events)| {
            let expected = expected.filter(|_| stream.is_some());
            Operation::Append { log, stream, expected, condition, events }
        },
    )
}

fn event() -> impl Strategy<Value = EventSpec> {
    (0..TYPES.len(), 0..8_usize, any::<bool>(), some_of(TAGS.len()), option::weighted(0.2, 0..4_u8)).prop_map(
        |(event_type, payload, metadata, tags, id)| EventSpec { event_type, payload, metadata, tags, id },
    )
}

fn condition() -> impl Strategy<Value = ConditionSpec> {
    (query(), number()).prop_map(|(query, after)| ConditionSpec { query, after })
}

fn query() -> impl Strategy<Value = QuerySpec> {
    let item = (some_of(TYPES.len()), some_of(TAGS.len()))
        .prop_filter("an item needs a type or a tag", |(types, tags)| !types.is_empty() || !tags.is_empty());
    option::weighted(0.8, vec(item, 1..4)).prop_map(QuerySpec)
}

fn read(scale: Scale) -> impl Strategy<Value = ReadSpec> {
    let (limit, bytes) = match scale {
        Scale::Small => (option::of(1..6_usize).boxed(), option::weighted(0.2, 0..80_usize).boxed()),
        Scale::Large => {
            ((50..900_usize).prop_map(Some).boxed(), option::weighted(0.2, 5_000..20_000_usize).boxed())
        }
    };
    let stream = (stream(), 0..8_u64, prop_oneof![3 => 0..8_u64, 1 => Just(u64::MAX)])
        .prop_map(|(stream, from, to)| SourceSpec::Stream { stream, from, to });
    let source = prop_oneof![stream, query().prop_map(SourceSpec::Query)];
    let after = option::weighted(0.4, number());
    (log(), source, after, limit, bytes, any::<bool>()).prop_map(
        |(log, source, after, limit, max_bytes, descending)| ReadSpec {
            log,
            source,
            after,
            limit,
            max_bytes,
            descending,
        },
    )
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        4 => (-3..2_i64).prop_map(Number::Near),
        4 => Just(Number::Near(0)),
        4 => (0..9_u64).prop_map(Number::Is),
        1 => Just(Number::Is(i64::MAX as u64)),
        1 => Just(Number::Is(u64::MAX)),
    ]
}

fn log() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(1)]
}

fn stream() -> impl Strategy<Value = usize> {
    0..STREAMS.len()
}

/// A set of indexes, small ones more often.
fn some_of(count: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    vec(0..count, 0..3).prop_map(BTreeSet::from_iter)
}
