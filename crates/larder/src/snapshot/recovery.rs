//! Recovery: a snapshot, and the events after it.

use serde::de::DeserializeOwned;

use super::{Snapshot, Snapshots, Subject};
use crate::{
    backend::{EventRead, EventSource, HiddenRead},
    error::{BoxError, Error, ErrorKind, Result},
    event::{Event, Position},
    operation::Call,
    page::Page,
    query::Query,
};

/// How much a page of a recovery holds at most.
const PAGE_EVENTS: usize = 1_000;
const PAGE_BYTES: usize = 4 << 20;

/// A state that was recovered, and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered<S, At = u64> {
    /// The state.
    pub state: S,
    /// What the state holds: of a stream all events through this `seq_nr`, a sound [`Expected`](crate::Expected); of a
    /// query all through this position, a sound `after` for an append condition.
    pub at: At,
    /// The place of the snapshot that it began with, if there was one.
    pub snapshot_at: Option<At>,
    /// How many events were read after that.
    pub events: u64,
}

/// Makes the initial state.
pub(crate) type Initial<'a, S> = dyn Fn() -> S + Sync + 'a;

/// Makes a state and an event the next state.
pub(crate) type Evolve<'a, S> = dyn FnMut(S, &Event) -> Result<S, BoxError> + Send + 'a;

/// Why an attempt does not give the state.
enum Trouble {
    /// What it found is not whole. That may be because somebody has saved a snapshot and compacted in between.
    NotWhole(Error),
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Snapshots {
    /// The state of a stream: its newest snapshot (of this schema, if one is given) or else the initial state, and
    /// the events after it, one by one. A state is never recovered from a part of what it was made of.
    ///
    /// `evolve` may be started again from the beginning, if the stream is compacted meanwhile: it should do nothing but
    /// compute.
    ///
    /// # Errors
    /// `Corrupted`: a snapshot beyond the stream's head, a hole in the events after it, or a stream that was compacted
    /// and has no snapshot that covers the compacted part. `Decode` if the snapshot is not an `S`, or `evolve` fails (its
    /// error is the source, unless it is an [`Error`] itself). Those of [`latest`](Self::latest).
    pub fn recover<S, I, F>(
        &self,
        stream: impl Into<String>,
        schema: Option<&str>,
        initial: I,
        evolve: F,
    ) -> Call<Recovered<S>>
    where
        S: DeserializeOwned + Send + 'static,
        I: Fn() -> S + Send + Sync + 'static,
        F: FnMut(S, &Event) -> Result<S, BoxError> + Send + 'static,
    {
        let (snapshots, stream, schema) = (self.clone(), stream.into(), schema.map(str::to_owned));
        let mut evolve = evolve;
        Call::new(
            async move { snapshots.recover_stream(&stream, schema.as_deref(), &initial, &mut evolve).await },
        )
    }

    /// The state of a query: the newest snapshot under the query's name (of this schema, if one is given) or else the
    /// initial state, and the events that match the query after it. Otherwise as [`recover`](Self::recover).
    ///
    /// The name stands for the query: whoever changes the query gives it another name, or another schema.
    ///
    /// # Errors
    /// As [`recover`](Self::recover): `Corrupted` is also an event after the snapshot that matches and was compacted or
    /// trimmed. (What was [forgotten](crate::EventLog::forget) too cannot be found out.)
    pub fn recover_query<S, I, F>(
        &self,
        name: impl Into<String>,
        query: impl Into<Query>,
        schema: Option<&str>,
        initial: I,
        evolve: F,
    ) -> Call<Recovered<S, Position>>
    where
        S: DeserializeOwned + Send + 'static,
        I: Fn() -> S + Send + Sync + 'static,
        F: FnMut(S, &Event) -> Result<S, BoxError> + Send + 'static,
    {
        let (snapshots, schema) = (self.clone(), schema.map(str::to_owned));
        let (name, query, mut evolve) = (name.into(), query.into(), evolve);
        Call::new(async move {
            snapshots.recover_matching(&name, &query, schema.as_deref(), &initial, &mut evolve).await
        })
    }

    /// [`recover`](Self::recover), borrowing what it needs.
    pub(crate) async fn recover_stream<S: DeserializeOwned + Send>(
        &self,
        stream: &str,
        schema: Option<&str>,
        initial: &Initial<'_, S>,
        evolve: &mut Evolve<'_, S>,
    ) -> Result<Recovered<S>> {
        let subject = Subject::stream(stream);
        let mut snapshot = self.find(subject.clone(), None, schema.map(str::to_owned)).await?;
        loop {
            let not_whole = match self.replay_stream(stream, snapshot.as_ref(), initial, evolve).await {
                Ok(recovered) => return Ok(recovered),
                Err(Trouble::Failed(error)) => return Err(error.during("recover")),
                Err(Trouble::NotWhole(error)) => error.with("stream", stream),
            };
            snapshot = self.newer(&subject, schema, snapshot, not_whole).await?;
        }
    }

    /// [`recover_query`](Self::recover_query), borrowing what it needs.
    pub(crate) async fn recover_matching<S: DeserializeOwned + Send>(
        &self,
        name: &str,
        query: &Query,
        schema: Option<&str>,
        initial: &Initial<'_, S>,
        evolve: &mut Evolve<'_, S>,
    ) -> Result<Recovered<S, Position>> {
        query.check()?;
        let subject = Subject::Query(name.to_owned());
        let mut snapshot = self.find(subject.clone(), None, schema.map(str::to_owned)).await?;
        loop {
            let not_whole = match self.replay_query(query, snapshot.as_ref(), initial, evolve).await {
                Ok(recovered) => return Ok(recovered),
                Err(Trouble::Failed(error)) => return Err(error.during("recover")),
                Err(Trouble::NotWhole(error)) => error.with("query", name),
            };
            snapshot = self.newer(&subject, schema, snapshot, not_whole).await?;
        }
    }

    /// A newer snapshot than the one that did not lead to the state; without one, the trouble is real.
    async fn newer(
        &self,
        subject: &Subject,
        schema: Option<&str>,
        used: Option<Snapshot>,
        trouble: Error,
    ) -> Result<Option<Snapshot>> {
        let found = self.find(subject.clone(), None, schema.map(str::to_owned)).await?;
        let place = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|snapshot| snapshot.at);
        if place(&found) > place(&used) {
            return Ok(found);
        }
        Err(trouble.during("recover").with("log", &*self.log))
    }

