//! What the cases are written with.

use std::{sync::Arc, time::Duration};

use crate::{
    backend::Backend,
    error::BoxError,
    event::{Event, NewEvent, Position},
    event_log::EventLog,
    operation::wait,
    page::Page,
    query::{AppendCondition, Query, QueryItem},
    store::Store,
    subscription::Subscription,
};

/// What a case answers: an error fails it, as a failed assertion does.
pub(super) type CaseResult = Result<(), BoxError>;

/// How long a case waits for what must come. Only a failing case waits that long.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Asserts that something was refused with this kind, and gives the error.
macro_rules! refused {
    ($result:expr, $kind:pat $(if $guard:expr)?) => {
        match $result {
            Ok(accepted) => panic!("`{}` was accepted: {accepted:?}", stringify!($result)),
            Err(error) => {
                assert!(
                    matches!(error.kind(), $kind $(if $guard)?),
                    "`{}` should be refused as {}, not as {error:?}",
                    stringify!($result),
                    stringify!($kind),
                );
                error
            }
        }
    };
}
pub(super) use refused;

/// The log that most cases use.
pub(super) fn orders(store: &Store) -> crate::Result<EventLog> {
    store.event_log("orders")
}

/// An event of this type that says nothing.
pub(super) fn event(event_type: &str) -> NewEvent {
    NewEvent::json(event_type, "null")
}

/// So many events, numbered from 1 in their payload.
pub(super) fn numbered(count: u64) -> Vec<NewEvent> {
    (1..=count).map(|n| NewEvent::new("Counted", &n)).collect()
}

/// A query for one tag.
pub(super) fn tagged(tag: &str) -> Query {
    QueryItem::new().tag(tag).into()
}

/// A query for one type.
pub(super) fn typed(event_type: &str) -> Query {
    QueryItem::new().types([event_type]).into()
}

/// A condition: nothing matches the query after that position.
pub(super) fn none(query: impl Into<Query>, after: Position) -> AppendCondition {
    AppendCondition { fail_if_events_match: query.into(), after }
}

/// The sequence numbers of a page.
pub(super) fn seq_nrs(page: &Page<Event>) -> Vec<u64> {
    page.into_iter().map(|event| event.seq_nr).collect()
}

/// The positions of a page.
pub(super) fn positions(page: &Page<Event>) -> Vec<u64> {
    page.into_iter().map(|event| event.position.get()).collect()
}

/// The types of a page.
pub(super) fn types(page: &Page<Event>) -> Vec<&str> {
    page.into_iter().map(|event| event.event_type.as_str()).collect()
}

/// Everything a log holds.
pub(super) fn everything(log: &EventLog) -> crate::Result<Vec<Event>> {
    log.query(Query::all()).each().wait_iter().collect()
}

/// The next event of a subscription, which must come.
pub(super) fn next(subscription: &mut Subscription<Event>) -> Result<Event, BoxError> {
    let next = subscription.try_next().wait_timeout(PATIENCE).ok_or("the subscription is silent")?;
    next?.ok_or_else(|| "the subscription ended".into())
}

/// The backend beneath a store.
pub(super) fn backend(store: &Store) -> crate::Result<Arc<dyn Backend>> {
    wait(store.backend())
}

/// Runs the threads and gives their answers, or the first error.
pub(super) fn in_parallel<T: Send>(
    threads: usize,
    run: impl Fn(usize) -> Result<T, BoxError> + Sync,
) -> Result<Vec<T>, BoxError> {
    std::thread::scope(|scope| {
        let run = &run;
        let handles: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        handles.into_iter().map(|handle| handle.join().map_err(|_| "a thread panicked")?).collect()
    })
}

/// A small deterministic source of numbers (SplitMix64).
#[derive(Debug)]
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of these.
    pub(super) fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).expect("an index fits")]
    }

    /// Some of these, each with a chance of one in `odds`.
    pub(super) fn some_of<'a>(&mut self, choices: &[&'a str], odds: u64) -> Vec<&'a str> {
        choices.iter().copied().filter(|_| self.below(odds) == 0).collect()
    }
}
