//! Named logs of events: streams, queries, guarded appends, compaction.

mod answer;
mod kind;

use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

pub use self::{
    answer::{Appended, BulkEvent, Compacted, Expected, Loaded, LogInfo, StreamInfo, Trimmed},
    kind::{Append, AuditConditions, Compact, DropLog, Forget, RaiseMark, Trim},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    backend::{
        AppendOperation, CommitRequest, EventData, EventRead, EventSource, Operation, Outcome, StreamsRead,
    },
    decider::{Decider, Executor, ScopedDecider, ScopedExecutor},
    error::{Error, Result},
    event::{Event, NewEvent, Position},
    limits::{check_key, check_name, check_number},
    operation::{Call, Read, Write},
    query::{AppendCondition, Query},
    snapshot::Snapshots,
    store::Store,
    subscription::Subscription,
};

/// A named log in a store. Cheap to clone.
///
/// Every event has a [`Position`] in the log's one commit order. Events may belong to streams, where the
/// expected sequence number guards an append, and carry tags, where an [`AppendCondition`] does.
///
/// ```
/// use larder::{ErrorKind, NewEvent, QueryItem, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// log.append("order-1", 0, [NewEvent::new("Placed", &1).tag("customer:c1")]).wait()?;
/// log.append("order-2", 0, [NewEvent::new("Placed", &2).tag("customer:c1")]).wait()?;
///
/// let mine = log.query(QueryItem::new().tag("customer:c1")).wait()?;
/// assert_eq!(mine.items.len(), 2);
/// assert_eq!(log.head("order-2").wait()?, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventLog {
    store: Store,
    log: Arc<str>,
}

impl EventLog {
    pub(crate) fn new(store: Store, name: &str) -> Result<Self> {
        check_name("log", name)?;
        Ok(Self { store, log: name.into() })
    }

    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.log
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn name_arc(&self) -> Arc<str> {
        self.log.clone()
    }