    async fn replay_stream<S: DeserializeOwned + Send>(
        &self,
        stream: &str,
        snapshot: Option<&Snapshot>,
        initial: &Initial<'_, S>,
        evolve: &mut Evolve<'_, S>,
    ) -> Result<Recovered<S>, Trouble> {
        let backend = self.store.backend().await?;
        // After the snapshot, so that a head below it is no matter of timing.
        let info = backend.stream_info(self.log.clone(), stream.to_owned()).await?;
        let (head, compacted) = info.map_or((0, 0), |info| (info.head, info.compacted_through));
        let snapshot_at = snapshot.map(|snapshot| snapshot.at);
        let mut at = snapshot_at.unwrap_or(0);
        if at > head {
            return Err(not_whole("a snapshot beyond the head", at, head));
        }
        if compacted > at {
            return Err(not_whole("a compacted stream without a snapshot that covers it", at, compacted));
        }
        let mut state = self.start(snapshot, initial)?;
        let mut events = 0;
        loop {
            let source = EventSource::Stream { stream: stream.to_owned(), from: at + 1, to: u64::MAX };
            let page = self.page(source, None).await?;
            for event in &page {
                if event.seq_nr != at + 1 {
                    return Err(not_whole("a hole in a stream", at, event.seq_nr));
                }
                state = self.evolve(state, event, evolve)?;
                (at, events) = (event.seq_nr, events + 1);
            }
            if page.next.is_none() {
                break;
            }
        }
        if at < head {
            return Err(not_whole("a hole in a stream", at, head));
        }
        Ok(Recovered { state, at, snapshot_at, events })
    }

    async fn replay_query<S: DeserializeOwned + Send>(
        &self,
        query: &Query,
        snapshot: Option<&Snapshot>,
        initial: &Initial<'_, S>,
        evolve: &mut Evolve<'_, S>,
    ) -> Result<Recovered<S, Position>, Trouble> {
        let snapshot_at = snapshot.map(|snapshot| Position::new(snapshot.at));
        let start = snapshot_at.unwrap_or(Position::START);
        let mut state = self.start(snapshot, initial)?;
        let (mut events, mut after) = (0, start);
        let at = loop {
            let page = self.page(EventSource::Query(query.clone()), Some(after)).await?;
            for event in &page {
                state = self.evolve(state, event, evolve)?;
                events += 1;
            }
            match page.next {
                Some(next) => after = next,
                None => break page.through,
            }
        };
        if at < start {
            return Err(not_whole("a snapshot beyond the head", start.get(), at.get()));
        }
        // After the events, so that what was hidden under the reading is found.
        let hidden = HiddenRead { log: self.log.clone(), query: query.clone(), after: start, through: at };
        if let Some(hidden) = self.store.backend().await?.first_hidden(hidden).await? {
            return Err(not_whole("a compacted event after the snapshot", start.get(), hidden.get()));
        }
        Ok(Recovered { state, at, snapshot_at, events })
    }

    fn start<S: DeserializeOwned + Send>(
        &self,
        snapshot: Option<&Snapshot>,
        initial: &Initial<'_, S>,
    ) -> Result<S> {
        snapshot.map_or_else(|| Ok(initial()), Snapshot::decode)
    }

    fn evolve<S>(&self, state: S, event: &Event, evolve: &mut Evolve<'_, S>) -> Result<S> {
        evolve(state, event).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::new(ErrorKind::Decode)
                .with("log", &*self.log)
                .with("position", event.position.to_string())
                .caused_by(error),
        })
    }

    async fn page(&self, source: EventSource, after: Option<Position>) -> Result<Page<Event>> {
        let (log, limit, max_bytes) = (self.log.clone(), Some(PAGE_EVENTS), Some(PAGE_BYTES));
        let request = EventRead { log, source, after, limit, max_bytes, descending: false };
        self.store.backend().await?.read_events(request).await
    }
}

fn not_whole(what: &str, at: u64, found: u64) -> Trouble {
    let error = Error::corrupted(what).with("from", at.to_string()).with("met", found.to_string());
    Trouble::NotWhole(
        error.with_hint("restore what is missing, or save a snapshot that covers it; a state is not guessed"),
    )
}
