//! What a backend is asked about task buckets, and the rows that it keeps of them.

mod protocol;
mod restore;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub(crate) use self::protocol::{ERROR_BYTES, Rows, operate, shortened};
use crate::{
    error::{Error, Result},
    task_bucket::{ObjectPut, TaskKind},
};

/// A change of a task bucket. Times are in microseconds since 1970-01-01 UTC, by the store's clock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TaskBucketOperation {
    /// Puts an object, with its trigger in the same commit.
    Put {
        /// The bucket.
        bucket: Arc<str>,
        /// What to put.
        object: ObjectData,
        /// Fails with `AlreadyExists` if there is an object.
        if_absent: bool,
        /// When the trigger is due; `None` without a trigger.
        trigger: Option<Due>,
    },
    /// Deletes an object; absent is fine, and makes no trigger.
    Delete {
        /// The bucket.
        bucket: Arc<str>,
        /// The key.
        key: String,
        /// Whether an object that was there leaves a trigger.
        trigger: bool,
    },
    /// Takes due triggers under a lease, those that wait longest first.
    Claim {
        /// The bucket.
        bucket: Arc<str>,
        /// The most triggers.
        limit: usize,
        /// How long the lease lasts, in microseconds.
        lease: u64,
        /// One that was attempted so often is a dead letter instead: its handlers never came back.
        max_attempts: u32,
    },
    /// Prolongs a lease from now; `LeaseLost` if it is no longer held.
    Renew {
        /// The bucket.
        bucket: Arc<str>,
        /// The lease.
        lease: Lease,
        /// How long it lasts from now, in microseconds.
        duration: u64,
    },
    /// Ends a trigger that was handled; `LeaseLost` if the lease is no longer held.
    Acknowledge {
        /// The bucket.
        bucket: Arc<str>,
        /// The lease.
        lease: Lease,
    },
    /// Gives a trigger back, to be attempted again or as a dead letter; `LeaseLost` if the lease is no longer held.
    Fail {
        /// The bucket.
        bucket: Arc<str>,
        /// The lease.
        lease: Lease,
        /// What went wrong.
        error: String,
        /// After how many microseconds it is attempted again; `None` makes it a dead letter.
        retry_after: Option<u64>,
    },
    /// Makes dead letters triggers again, behind the others of their keys.
    Redrive {
        /// The bucket.
        bucket: Arc<str>,
        /// Which; `None` means all.
        trigger: Option<u64>,
    },
    /// Removes dead letters.
    Discard {
        /// The bucket.
        bucket: Arc<str>,
        /// Which; `None` means all.
        trigger: Option<u64>,
    },
    /// Writes rows of an export as they are. The first is a `Begin`, which is `AlreadyExists` if there ever was a bucket
    /// of the name; what is there already, and numbers that the bucket has not given yet, are `InvalidArgument`.
    Restore {
        /// The bucket.
        bucket: Arc<str>,
        /// The rows, in the order in which they were exported; in one operation, or in several.
        rows: Vec<TaskBucketRow>,
    },
}

/// One row of what a task bucket holds, in this order: `Begin`, `Object`s by key, `Trigger`s by number, `End`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskBucketRow {
    /// The bucket comes to be.
    Begin {
        /// The last number that it gave.
        counter: u64,
    },
    /// An object.
    Object {
        /// What it is.
        object: ObjectData,
        /// Its version.
        version: u64,
        /// When it was put, in microseconds since 1970.
        recorded_at: u64,
    },
    /// A trigger that waits, or a dead letter. Whether it is the first of its key follows from those that are there.
    Trigger(TriggerRow),
    /// The bucket is whole.
    End {
        /// As in `Begin`.
        counter: u64,
    },
}

impl TaskBucketOperation {
    /// The bucket that it changes.
    #[must_use]
    pub fn bucket(&self) -> &Arc<str> {
        match self {
            Self::Put { bucket, .. }
            | Self::Delete { bucket, .. }
            | Self::Claim { bucket, .. }
            | Self::Renew { bucket, .. }
            | Self::Acknowledge { bucket, .. }
            | Self::Fail { bucket, .. }
            | Self::Redrive { bucket, .. }
            | Self::Discard { bucket, .. }
            | Self::Restore { bucket, .. } => bucket,
        }
    }
}

/// When a trigger is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At this time, in microseconds since 1970.
    At(u64),
    /// So many microseconds after the commit.
    After(u64),
}

impl Due {
    /// The time, in microseconds since 1970.
    #[must_use]
    pub fn time(self, now: u64) -> u64 {
        match self {
            Self::At(time) => time.min(END_OF_TIME),
            Self::After(duration) => later(now, duration),
        }
    }
}

/// What is later than every backend can tell is due at this time: never.
pub(crate) const END_OF_TIME: u64 = i64::MAX.cast_unsigned();

/// So much later, or never.
fn later(now: u64, duration: u64) -> u64 {
    now.saturating_add(duration).min(END_OF_TIME)
}

/// An object to put.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectData {
    /// The key.
    pub key: String,
    /// What kind of bytes they are, if that was said.
    pub content_type: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The bytes may be secret, and are many: they are not shown.
impl fmt::Debug for ObjectData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectData")
            .field("key", &self.key)
            .field("content_type", &self.content_type)
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .finish()
    }
}

/// The right to handle a trigger: the trigger, and which of its claims this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The trigger's number.
    pub trigger: u64,
    /// The claim's number: each claim of a trigger has a higher one.
    pub token: u64,
}

/// An object's row, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// The key.
    pub key: String,
    /// Taken from the bucket's counter: a later put has a higher one, also after a deletion.
    pub version: u64,
    /// What kind of bytes they are, if that was said.
    pub content_type: Option<String>,
    /// When it was put, in microseconds since 1970.
    pub recorded_at: u64,
    /// How many bytes there are.
    pub length: u64,
    /// The CRC-32C of the bytes.
    pub bytes_checksum: u32,
}

