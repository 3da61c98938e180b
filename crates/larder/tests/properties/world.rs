//! Turns the specifications in commands into requests, as the world is when they run.

use std::collections::BTreeSet;

use larder::{
    AppendCondition, Expected, Payload, Position, Query, QueryItem, Uuid,
    backend::{AppendOperation, Backend, EventData, EventRead, EventSource, Operation},
    wait,
};

use crate::{
    command::{
        self, ConditionSpec, EventSpec, LOGS, Number, QuerySpec, ReadSpec, STREAMS, SourceSpec, TAGS, TYPES,
    },
    run,
};

/// What commands refer to, as it is when they run.
pub(crate) struct World<'a> {
    pub(crate) oracle: &'a dyn Backend,
}

impl World<'_> {
    pub(crate) fn operation(&self, operation: &command::Operation) -> Operation {
        use command::Operation as Spec;
        let name = |log: &usize| LOGS[*log].into();
        match operation {
            Spec::Append { log, stream, expected, condition, events } => {
                let head = |number: &Number| self.stream_number(*log, stream.unwrap_or_default(), *number);
                Operation::Append(AppendOperation {
                    log: name(log),
                    stream: stream.map(|stream| STREAMS[stream].to_owned()),
                    expected: expected.as_ref().map_or(Expected::Any, |number| Expected::Exact(head(number))),
                    condition: condition.as_ref().map(|condition| self.condition(*log, condition)),
                    events: events.iter().map(event_data).collect(),
                })
            }
            Spec::Fill { log, stream, count } => {
                let (log, stream) = (name(log), stream.map(|stream| STREAMS[stream].to_owned()));
                let (expected, condition, events) = (Expected::Any, None, filling(*count));
                Operation::Append(AppendOperation { log, stream, expected, condition, events })
            }
            Spec::RequireHead { log, stream, head } => Operation::RequireHead {
                log: name(log),
                stream: STREAMS[*stream].to_owned(),
                head: self.stream_number(*log, *stream, *head),
            },
            Spec::RequireNoneMatch { log, condition } => {
                Operation::RequireNoneMatch { log: name(log), condition: self.condition(*log, condition) }
            }
            Spec::Compact { log, stream, through } => Operation::Compact {
                log: name(log),
                stream: STREAMS[*stream].to_owned(),
                through: self.stream_number(*log, *stream, *through),
            },
            Spec::RaiseMark { log, stream, through } => Operation::RaiseMark {
                log: name(log),
                stream: STREAMS[*stream].to_owned(),
                // What is beyond the highest number is refused before a backend sees it.
                through: self.stream_number(*log, *stream, *through).min((1 << 47) - 1),
            },
            Spec::Trim { log, through } => {
                Operation::Trim { log: name(log), through: self.position(*log, *through) }
            }
            Spec::Forget { log, through } => {
                Operation::Forget { log: name(log), through: self.position(*log, *through) }
            }
            Spec::DropLog { log } => Operation::DropLog { log: name(log) },
            Spec::AuditConditions { log, enabled } => {
                Operation::AuditConditions { log: name(log), enabled: *enabled }
            }
            Spec::Snapshot(change) => change.operation(self.oracle),
            Spec::Restore { log } => {
                let rows = run::history(self.oracle, LOGS[1 - log], 100).expect("memory can be read");
                Operation::Restore { log: name(log), rows }
            }
        }
    }

    pub(crate) fn read(&self, spec: &ReadSpec) -> EventRead {
        let ReadSpec { log, source, after, limit, max_bytes, descending } = spec;
        EventRead {
            log: LOGS[*log].into(),
            source: match source {
                SourceSpec::Stream { stream, from, to } => {
                    EventSource::Stream { stream: STREAMS[*stream].to_owned(), from: *from, to: *to }
                }
                SourceSpec::Query(spec) => EventSource::Query(query(spec)),
            },
            after: after.map(|after| self.position(*log, after)),
            limit: *limit,
            max_bytes: *max_bytes,
            descending: *descending,
        }
    }

    fn condition(&self, log: usize, spec: &ConditionSpec) -> AppendCondition {
        AppendCondition { fail_if_events_match: query(&spec.query), after: self.position(log, spec.after) }
    }

    fn position(&self, log: usize, number: Number) -> Position {
        let info = wait(self.oracle.log_info(LOGS[log].into())).expect("memory can be read");
        Position::new(resolve(number, info.map_or(0, |info| info.head.get())))
    }

    fn stream_number(&self, log: usize, stream: usize, number: Number) -> u64 {
        let info = self.oracle.stream_info(LOGS[log].into(), STREAMS[stream].into());
        resolve(number, wait(info).expect("memory can be read").map_or(0, |info| info.head))
    }
}

fn resolve(number: Number, head: u64) -> u64 {
    match number {
        Number::Is(number) => number,
        Number::Near(distance) => head.saturating_add_signed(distance),
    }
}

fn query(QuerySpec(items): &QuerySpec) -> Query {
    let item = |(types, tags): &(BTreeSet<usize>, BTreeSet<usize>)| {
        let types = types.iter().map(|index| TYPES[*index]);
        QueryItem::new().types(types).tags(tags.iter().map(|index| TAGS[*index]))
    };
    items.as_ref().map_or_else(Query::all, |items| items.iter().map(item).collect::<Vec<_>>().into())
}

/// So many events, of all types and with all tags.
fn filling(count: usize) -> Vec<EventData> {
    let event = |number: usize| {
        let tags = BTreeSet::from([number % TAGS.len(), number / 7 % TAGS.len()]);
        let (event_type, payload) = (number % TYPES.len(), number % 8);
        event_data(&EventSpec { event_type, payload, metadata: number.is_multiple_of(5), tags, id: None })
    };
    (0..count).map(event).collect()
}

fn event_data(spec: &EventSpec) -> EventData {
    EventData {
        event_type: TYPES[spec.event_type].to_owned(),
        payload: match spec.payload {
            0 => Payload::Json("null".into()),
            1 => Payload::Json("1e+21".into()),
            2 => Payload::Json(r#"{ "b":1, "a":2, "a":3 }"#.into()),
            3 => Payload::Json(r#""\ud800""#.into()),
            4 => Payload::Bytes(vec![0, 159, 146, 150]),
            5 => Payload::Bytes(Vec::new()),
            6 => Payload::Bytes(b"null".to_vec()),
            _ => Payload::Json(format!("\"{}\"", "ü".repeat(40))),
        },
        metadata: spec.metadata.then(|| r#"{"who":"me"}"#.into()),
        tags: spec.tags.iter().rev().map(|index| TAGS[*index].to_owned()).collect(),
        id: spec.id.map(|id| Uuid::from_u128(0x1D_0000 + u128::from(id))),
    }
}