    /// Saved states of the log's streams, and of queries of it.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.store.clone(), self.log.clone())
    }

    /// Appends events to a stream, all or nothing, if its head is what is expected. They get consecutive
    /// sequence numbers and positions, in this order.
    ///
    /// An event with an id that the log has seen makes it a retry: if this append equals the one that first
    /// carried the id (ids, order, stream, types and payloads), it writes nothing and answers as the first time.
    ///
    /// # Errors
    /// `Conflict` if the stream is elsewhere; `AlreadyExists` if an id was used for something else;
    /// `InvalidArgument` and `TooLarge` for what cannot be stored; and those of any commit (`Locked`, `Full`,
    /// `Closed`, `ReadOnly`, `Poisoned`, `CommitUnknown`, `Io`).
    pub fn append(
        &self,
        stream: impl Into<String>,
        expected: impl Into<Expected>,
        events: impl IntoIterator<Item: Into<NewEvent>>,
    ) -> Write<Append> {
        let (stream, expected) = (stream.into(), expected.into());
        let checked = check_key("stream", &stream);
        let events = checked.and_then(|()| self.event_data(events));
        self.append_operation(Some(stream), expected, events)
    }

    /// Appends events that need no stream, unless events match the condition.
    ///
    /// With `None` it appends unconditionally.
    ///
    /// # Errors
    /// `ConditionFailed`, with the events that stood in the way; otherwise as [`append`](Self::append).
    pub fn append_if(
        &self,
        events: impl IntoIterator<Item: Into<NewEvent>>,
        condition: impl Into<Option<AppendCondition>>,
    ) -> Write<Append> {
        let write = self.append_operation(None, Expected::Any, self.event_data(events));
        match condition.into() {
            Some(condition) => write.condition(condition),
            None => write,
        }
    }

    fn append_operation(
        &self,
        stream: Option<String>,
        expected: Expected,
        events: Result<Vec<EventData>>,
    ) -> Write<Append> {
        let log = self.log.clone();
        let operation = events.map(|events| {
            Operation::Append(AppendOperation { log, stream, expected, condition: None, events })
        });
        Write::new(self.store.clone(), operation)
    }

    fn event_data(&self, events: impl IntoIterator<Item: Into<NewEvent>>) -> Result<Vec<EventData>> {
        let limits = self.store.limits();
        let events = events.into_iter();
        let mut data = Vec::with_capacity(events.size_hint().0.min(1_000));
        for event in events {
            if data.len() == limits.append_events {
                let limit = limits.append_events as u64;
                return Err(Error::too_large("events of an append", limit, limit + 1)
                    .with_hint("load more than that with `append_many`, in atomic chunks"));
            }
            data.push(event.into().into_data(limits)?);
        }
        Ok(data)
    }

    /// Loads events from an iterator of any length, in bounded memory, in atomic chunks.
    ///
    /// # Errors
    /// Those of an append. The error's context names how many events were committed and the last position:
    /// see [`Error::context`], keys `committed events` and `last position`.
    pub fn append_many<I>(&self, events: I) -> Call<Loaded>
    where
        I: IntoIterator<Item: Into<BulkEvent>>,
        I::IntoIter: Send + 'static,
    {
        let log = self.clone();
        let mut events = events.into_iter();
        Call::new(async move {
            let mut loaded = Loaded::default();
            loop {
                let chunk = log.load_chunk(&mut events, &mut loaded).await;
                let more = chunk.map_err(|error| {
                    error
                        .during("load events")
                        .with("committed events", loaded.events.to_string())
                        .with("last position", loaded.last_position.to_string())
                })?;
                if !more {
                    return Ok(loaded);
                }
            }
        })
    }

    /// Commits the next chunk; false at the end.
    async fn load_chunk<I>(&self, events: &mut I, loaded: &mut Loaded) -> Result<bool>
    where
        I: Iterator<Item: Into<BulkEvent>>,
    {
        const CHUNK_EVENTS: usize = 1_000;
        const CHUNK_BYTES: usize = 1 << 20;
        let (mut operations, mut bytes) = (Vec::new(), 0);
        while operations.len() < CHUNK_EVENTS && bytes < CHUNK_BYTES {
            let Some(event) = events.next() else { break };
            let operation = self.bulk_operation(event.into())?;
            bytes += operation.events[0].payload.as_bytes().len();
            operations.push(Operation::Append(operation));
        }
        if operations.is_empty() {
            return Ok(false);
        }
        let backend = self.store.backend().await?;
        let reply = backend.commit(CommitRequest { id: None, operations, on_callers_thread: false }).await?;
        loaded.events += reply.outcomes.len() as u64;
        if let Some(Outcome::Appended(appended)) = reply.outcomes.last() {
            loaded.last_position = loaded.last_position.max(appended.last_position);
        }
        Ok(true)
    }

    fn bulk_operation(&self, BulkEvent { stream, event }: BulkEvent) -> Result<AppendOperation> {
        if let Some(stream) = &stream {
            check_key("stream", stream)?;
        }
        let events = vec![event.into_data(self.store.limits())?];
        let log = self.log.clone();
        Ok(AppendOperation { log, stream, expected: Expected::Any, condition: None, events })
    }

    /// Reads a stream by sequence number, ascending unless [`descending`](Read::descending); both ends of
    /// `from..=to` are inclusive. Nothing there is an empty page.
    ///
    /// Without a limit it returns everything or fails, never a silent part: use [`each`](Read::each) for long
    /// streams.
    ///
    /// # Errors
    /// `TooLarge` beyond [`Limits::read_events`](crate::Limits::read_events) without a limit; `Corrupted`; `Closed`; `Io`.
    pub fn read(&self, stream: impl Into<String>, range: impl RangeBounds<u64>) -> Read<Event> {
        let stream = stream.into();
        let checked = check_key("stream", &stream);
        let (from, to) = inclusive(&range);
        let source = EventSource::Stream { stream, from, to };
        Read::new(self.store.clone(), checked.map(|()| self.event_read(source)))
    }

    /// Reads the events that match, by position.
    ///
    /// # Errors
    /// As [`read`](Self::read), and `InvalidArgument` for a query item without types and tags.
    pub fn query(&self, query: impl Into<Query>) -> Read<Event> {
        let query = query.into();
        let checked = query.check();
        Read::new(self.store.clone(), checked.map(|()| self.event_read(EventSource::Query(query))))
    }

    fn event_read(&self, source: EventSource) -> EventRead {
        EventRead {
            log: self.log.clone(),
            source,
            after: None,
            limit: None,
            max_bytes: None,
            descending: false,
        }
    }

    /// The streams of the log, ascending by UTF-8 bytes, those that were compacted empty included.
    ///
    /// # Errors
    /// `Closed`, `Io`.
    pub fn streams(&self) -> Read<StreamInfo> {
        let (log, after) = (self.log.clone(), None);
        let request = StreamsRead { log, after, limit: None, max_bytes: None, descending: false };
        Read::new(self.store.clone(), Ok(request))
    }

    /// The highest sequence number the stream ever had, 0 if none. It never goes back, compaction or not.
    ///
    /// # Errors
    /// `InvalidArgument`, `Closed`, `Io`.
    pub fn head(&self, stream: impl Into<String>) -> Call<u64> {
        let (store, log, stream) = (self.store.clone(), self.log.clone(), stream.into());
        Call::new(async move {
            check_key("stream", &stream)?;
            let info = store.backend().await?.stream_info(log, stream).await?;
            Ok(info.map_or(0, |info| info.head))
        })
    }

    /// What is known of the log; `None` if it never had an event.
    ///
    /// # Errors
    /// `Closed`, `Io`.
    pub fn info(&self) -> Call<Option<LogInfo>> {
        let (store, log) = (self.store.clone(), self.log.clone());
        Call::new(async move { store.backend().await?.log_info(log).await })
    }

    /// Every event that matches, first the past, then live: see [`Subscription`].
    pub fn subscribe(&self, query: impl Into<Query>) -> Subscription<Event> {
        let query = query.into();
        let refused = query.check().err();
        Subscription::new(self.store.clone(), self.event_read(EventSource::Query(query)), refused)
    }

    /// Every event of a stream, first the past, then live: see [`Subscription`].
    pub fn subscribe_stream(&self, stream: impl Into<String>) -> Subscription<Event> {
        let stream = stream.into();
        let refused = check_key("stream", &stream).err();
        let source = EventSource::Stream { stream, from: 1, to: u64::MAX };
        Subscription::new(self.store.clone(), self.event_read(source), refused)
    }

    /// Hides the events of a stream through this sequence number from every read, at once, and deletes them.
    /// The head stays. Append conditions still see the type, tags and position of what was compacted: the fact
    /// happened; [`forget`](Self::forget) removes that too.
    ///
    /// Beyond the head it means the head; an unknown stream and repetition are fine.
    ///
    /// # Errors
    /// `InvalidArgument`, and those of any commit.
    pub fn compact(&self, stream: impl Into<String>, through: u64) -> Write<Compact> {
        let (log, stream) = (self.log.clone(), stream.into());
        let checked = check_key("stream", &stream);
        Write::new(self.store.clone(), checked.map(|()| Operation::Compact { log, stream, through }))
    }

    /// Raises the compaction mark, and so the head, of a stream without live events: for copies of compacted
    /// streams. It never lowers.
    ///
    /// # Errors
    /// `InvalidArgument` if the stream has live events; `TooLarge` beyond 2⁴⁷ − 1; those of any commit.
    pub fn raise_mark(&self, stream: impl Into<String>, through: u64) -> Write<RaiseMark> {
        let (log, stream) = (self.log.clone(), stream.into());
        let checked = check_key("stream", &stream).and_then(|()| check_number("seq_nr", through));
        Write::new(self.store.clone(), checked.map(|()| Operation::RaiseMark { log, stream, through }))
    }

    /// Hides and deletes every event of the log through this position, those without a stream too. Otherwise as
    /// [`compact`](Self::compact).
    ///
    /// # Errors
    /// Those of any commit.
    pub fn trim(&self, through: Position) -> Write<Trim> {
        Write::new(self.store.clone(), Ok(Operation::Trim { log: self.log.clone(), through }))
    }

    /// Removes what append conditions still see of hidden events, through this position.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn forget(&self, through: Position) -> Write<Forget> {
        Write::new(self.store.clone(), Ok(Operation::Forget { log: self.log.clone(), through }))
    }

    /// Removes the log and everything in it, but for its head: positions are never reused.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn drop_log(&self) -> Write<DropLog> {
        Write::new(self.store.clone(), Ok(Operation::DropLog { log: self.log.clone() }))
    }

    /// Executes a decider's commands on the log's streams: see [`Decider`].
    pub fn decider<D>(&self, decider: D) -> Executor<D>
    where
        D: Decider<State: Send + 'static, Event: Serialize + DeserializeOwned + Send + Sync + 'static>
            + Send
            + Sync
            + 'static,
        D::Command: Send + Sync + 'static,
        D::Rejection: Send + 'static,
    {
        Executor::new(self.clone(), decider)
    }

    /// Executes the commands of a decider whose decisions span streams: see [`ScopedDecider`].
    pub fn scoped_decider<D>(&self, decider: D) -> ScopedExecutor<D>
    where
        D: ScopedDecider<State: Send + 'static, Event: Serialize + DeserializeOwned + Send + Sync + 'static>
            + Send
            + Sync
            + 'static,
        D::Command: Send + Sync + 'static,
        D::Rejection: Send + 'static,
    {
        ScopedExecutor::new(self.clone(), decider)
    }

    /// Starts or ends keeping the condition of each conditional append, so that `verify` can replay every
    /// decision against history. Off by default.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn audit_conditions(&self, enabled: bool) -> Write<AuditConditions> {
        Write::new(self.store.clone(), Ok(Operation::AuditConditions { log: self.log.clone(), enabled }))
    }
}

macro_rules! forced {
    ($($kind:ident),*) => {$(
        impl Write<$kind> {
            /// Does it also beyond the checkpoint of a projection that reads the log, which will be told that history is
            /// missing.
            pub fn force(self) -> Self {
                self.map(|operation| Ok(Operation::Forced(Box::new(operation))))
            }
        }
    )*};
}

forced!(Compact, Trim, DropLog);

impl Write<Append> {
    /// Adds an append condition to the expected sequence: either failing fails both.
    pub fn condition(self, condition: AppendCondition) -> Self {
        self.map(|operation| {
            condition.fail_if_events_match.check()?;
            let Operation::Append(append) = operation else { unreachable!("it writes an append") };
            Ok(Operation::Append(AppendOperation { condition: Some(condition), ..append }))
        })
    }
}

/// The inclusive ends of a range.
fn inclusive(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => *to,
        Bound::Excluded(0) => return (1, 0),
        Bound::Excluded(beyond) => beyond - 1,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}