impl ObjectRow {
    /// CRC-32C over what the row says and where it belongs.
    #[must_use]
    pub fn checksum(&self, bucket: &str) -> u32 {
        let mut sum = Sum::of("object", bucket);
        sum.text(&self.key).number(self.version).optional(self.content_type.as_deref());
        sum.number(self.recorded_at).number(self.length).number(u64::from(self.bytes_checksum)).0
    }

    /// Compares the bytes with the row.
    pub(crate) fn check_bytes(&self, bucket: &str, bytes: &[u8]) -> Result<()> {
        if self.length == bytes.len() as u64 && self.bytes_checksum == crc32c::crc32c(bytes) {
            return Ok(());
        }
        Err(damaged("an object whose bytes do not match their checksum", bucket)
            .with("key", self.key.clone()))
    }
}

/// Where a trigger is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TriggerState {
    /// Behind another one of its key.
    Behind = 0,
    /// The first of its key: waits to be due, or is under a lease.
    First = 1,
    /// A dead letter.
    Dead = 2,
}

/// A trigger's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerRow {
    /// Its number, from the bucket's counter; triggers of a key are handled by it.
    pub trigger: u64,
    /// What happened.
    pub kind: TaskKind,
    /// To which object.
    pub key: String,
    /// The object's version; of a removal, that of the object that was removed.
    pub version: u64,
    /// Where it is on its way.
    pub state: TriggerState,
    /// When it may be claimed, in microseconds since 1970. Under a lease, that is when the lease runs out; of a dead
    /// letter, it is when it became one.
    pub due_at: u64,
    /// How often it was attempted.
    pub attempts: u32,
    /// How often it was claimed, ever.
    pub claims: u64,
    /// The token of the lease that it is under, or 0.
    pub holder: u64,
    /// What went wrong with the last attempt.
    pub error: Option<String>,
}

impl TriggerRow {
    /// CRC-32C over what the row says and where it belongs.
    #[must_use]
    pub fn checksum(&self, bucket: &str) -> u32 {
        let mut sum = Sum::of("trigger", bucket);
        sum.number(self.trigger).number(self.kind as u64).text(&self.key).number(self.version);
        sum.number(self.state as u64).number(self.due_at).number(u64::from(self.attempts));
        sum.number(self.claims).number(self.holder).optional(self.error.as_deref()).0
    }
}

/// CRC-32C over what a bucket's row says.
pub(crate) fn bucket_checksum(bucket: &str, counter: u64) -> u32 {
    Sum::of("bucket", bucket).number(counter).0
}

/// Compares a row's checksum with the one that was stored with it.
pub(crate) fn check_row(what: &'static str, bucket: &str, computed: u32, stored: u32) -> Result<()> {
    if computed == stored { Ok(()) } else { Err(damaged(what, bucket)) }
}

fn damaged(what: &'static str, bucket: &str) -> Error {
    Error::corrupted(what)
        .with("bucket", bucket)
        .with_hint("run `larder verify` to find everything that is damaged")
}

/// A CRC-32C over fields, each with its length or width, so that none can be taken for another.
struct Sum(u32);

impl Sum {
    fn of(kind: &str, bucket: &str) -> Self {
        let mut sum = Self(0);
        sum.text(kind).text(bucket);
        sum
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0 = crc32c::crc32c_append(self.0, &number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.0 = crc32c::crc32c_append(self.0, text.as_bytes());
        self
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }
}

/// A trigger under a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Claimed {
    /// The lease.
    pub lease: Lease,
    /// What happened.
    pub kind: TaskKind,
    /// To which object.
    pub key: String,
    /// The object's version that the trigger is about.
    pub version: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What an operation on a task bucket answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskBucketOutcome {
    /// To a put.
    Put(ObjectPut),
    /// To a deletion: whether there was an object.
    Deleted(bool),
    /// To a claim.
    Claimed(Vec<Claimed>),
    /// To a redrive or a discard: how many dead letters there were.
    Moved(u64),
}

/// A request for a page of objects, by key in the order of UTF-8 bytes.
#[derive(Debug, Clone)]
pub struct ObjectsRead {
    /// The bucket.
    pub bucket: Arc<str>,
    /// What their keys begin with.
    pub prefix: String,
    /// Exclusive.
    pub after: Option<String>,
    /// The most objects.
    pub limit: Option<usize>,
    /// Ignored: the bytes are not read.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}

/// A request for a page of triggers and dead letters, by number.
#[derive(Debug, Clone)]
pub struct TriggersRead {
    /// The bucket.
    pub bucket: Arc<str>,
    /// Exclusive; no number is 0.
    pub after: u64,
    /// The most rows. Fewer are the end.
    pub limit: usize,
}

/// A request for a page of dead letters, by number.
#[derive(Debug, Clone)]
pub struct DeadTasksRead {
    /// The bucket.
    pub bucket: Arc<str>,
    /// Exclusive.
    pub after: Option<u64>,
    /// The most dead letters.
    pub limit: Option<usize>,
    /// Ignored: dead letters are small.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}

/// Numbers about a task bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TaskBucketStats {
    /// Its name.
    pub name: String,
    /// Its objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The triggers that are to be handled, those under a lease included.
    pub triggers: u64,
    /// Its dead letters.
    pub dead_letters: u64,
}

impl TaskBucketStats {
    /// The numbers of a bucket, for backends.
    #[must_use]
    pub fn new(name: String, objects: u64, bytes: u64, triggers: u64, dead_letters: u64) -> Self {
        Self { name, objects, bytes, triggers, dead_letters }
    }
}
