//! Random calls of everything that a log offers, with answers that can be compared.
//!
//! Numbers are kept as distances from where the log and the stream are when the call is made.

use larder::{
    AppendCondition, Error, ErrorKind, EventLog, Expected, NewEvent, Position, Query, QueryItem, Result,
    Store, Uuid,
};

use crate::workload::Numbers;

const LOGS: [&str; 2] = ["first", "second"];
const STREAMS: [&str; 4] = ["s1", "s2", "s3", "s4"];
const TYPES: [&str; 3] = ["A", "B", "C"];
const TAGS: [&str; 4] = ["x", "y", "z", "rare"];

#[derive(Debug, Clone)]
pub(crate) struct Command {
    log: &'static str,
    call: Call,
}

#[derive(Debug, Clone)]
enum Call {
    Append {
        stream: Option<&'static str>,
        guess: Guess,
        condition: Option<(Query, Back)>,
        events: Vec<Event>,
    },
    Batch {
        id: u128,
        streams: Vec<(&'static str, Guess)>,
    },
    Compact {
        stream: &'static str,
        through: Back,
    },
    RaiseMark {
        stream: &'static str,
        through: Back,
    },
    Trim(Back),
    Forget(Back),
    DropLog,
    Read {
        stream: &'static str,
        from: Back,
        descending: bool,
    },
    Query {
        query: Query,
        after: Option<Back>,
        descending: bool,
    },
    Streams,
    Head(&'static str),
    Infos,
}

/// So far behind three beyond the head.
#[derive(Debug, Clone, Copy)]
struct Back(u64);

impl Back {
    fn of(self, head: u64) -> u64 {
        (head + 3).saturating_sub(self.0)
    }
}

/// What a writer believes, and how wrong it is.
#[derive(Debug, Clone, Copy)]
enum Guess {
    Any,
    Exact(Back),
}

impl Guess {
    fn of(self, head: u64) -> Expected {
        match self {
            Self::Any => Expected::Any,
            Self::Exact(back) => Expected::Exact(back.of(head)),
        }
    }
}

/// The most items of a page.
const LIMIT: usize = 20;

#[derive(Debug, Clone)]
struct Event {
    event_type: &'static str,
    tags: Vec<&'static str>,
    id: Option<u128>,
}

impl From<&Event> for NewEvent {
    fn from(event: &Event) -> Self {
        let new = NewEvent::json(event.event_type, "null").tags(event.tags.iter().copied());
        match event.id {
            Some(id) => new.id(Uuid::from_u128(id)),
            None => new,
        }
    }
}

pub(crate) fn random_commands(seed: u64, count: usize) -> Vec<Command> {
    let mut numbers = Numbers::new(seed);
    let mut commands: Vec<Command> = Vec::with_capacity(count);
    while commands.len() < count {
        // Now and then one again, as a retry.
        let earlier = usize::try_from(numbers.below(1 + commands.len() as u64)).expect("an index fits");
        let again = commands.get(earlier).filter(|_| numbers.below(8) == 0).cloned();
        commands.push(
            again.unwrap_or_else(|| Command { log: numbers.one_of(&LOGS), call: random_call(&mut numbers) }),
        );
    }
    commands
}

fn random_call(numbers: &mut Numbers) -> Call {
    let (stream, near, far) =
        (numbers.one_of(&STREAMS), Back(numbers.below(8)), Back(numbers.below(8) * numbers.below(8)));
    let descending = numbers.below(2) == 0;
    match numbers.below(40) {
        0..20 => Call::Append {
            stream: (numbers.below(4) > 0).then_some(stream),
            guess: random_guess(numbers),
            condition: (numbers.below(2) == 0).then(|| (random_query(numbers), near)),
            events: random_events(numbers),
        },
        20..22 => Call::Batch {
            id: u128::from(numbers.below(200)),
            streams: (0..2).map(|_| (numbers.one_of(&STREAMS), random_guess(numbers))).collect(),
        },
        22 => Call::Compact { stream, through: near },
        23 => Call::RaiseMark { stream, through: near },
        24 if numbers.below(3) == 0 => Call::Trim(far),
        25 => Call::Forget(far),
        26 if numbers.below(12) == 0 => Call::DropLog,
        24..31 => Call::Read { stream, from: far, descending },
        31..37 => {
            let after = (numbers.below(2) == 0).then_some(far);
            Call::Query { query: random_query(numbers), after, descending }
        }
        37 => Call::Streams,
        38 => Call::Head(stream),
        _ => Call::Infos,
    }
}

fn random_events(numbers: &mut Numbers) -> Vec<Event> {
    let mut event = || Event {
        event_type: numbers.one_of(&TYPES),
        tags: numbers.some_of(&TAGS),
        id: (numbers.below(6) == 0).then(|| u128::from(numbers.below(60))),
    };
    let first = event();
    if first.tags.len() > 1 { vec![first, event()] } else { vec![first] }
}

/// Mostly right.
fn random_guess(numbers: &mut Numbers) -> Guess {
    match numbers.below(8) {
        0 | 1 => Guess::Any,
        2 => Guess::Exact(Back(numbers.below(6))),
        _ => Guess::Exact(Back(3)),
    }
}

fn random_query(numbers: &mut Numbers) -> Query {
    let (tags, types) = (numbers.some_of(&TAGS), numbers.some_of(&TYPES));
    if tags.is_empty() && types.is_empty() {
        return Query::all();
    }
    QueryItem::new().tags(tags).types(types).into()
}

/// Where a log and the stream of a command are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) log: u64,
    pub(crate) stream: u64,
}

impl Command {
    /// Where its log and its stream are in that store.
    pub(crate) fn heads(&self, store: &Store) -> Result<Heads> {
        let log = store.event_log(self.log)?;
        let stream = match &self.call {
            Call::Append { stream: Some(stream), .. }
            | Call::Compact { stream, .. }
            | Call::RaiseMark { stream, .. }
            | Call::Read { stream, .. } => log.head(*stream).wait()?,
            Call::Batch { streams, .. } => log.head(streams[0].0).wait()?,
            _ => 0,
        };
        Ok(Heads { log: log.info().wait()?.map_or(0, |info| info.head.get()), stream })
    }

