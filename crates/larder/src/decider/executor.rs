//! Executing commands on streams.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{Decider, ExecuteError, Executed};
use crate::{
    backend::BoxFuture,
    error::{BoxError, Error, Result},
    event::{Event, NewEvent, Position},
    event_log::EventLog,
    operation::Call,
    snapshot::Subject,
    store::Store,
};

/// How often a command is tried when nobody says.
pub(super) const ATTEMPTS: u32 = 10;
/// The longest wait before the second attempt; it doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(1);

/// Executes the commands of a [`Decider`] on the streams of a log: see there for an example. Cheap to clone.
pub struct Executor<D: Decider> {
    log: EventLog,
    decider: Arc<D>,
    attempts: u32,
    snapshots: Option<Arc<dyn Snapshotter<D>>>,
}

/// A state as it was loaded.
pub(super) struct Loaded<S> {
    pub(super) state: S,
    /// The stream's head.
    pub(super) head: u64,
    /// The position of the last event; the start if none was read.
    pub(super) position: Position,
    pub(super) snapshot_at: u64,
}

impl<D> Executor<D>
where
    D: Decider<State: Send + 'static, Event: Serialize + DeserializeOwned + Send + Sync + 'static>
        + Send
        + Sync
        + 'static,
    D::Command: Send + Sync + 'static,
    D::Rejection: Send + 'static,
{
    pub(crate) fn new(log: EventLog, decider: D) -> Self {
        Self { log, decider: Arc::new(decider), attempts: ATTEMPTS, snapshots: None }
    }

    /// Tries a command so often when other writers are first, with a growing, random wait in between. Default 10, at
    /// least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Saves a snapshot of the state with each command that takes a stream past another `events` events, in the commit
    /// of its events; and begins with the latest snapshot. A change of the state's meaning needs another
    /// [schema](Self::snapshot_schema).
    #[must_use]
    pub fn snapshot_every(self, events: u64) -> Self
    where
        D::State: Serialize + DeserializeOwned + Sync,
    {
        let snapshots = Every { events: events.max(1), schema: None };
        Self { snapshots: Some(Arc::new(snapshots)), ..self }
    }

    /// As [`snapshot_every`](Self::snapshot_every), with a schema: snapshots of another one are passed over.
    #[must_use]
    pub fn snapshot_schema(self, events: u64, schema: impl Into<String>) -> Self
    where
        D::State: Serialize + DeserializeOwned + Sync,
    {
        let snapshots = Every { events: events.max(1), schema: Some(schema.into()) };
        Self { snapshots: Some(Arc::new(snapshots)), ..self }
    }

    /// Loads the stream's state, decides, and appends the events if the stream is still where it was; else, again.
    ///
    /// # Errors
    /// [`Rejected`](ExecuteError::Rejected) by the decider. [`Failed`](ExecuteError::Failed): `Conflict` if other writers
    /// were first each time; `Corrupted` if the stream was compacted beyond its snapshots; `Decode` if an event is none
    /// of the decider's; those of reads and commits.
    pub fn execute(
        &self,
        stream: impl Into<String>,
        command: D::Command,
    ) -> Call<Executed<D>, ExecuteError<D::Rejection>> {
        let (this, stream) = (self.clone(), stream.into());
        Call::new(async move {
            let mut attempts = Attempts::new(&this.log, this.attempts);
            loop {
                match this.attempt(&stream, &command).await {
                    Err(ExecuteError::Failed(error)) => attempts.failed(error).await?,
                    ended => return ended,
                }
            }
        })
    }

    async fn attempt(
        &self,
        stream: &str,
        command: &D::Command,
    ) -> Result<Executed<D>, ExecuteError<D::Rejection>> {
        let Loaded { state, head, position, snapshot_at } = match &self.snapshots {
            Some(snapshots) => snapshots.load(&self.log, &self.decider, stream).await?,
            None => load(&self.log, &*self.decider, stream).await?,
        };
        let events = self.decider.decide(&state, command).map_err(ExecuteError::Rejected)?;
        let state = events.iter().fold(state, |state, event| self.decider.evolve(state, event));
        if events.is_empty() {
            return Ok(Executed { state, events, position, seq_nr: head });
        }
        let mut batch = self.log.store().batch();
        let new_events = new_events(&*self.decider, &events);
        let appended = batch.add(self.log.append(stream, head, new_events));
        if let Some(snapshots) = &self.snapshots {
            let new_head = head + events.len() as u64;
            snapshots.save(&self.log, &mut batch, stream, new_head, snapshot_at, &state)?;
        }
        let committed = batch.commit().await?;
        let appended = committed[appended];
        Ok(Executed { state, events, position: appended.last_position, seq_nr: appended.last_seq_nr })
    }
}

/// Counts attempts, and waits between them.
pub(super) struct Attempts {
    store: Store,
    left: u32,
    made: u32,
}

impl Attempts {
    pub(super) fn new(log: &EventLog, most: u32) -> Self {
        Self { store: log.store().clone(), left: most, made: 0 }
    }

