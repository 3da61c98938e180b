//! What a handler is given.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    kind::Acknowledge,
    object::{Object, TaskKind},
};
use crate::{
    backend::{Claimed, Lease, Operation, TaskBucketOperation},
    error::{Error, ErrorKind, Result},
    operation::Write,
    store::Store,
};

/// A trigger under a lease, with the object as it is now.
///
/// The trigger names a [`version`](Self::version). If the object was put again since, the bytes are the newer ones, and
/// [`object_version`](Self::object_version) tells which; that put's own trigger follows. If the object is gone, and for
/// `ObjectRemoved`, there are no bytes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Task {
    /// The object's key.
    pub key: String,
    /// What happened to it.
    pub kind: TaskKind,
    /// The version that the trigger is about; of a removal, that of the object that was removed.
    pub version: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The version of the bytes here; `None` without an object.
    pub object_version: Option<u64>,
    /// What kind of bytes they are, if that was said.
    pub content_type: Option<String>,
    /// The object's bytes; empty without an object.
    pub bytes: Vec<u8>,
    pub(super) held: Held,
}

impl Task {
    pub(super) fn new(held: Held, claimed: Claimed, object: Option<Object>) -> Self {
        let Claimed { kind, key, version, attempt, .. } = claimed;
        let (info, bytes) = object.map(|object| (object.info, object.bytes)).unzip();
        Self {
            key,
            kind,
            version,
            attempt,
            object_version: info.as_ref().map(|info| info.version),
            content_type: info.and_then(|info| info.content_type),
            bytes: bytes.unwrap_or_default(),
            held,
        }
    }

    /// Whether the bytes are those that the trigger is about.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.object_version == Some(self.version)
    }

    /// The trigger's number, which stays the same over all attempts until the task is given up.
    ///
    /// A [redrive](crate::TaskBucket::redrive) gives it a new one. To tell a task over redrives too, as an idempotency
    /// key must, take its key, kind and version: these stay.
    #[must_use]
    pub fn trigger(&self) -> u64 {
        self.held.lease.trigger
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// `Decode` if they are not UTF-8.
    pub fn text(&self) -> Result<&str> {
        str::from_utf8(&self.bytes)
            .map_err(|error| Error::new(ErrorKind::Decode).with("key", self.key.clone()).caused_by(error))
    }

    /// Acknowledges the trigger, as part of a batch with what the handler writes: then that takes effect exactly once,
    /// because a handler whose lease was lost is refused as a whole. Afterwards the handler should end with `Ok`.
    ///
    /// ```
    /// use larder::{NewEvent, Store, WorkOptions};
    ///
    /// # fn main() -> larder::Result<()> {
    /// let store = Store::memory();
    /// let (log, bucket) = (store.event_log("imported")?, store.task_bucket("uploads")?);
    /// bucket.put("a.csv", "1,2,3").wait()?;
    /// let mut options = WorkOptions::default();
    /// options.until_empty = true;
    /// let work = bucket.work(options, move |task| {
    ///     let (store, log) = (store.clone(), log.clone());
    ///     async move {
    ///         let mut batch = store.batch();
    ///         batch.add(log.append("rows", larder::Expected::Any, [NewEvent::new("Imported", &task.text()?)]));
    ///         batch.add(task.acknowledge());
    ///         batch.commit().await?;
    ///         Ok(())
    ///     }
    /// });
    /// work.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `LeaseLost`, and nothing of the batch is written; those of any commit.
    pub fn acknowledge(&self) -> Write<Acknowledge> {
        self.held.by_handler.store(true, Ordering::SeqCst);
        self.held.acknowledge()
    }
}

/// The bytes may be secret, and are many: they are not shown.
impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("version", &self.version)
            .field("attempt", &self.attempt)
            .field("object_version", &self.object_version)
            .field("content_type", &self.content_type)
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .finish_non_exhaustive()
    }
}

/// A lease, and what can be done under it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    store: Store,
    bucket: Arc<str>,
    lease: Lease,
    /// Whether the handler has taken the acknowledgement into its own hands.
    by_handler: Arc<AtomicBool>,
}

impl Held {
    pub(super) fn new(store: Store, bucket: Arc<str>, lease: Lease) -> Self {
        Self { store, bucket, lease, by_handler: Arc::default() }
    }

    /// Whether a lost lease may mean that the handler has acknowledged the trigger.
    pub(super) fn is_left_to_handler(&self) -> bool {
        self.by_handler.load(Ordering::SeqCst)
    }

    pub(super) fn acknowledge(&self) -> Write<Acknowledge> {
        self.write(TaskBucketOperation::Acknowledge { bucket: self.bucket.clone(), lease: self.lease })
    }

    pub(super) fn renew(&self, duration: u64) -> Write<Acknowledge> {
        self.write(TaskBucketOperation::Renew { bucket: self.bucket.clone(), lease: self.lease, duration })
    }

    pub(super) fn fail(&self, error: String, retry_after: Option<u64>) -> Write<Acknowledge> {
        let (bucket, lease) = (self.bucket.clone(), self.lease);
        self.write(TaskBucketOperation::Fail { bucket, lease, error, retry_after })
    }

    fn write(&self, operation: TaskBucketOperation) -> Write<Acknowledge> {
        Write::new(self.store.clone(), Ok(Operation::TaskBucket(operation)))
    }
}