    /// The answer as text: an error by what it says to programs.
    pub(crate) fn run(&self, store: &Store, heads: Heads) -> Result<String> {
        Ok(self.answer(store, &store.event_log(self.log)?, heads).unwrap_or_else(|error| told(&error)))
    }

    fn answer(&self, store: &Store, log: &EventLog, heads: Heads) -> Result<String> {
        let position = |back: &Back| Position::new(back.of(heads.log));
        Ok(match &self.call {
            Call::Append { stream, guess, condition, events } => {
                let condition = condition.as_ref().map(|(query, back)| AppendCondition {
                    fail_if_events_match: query.clone(),
                    after: position(back),
                });
                let write = match (stream, condition) {
                    (None, condition) => log.append_if(events, condition),
                    (Some(stream), None) => log.append(*stream, guess.of(heads.stream), events),
                    (Some(stream), Some(condition)) => {
                        log.append(*stream, guess.of(heads.stream), events).condition(condition)
                    }
                };
                format!("{:?}", write.wait()?)
            }
            Call::Batch { id, streams } => {
                let mut batch = store.batch().id(Uuid::from_u128(*id));
                let event = || [NewEvent::json("Batched", "1").tag("x")];
                let append = |(stream, guess): &(&str, Guess)| {
                    batch.add(log.append(*stream, guess.of(heads.stream), event()))
                };
                let slots: Vec<_> = streams.iter().map(append).collect();
                let committed = batch.commit().wait()?;
                let answers: Vec<_> = slots.into_iter().map(|slot| committed[slot]).collect();
                format!("{answers:?}")
            }
            Call::Compact { stream, through } => {
                format!("{:?}", log.compact(*stream, through.of(heads.stream)).wait()?)
            }
            Call::RaiseMark { stream, through } => {
                format!("{:?}", log.raise_mark(*stream, through.of(heads.stream)).wait()?)
            }
            Call::Trim(through) => format!("{:?}", log.trim(position(through)).wait()?),
            Call::Forget(through) => format!("{:?}", log.forget(position(through)).wait()?),
            Call::DropLog => format!("{:?}", log.drop_log().wait()?),
            Call::Read { stream, from, descending } => {
                let read = log.read(*stream, from.of(heads.stream)..);
                page(read, *descending)?
            }
            Call::Query { query, after, descending } => {
                page(log.query(query).after(after.as_ref().map(position)), *descending)?
            }
            Call::Streams => format!("{:?}", log.streams().wait()?.items),
            Call::Head(stream) => format!("{:?}", log.head(*stream).wait()?),
            Call::Infos => format!("{:?} {:?}", log.info().wait()?, store.logs().wait()?),
        })
    }
}

fn page(read: larder::Read<larder::Event>, descending: bool) -> Result<String> {
    let read = read.limit(LIMIT);
    let page = if descending { read.descending() } else { read }.wait()?;
    Ok(format!("{:?} {}", page.items, page.through))
}

fn told(error: &Error) -> String {
    match error.kind() {
        ErrorKind::InvalidArgument { field, .. } => format!("InvalidArgument {field} {:?}", error.index()),
        kind => format!("{kind:?} {:?}", error.index()),
    }
}