    /// Waits before the next attempt, if it was a conflict and there is one left.
    pub(super) async fn failed(&mut self, error: Error) -> Result<()> {
        (self.left, self.made) = (self.left - 1, self.made + 1);
        if !error.is_conflict() {
            return Err(error);
        }
        if self.left == 0 {
            return Err(error.with("attempts", self.made.to_string()));
        }
        self.store.patience().sleep(jitter(self.made)).await;
        Ok(())
    }
}

/// A random part of a time that doubles with each attempt.
fn jitter(attempt: u32) -> Duration {
    let most = BACKOFF * 2_u32.saturating_pow(attempt.min(8));
    // The keys of the standard library's hash maps are random.
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

pub(super) fn new_events<D: Decider<Event: Serialize>>(decider: &D, events: &[D::Event]) -> Vec<NewEvent> {
    events.iter().map(|event| NewEvent::from_enum(event).tags(decider.tags(event))).collect()
}

/// Loads a state from all events of a stream.
async fn load<D>(log: &EventLog, decider: &D, stream: &str) -> Result<Loaded<D::State>>
where
    D: Decider<Event: DeserializeOwned>,
{
    let loaded = replay(log, decider, stream).await?;
    if loaded.head > 0 || log.head(stream).await? == 0 {
        return Ok(loaded);
    }
    // A stream that was compacted empty has a head, and nothing to read; one that somebody has begun meanwhile has both.
    let again = replay(log, decider, stream).await?;
    if again.head > 0 {
        return Ok(again);
    }
    Err(Error::corrupted("a stream that was compacted, and no snapshot of it").with("stream", stream))
}

async fn replay<D>(log: &EventLog, decider: &D, stream: &str) -> Result<Loaded<D::State>>
where
    D: Decider<Event: DeserializeOwned>,
{
    let mut loaded = Loaded { state: decider.initial(), head: 0, position: Position::START, snapshot_at: 0 };
    let mut events = log.read(stream, ..).each();
    while let Some(event) = events.try_next().await? {
        if event.seq_nr != loaded.head + 1 {
            return Err(not_whole(log, stream, &event));
        }
        (loaded.head, loaded.position) = (event.seq_nr, event.position);
        loaded.state = decider.evolve(loaded.state, &event.decode_enum()?);
    }
    Ok(loaded)
}

fn not_whole(log: &EventLog, stream: &str, event: &Event) -> Error {
    Error::corrupted(format!("event {} of a stream is the first after a hole", event.seq_nr))
        .with("log", log.name())
        .with("stream", stream)
        .with_hint("a compacted stream needs snapshots: see `snapshot_every`")
}

/// Loads from snapshots and saves them, for states that can be written.
trait Snapshotter<D: Decider>: Send + Sync {
    fn load<'a>(
        &'a self,
        log: &'a EventLog,
        decider: &'a Arc<D>,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Loaded<D::State>>>;

    fn save(
        &self,
        log: &EventLog,
        batch: &mut crate::batch::WriteBatch,
        stream: &str,
        head: u64,
        snapshot_at: u64,
        state: &D::State,
    ) -> Result<()>;
}

/// A snapshot with every so many events.
struct Every {
    events: u64,
    schema: Option<String>,
}

impl<D> Snapshotter<D> for Every
where
    D: Decider<State: Serialize + DeserializeOwned + Send + Sync, Event: DeserializeOwned> + Send + Sync,
{
    fn load<'a>(
        &'a self,
        log: &'a EventLog,
        decider: &'a Arc<D>,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Loaded<D::State>>> {
        Box::pin(async move {
            let mut position = Position::START;
            let mut evolve = |state: D::State, event: &Event| -> Result<D::State, BoxError> {
                position = event.position;
                Ok(decider.evolve(state, &event.decode_enum()?))
            };
            let initial = || decider.initial();
            let recovered =
                log.snapshots().recover_stream(stream, self.schema.as_deref(), &initial, &mut evolve).await?;
            let (head, snapshot_at) = (recovered.at, recovered.snapshot_at.unwrap_or(0));
            if position == Position::START && head > 0 {
                position = last_position(log, stream).await?;
            }
            Ok(Loaded { state: recovered.state, head, position, snapshot_at })
        })
    }

    fn save(
        &self,
        log: &EventLog,
        batch: &mut crate::batch::WriteBatch,
        stream: &str,
        head: u64,
        snapshot_at: u64,
        state: &D::State,
    ) -> Result<()> {
        if head.saturating_sub(snapshot_at) >= self.events {
            let save = log.snapshots().save(Subject::stream(stream), head, state);
            batch.add(match &self.schema {
                Some(schema) => save.schema(schema),
                None => save,
            });
        }
        Ok(())
    }
}

/// The position of the stream's last event, if it can be read still.
async fn last_position(log: &EventLog, stream: &str) -> Result<Position> {
    let last = log.read(stream, ..).descending().limit(1).await?;
    Ok(last.items.first().map_or(Position::START, |event| event.position))
}

impl<D: Decider> Clone for Executor<D> {
    fn clone(&self) -> Self {
        let Self { log, decider, attempts, snapshots } = self;
        Self { log: log.clone(), decider: decider.clone(), attempts: *attempts, snapshots: snapshots.clone() }
    }
}

impl<D: Decider> fmt::Debug for Executor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("log", &self.log.name()).finish_non_exhaustive()
    }
}
