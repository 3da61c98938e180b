//! The one write path: every write is a batch, a single one a batch of one.

use std::{fmt, marker::PhantomData, ops::Index};

use uuid::Uuid;

use crate::{
    backend::{AppendOperation, CommitReply, CommitRequest, Operation, QueryDbOperation},
    error::{Error, Result},
    event_log::EventLog,
    limits::check_key,
    operation::{Call, Write, WriteKind, outcome},
    query::AppendCondition,
    query_db::{ItemKey, QueryDb},
    store::Store,
};

/// Writes that commit together or not at all.
///
/// Operations run in order, and each sees the earlier ones. The first guard that fails fails the batch; the
/// error names its operation by [`index`](Error::index).
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::memory();
/// let (orders, audit) = (store.event_log("orders")?, store.event_log("audit")?);
/// let mut batch = store.batch();
/// let placed = batch.add(orders.append("order-1", 0, [NewEvent::new("Placed", &1)]));
/// batch.add(audit.append_if([NewEvent::new("Seen", &1)], None));
/// let committed = batch.commit().wait()?;
/// assert_eq!(committed[placed].last_seq_nr, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct WriteBatch {
    store: Store,
    id: Option<Uuid>,
    operations: Vec<Result<Operation>>,
}

impl WriteBatch {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, id: None, operations: Vec::new() }
    }

    /// Gives the batch an id: committing it again under the same id writes nothing and answers as the first
    /// time, so a commit of unknown outcome can be retried. Ids are kept for 24 hours.
    ///
    /// A batch of other operations, or of the same on other streams, keys or places, is `AlreadyExists` under that id.
    /// What they write is not compared: it may differ from one attempt to the next.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// Adds a write; its outcome is found in the [`Committed`] answer under the slot.
    ///
    /// # Panics
    /// If the write was polled before: it is on its way already.
    pub fn add<O: WriteKind>(&mut self, write: Write<O>) -> Slot<O> {
        let (store, operation) = write.into_parts();
        let checked = self.check_store(&store).and(operation);
        self.push(checked)
    }

    /// Requires the stream's head to be this, without writing. The slot tells which guard failed.
    ///
    /// ```
    /// use larder::{NewEvent, Store};
    ///
    /// # fn main() -> larder::Result<()> {
    /// let store = Store::memory();
    /// let (orders, stock) = (store.event_log("orders")?, store.event_log("stock")?);
    /// let mut batch = store.batch();
    /// batch.add(orders.append("order-1", 0, [NewEvent::new("Placed", &1)]));
    /// let unchanged = batch.require_head(&stock, "sku-1", 7); // what the decision was based on
    /// let error = batch.commit().wait().unwrap_err();
    /// assert_eq!(error.index(), Some(unchanged.index()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn require_head(&mut self, log: &EventLog, stream: impl Into<String>, head: u64) -> Slot<()> {
        let stream = stream.into();
        let checked = self.check_store(log.store()).and_then(|()| check_key("stream", &stream));
        self.push(checked.map(|()| Operation::RequireHead { log: log.name_arc(), stream, head }))
    }

    /// Requires that no event matches, without writing. The slot tells which guard failed.
    pub fn require_none_match(&mut self, log: &EventLog, condition: AppendCondition) -> Slot<()> {
        let checked = self.check_store(log.store()).and_then(|()| condition.fail_if_events_match.check());
        self.push(checked.map(|()| Operation::RequireNoneMatch { log: log.name_arc(), condition }))
    }

    /// Requires an item to have this version, without writing; `None` requires that there is no visible item. The
    /// slot tells which guard failed.
    pub fn require_version(
        &mut self,
        query_db: &QueryDb,
        key: impl Into<ItemKey>,
        version: impl Into<Option<u64>>,
    ) -> Slot<()> {
        let (key, version) = (key.into(), version.into());
        let checked = self.check_store(query_db.store()).and_then(|()| key.check());
        let query_db = query_db.name_arc();
        let operation = QueryDbOperation::RequireVersion { query_db, key, version };
        self.push(checked.map(|()| Operation::QueryDb(operation)))
    }

    fn check_store(&self, store: &Store) -> Result<()> {
        if store.is_same(&self.store) {
            Ok(())
        } else {
            Err(Error::invalid("batch", "a handle of another store"))
        }
    }

    fn push<O>(&mut self, operation: Result<Operation>) -> Slot<O> {
        self.operations.push(operation);
        Slot { index: self.operations.len() - 1, kind: PhantomData }
    }

    /// Commits everything, or nothing.
    ///
    /// # Errors
    /// Those of its operations, with [`Error::index`] set: `Conflict`, `ConditionFailed`, `AlreadyExists`,
    /// `InvalidArgument`, `TooLarge`. Those of any commit: `Locked`, `Full`, `Closed`, `ReadOnly`, `Poisoned`,
    /// `CommitUnknown`, `Io`.
    pub fn commit(self) -> Call<Committed> {
        Call::new(async move {
            let limits = self.store.limits();
            let operations = numbered(self.operations)?;
            check_events(&operations, limits.append_events)?;
            let backend = self.store.backend().await?;
            let request = CommitRequest { id: self.id, operations, on_callers_thread: false };
            backend.commit(request).await.map(|reply| Committed { reply })
        })
    }
}

/// The operations, or the first error among them with its index.
fn numbered(operations: Vec<Result<Operation>>) -> Result<Vec<Operation>> {
    let number =
        |(index, operation): (usize, Result<Operation>)| operation.map_err(|error| error.at_index(index));
    operations.into_iter().enumerate().map(number).collect()
}

/// A batch holds no more events than one append may.
fn check_events(operations: &[Operation], limit: usize) -> Result<()> {
    let events = |operation: &Operation| match operation {
        Operation::Append(AppendOperation { events, .. }) => events.len(),
        _ => 0,
    };
    let sum: usize = operations.iter().map(events).sum();
    if sum > limit { Err(Error::too_large("batch events", limit as u64, sum as u64)) } else { Ok(()) }
}

/// Where a batch's answer holds the outcome of one added write.
pub struct Slot<O> {
    index: usize,
    kind: PhantomData<fn() -> O>,
}

impl<O> Slot<O> {
    /// The operation's index in the batch: compare with [`Error::index`].
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }
}

impl<O> Clone for Slot<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Slot<O> {}

impl<O> fmt::Debug for Slot<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({})", self.index)
    }
}

/// The answer to a committed [`WriteBatch`]: index it with the slots that `add` gave.
///
/// # Panics
/// Indexing panics for a slot of another batch, if that operation was of another kind or is beyond this batch's last.
#[derive(Debug)]
pub struct Committed {
    reply: CommitReply,
}

impl<O: WriteKind> Index<Slot<O>> for Committed {
    type Output = O::Outcome;

    fn index(&self, slot: Slot<O>) -> &O::Outcome {
        outcome::<O>(&self.reply.outcomes[slot.index])
    }
}
