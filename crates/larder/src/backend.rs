//! What an engine implements: one write path, a few paged reads, `close`.
//!
//! A [`Store`](crate::Store) talks to a `dyn Backend` and to nothing else. The in-memory and the SQLite
//! backend live here, one module each; others are handed to
//! [`Store::with_backend`](crate::Store::with_backend) and prove themselves with the conformance suite in
//! `larder::testing`.
//!
//! Names, sizes and queries have been checked when a request arrives: a backend need not check them again.

mod batch_digest;
mod finding;
mod history;
pub mod memory;
mod progress;
mod projection;
mod query_db;
mod snapshot;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod task_bucket;

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::batch_digest::batch_id_reused;
pub(crate) use self::projection::REBUILD_VERSIONS;
pub use self::projection::{ProjectionOperation, REBUILD_SUFFIX};
pub(crate) use self::projection::{check_checkpoint, check_checkpoint_and_rebuilds};
pub use self::query_db::{
    ChangesRead, ItemData, ItemSource, ItemsRead, QueryDbOperation, QueryDbOutcome, QueryDbStats, SaveMode,
};
#[cfg(feature = "sqlite")]
pub(crate) use self::snapshot::checksum as snapshot_checksum;
pub use self::snapshot::{
    SnapshotData, SnapshotOperation, SnapshotOutcome, SnapshotPage, SnapshotRead, SnapshotSource,
    SnapshotStats, SnapshotsRead, StoredSnapshot, container_digest,
};
pub(crate) use self::snapshot::{SnapshotPages, Taken};
pub use self::task_bucket::{
    Claimed, DeadTasksRead, Due, Lease, ObjectData, ObjectRow, ObjectsRead, TaskBucketOperation,
    TaskBucketOutcome, TaskBucketRow, TaskBucketStats, TriggerRow, TriggerState, TriggersRead,
};
pub(crate) use self::task_bucket::{
    END_OF_TIME, ERROR_BYTES, Rows as TaskRows, bucket_checksum, check_row, operate as operate_on_bucket,
    shortened,
};
pub use self::{
    batch_digest::batch_digest,
    finding::Finding,
    history::{AppendId, HistoryCursor, HistoryPage, HistoryRead, HistoryRow},
    progress::Progress,
};

use crate::{
    bus::Bus,
    clock::Clock,
    error::Result,
    event::{Event, Payload, Position},
    event_log::{Appended, Compacted, Expected, LogInfo, StreamInfo, Trimmed},
    page::Page,
    projection::{DeadLetter, ProjectionInfo},
    query::{AppendCondition, Query},
    query_db::{Change, Item, ItemQuery, KeyValue, QueryDbInfo},
    snapshot::SnapshotInfo,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo},
};

/// A boxed future, as the methods of [`Backend`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An engine that keeps what a store writes.
///
/// Every method may be called from any thread, at any time, also after `close`.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Commits a batch, all of it or nothing.
    ///
    /// - It takes effect, or is enqueued, when first polled, or once there is room in the queue; dropping the future
    ///   after that does not cancel it.
    /// - Operations run in order, and each sees the earlier ones. The first failing guard fails the batch, and
    ///   the error carries that operation's index.
    /// - A batch id seen before (and kept) writes nothing and answers as the first time, if the [`batch_digest`] is what
    ///   it was; else it is `AlreadyExists`.
    /// - The answer comes after the commit is durable as configured, and after the bus was told.
    /// - `Conflict`, `ConditionFailed`, `AlreadyExists`, `InvalidArgument`, `TooLarge`: nothing was written.
    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>>;

    /// Reads a page of events, in one atomic look.
    ///
    /// - Ascending by position, or descending; only visible events (not compacted, not trimmed).
    /// - `limit` events at most, and none after those that reach `max_bytes` of payload and metadata; if that
    ///   leaves some out, `next` is the last item's position and `through` is it too.
    /// - More than `Limits::read_events` without a `limit` is `TooLarge`.
    /// - A page that reaches the end has no `next`, and `through` is the log's head. Descending pages have the
    ///   start as `through`.
    /// - An unknown log or stream is an empty page.
    /// - A stored event that fails its checksum is `Corrupted`.
    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>>;

    /// The first event, by position, that a query matches and that reads no longer show: it was compacted or trimmed.
    ///
    /// - One that was forgotten too is not found.
    /// - An unknown log has none.
    fn first_hidden(&self, request: HiddenRead) -> BoxFuture<'_, Result<Option<Position>>>;

    /// Reads a page of the streams of a log, ascending by UTF-8 bytes, those compacted empty included.
    fn read_streams(&self, request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>>;

    /// What is known of one stream; `None` if it never had an event or a mark.
    fn stream_info(&self, log: Arc<str>, stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>>;

    /// What is known of every log, ascending by name.
    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogInfo>>>;

    /// What is known of one log.
    fn log_info(&self, log: Arc<str>) -> BoxFuture<'_, Result<Option<LogInfo>>>;

    /// Reads a page of everything a log holds, for an export: see [`HistoryRow`].
    fn read_history(&self, request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>>;

    /// What is known of every QueryDb, ascending by name.
    fn query_dbs(&self) -> BoxFuture<'_, Result<Vec<QueryDbInfo>>>;

    /// What is known of one QueryDb.
    fn query_db_info(&self, query_db: Arc<str>) -> BoxFuture<'_, Result<Option<QueryDbInfo>>>;

    /// The visible items of a partition, in sub-key order, in one atomic look; with a sub key, the one of that key.
    ///
    /// - More than `Limits::read_events` is `TooLarge`.
    /// - An unknown QueryDb has no items.
    /// - A stored item that fails its checksum is `Corrupted`.
    fn load_items(
        &self,
        query_db: Arc<str>,
        partition: String,
        sub: Option<KeyValue>,
    ) -> BoxFuture<'_, Result<Vec<Item>>>;

    /// Reads a page of visible items, in one atomic look, in the order that the request names.
    ///
    /// - An index is ordered by its sort fields, ties by the full primary key; so is descending, backwards.
    /// - `limit` items at most, and none after those that reach `max_bytes`; with a limit, a page also ends after 10,000
    ///   items were looked at. If something may be left, `next` is a cursor at the last item looked at.
    /// - A cursor of an index that was defined otherwise is `InvalidArgument`: see [`ItemsRead::check_index`].
    /// - More than `Limits::read_events` without a `limit` is `TooLarge`.
    /// - An index that does not exist, or a value of another type than its field, is `InvalidArgument`.
    /// - Through an index, an item's JSON is what the index's projection leaves of it.
    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>>;

    /// How many visible items a query names, in one atomic look.
    fn count_items(&self, query_db: Arc<str>, query: ItemQuery) -> BoxFuture<'_, Result<u64>>;

    /// Reads a page of changes that are kept, by version.
    ///
    /// - Changes are kept by a QueryDb defined so (at least the last 10,000, across restarts), and by any other in
    ///   this process (bounded), while its bus channel `querydb/NAME` has listeners.
    /// - `ChangesTruncated` if the one after `after` is no longer kept.
    /// - `through` is the highest version that was ever given, as a position: of a dropped QueryDb too.
    fn read_changes(&self, request: ChangesRead) -> BoxFuture<'_, Result<Page<Change>>>;

    /// The newest snapshot of a subject that fits the request.
    ///
    /// - A stored snapshot that fails its checksum is `Corrupted`.
    fn read_snapshot(&self, request: SnapshotRead) -> BoxFuture<'_, Result<Option<StoredSnapshot>>>;

    /// Lists a page of snapshots as [`read_snapshots`](Self::read_snapshots) reads one, each checked, without their
    /// states; `max_bytes` does not matter. A damaged one is listed as [`damaged`](SnapshotInfo::damaged_at), so that the
    /// others can be found.
    fn list_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<Page<SnapshotInfo>>>;

    /// Reads a page of snapshots, in one atomic look, by log, subject (by kind, `query` before `stream`, and by name)
    /// and place; names ascend by UTF-8 bytes.
    ///
    /// - `limit` snapshots at most, and none after those that reach `max_bytes`, but at least one; if that leaves some
    ///   out, `next` is the last one's place.
    /// - More than `Limits::read_events` without a `limit` is `TooLarge`.
    /// - A stored snapshot that fails its checksum is `Corrupted`, or passed over, if the request says so.
    fn read_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<SnapshotPage>>;

    /// What is known of every projection, ascending by name.
    fn projections(&self) -> BoxFuture<'_, Result<Vec<ProjectionInfo>>>;

    /// What is known of one projection.
    fn projection_info(&self, projection: Arc<str>) -> BoxFuture<'_, Result<Option<ProjectionInfo>>>;

    /// A projection's dead letters above a position, by position, the first 1,000.
    fn dead_letters(&self, projection: Arc<str>, after: Position) -> BoxFuture<'_, Result<Vec<DeadLetter>>>;

    /// What is known of every task bucket, ascending by name.
    fn task_buckets(&self) -> BoxFuture<'_, Result<Vec<TaskBucketInfo>>>;

    /// What is known of one task bucket; `None` if nothing was ever put into it.
    fn task_bucket_info(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<TaskBucketInfo>>>;

    /// The object of a key.
    ///
    /// - A stored object that fails its checksum is `Corrupted`.
    fn read_object(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<Object>>>;

    /// What is known of the object of a key, without reading its bytes.
    fn object_info(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<ObjectInfo>>>;

    /// Reads a page of objects without their bytes, in one atomic look, by key in the order of UTF-8 bytes.
    ///
    /// - `limit` objects at most; if that leaves some out, `next` is the last one's key.
    /// - More than `Limits::read_events` without a `limit` is `TooLarge`.
    fn read_objects(&self, request: ObjectsRead) -> BoxFuture<'_, Result<Page<ObjectInfo>>>;

    /// Reads a page of dead letters, in one atomic look, by number; otherwise as `read_objects`.
    fn read_dead_tasks(&self, request: DeadTasksRead) -> BoxFuture<'_, Result<Page<DeadTask>>>;

    /// Reads a page of triggers and dead letters, in one atomic look, by number, for an export.
    fn read_triggers(&self, request: TriggersRead) -> BoxFuture<'_, Result<Vec<TriggerRow>>>;

    /// When the next trigger of a bucket is due (or the lease that it is under runs out), in microseconds since 1970;
    /// `None` if there is no trigger.
    fn next_due(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<u64>>>;

    /// Numbers about the store. May count, so it can take a while.
    fn stats(&self) -> BoxFuture<'_, Result<StoreStats>>;

    /// Re-checks everything stored: checksums, contiguity, indexes against what they index, audited conditions.
    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<VerifyReport>>;

    /// Copies the store to a file that must not exist, while reads and writes go on.
    fn backup(&self, destination: PathBuf, progress: Progress) -> BoxFuture<'_, Result<()>>;

    /// Where commits are announced.
    fn bus(&self) -> &Bus;

    /// Where the backend reads the time.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// Ends all work. Idempotent; every other call is `Closed` afterwards.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

/// A batch to commit.
#[derive(Debug)]
pub struct CommitRequest {
    /// The batch's id, if its repetition is to be recognised.
    pub id: Option<Uuid>,
    /// What to do, in order.
    pub operations: Vec<Operation>,
    /// The caller waits on a plain thread, which the backend may use to commit.
    pub on_callers_thread: bool,
}

/// The answer to a committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReply {
    /// One outcome for each operation, in order.
    pub outcomes: Vec<Outcome>,
}

/// An event to append, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventData {
    /// Its type.
    pub event_type: String,
    /// What it says.
    pub payload: Payload,
    /// A JSON object about it.
    pub metadata: Option<String>,
    /// Its tags, each once.
    pub tags: Vec<String>,
    /// The id given by the caller.
    pub id: Option<Uuid>,
}

/// An append to a log: see [`EventLog::append`](crate::EventLog::append).
#[derive(Debug, Clone)]
pub struct AppendOperation {
    /// The log.
    pub log: Arc<str>,
    /// The stream, if the events belong to one.
    pub stream: Option<String>,
    /// Where the writer believes the stream to be; `Any` without a stream.
    pub expected: Expected,
    /// The second guard.
    pub condition: Option<AppendCondition>,
    /// What to append. Empty: nothing is checked or written.
    pub events: Vec<EventData>,
}

/// One operation of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Operation {
    /// Appends events.
    Append(AppendOperation),
    /// Fails with `Conflict` unless the stream's head is this.
    RequireHead {
        /// The log.
        log: Arc<str>,
        /// The stream.
        stream: String,
        /// Its required head.
        head: u64,
    },
    /// Fails with `ConditionFailed` if an event matches.
    RequireNoneMatch {
        /// The log.
        log: Arc<str>,
        /// The condition.
        condition: AppendCondition,
    },
    /// Hides and deletes the events of a stream through a sequence number.
    Compact {
        /// The log.
        log: Arc<str>,
        /// The stream.
        stream: String,
        /// The last `seq_nr` to hide; beyond the head it means the head.
        through: u64,
    },
    /// Raises the compaction mark of a stream without live events.
    RaiseMark {
        /// The log.
        log: Arc<str>,
        /// The stream.
        stream: String,
        /// The new mark, and head; a lower one than today's changes nothing.
        through: u64,
    },
    /// Hides and deletes the events of a log through a position.
    Trim {
        /// The log.
        log: Arc<str>,
        /// The last position to hide; beyond the head it means the head.
        through: Position,
    },
    /// Removes what conditions still see of hidden events, through a position.
    Forget {
        /// The log.
        log: Arc<str>,
        /// The last position to forget.
        through: Position,
    },
    /// Removes a log and everything in it, its snapshots too, but its head: positions are never reused.
    DropLog {
        /// The log.
        log: Arc<str>,
    },
    /// Starts or ends keeping the conditions of appends, for `verify`.
    AuditConditions {
        /// The log.
        log: Arc<str>,
        /// Whether to keep them.
        enabled: bool,
    },
    /// Writes rows of an export as they are. Positions must lie above the log's head, also those at which streams
    /// were compacted; what is there already, but for the log itself, is `InvalidArgument`.
    Restore {
        /// The log.
        log: Arc<str>,
        /// The rows, in the order in which they were exported.
        rows: Vec<HistoryRow>,
    },
    /// Changes a QueryDb.
    QueryDb(QueryDbOperation),
    /// Changes a projection's record.
    Projection(ProjectionOperation),
    /// A `Compact`, `Trim` or `DropLog` that is done also beyond the checkpoint of a projection that reads the log:
    /// otherwise it is `ProjectionBehind`.
    Forced(Box<Operation>),
    /// Changes snapshots.
    Snapshot(SnapshotOperation),
    /// Changes a task bucket.
    TaskBucket(TaskBucketOperation),
}

/// What an operation answered. Backends that keep the answers of batches with an id can write it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// To an append.
    Appended(Appended),
    /// To a compaction or a raised mark.
    Compacted(Compacted),
    /// To a trim.
    Trimmed(Trimmed),
    /// To a change of a QueryDb.
    QueryDb(QueryDbOutcome),
    /// To a change of snapshots.
    Snapshot(SnapshotOutcome),
    /// To a change of a task bucket.
    TaskBucket(TaskBucketOutcome),
    /// To everything else.
    Done,
}

/// Which events to read.
#[derive(Debug, Clone)]
pub enum EventSource {
    /// Those of a stream with `from <= seq_nr <= to`.
    Stream {
        /// The stream.
        stream: String,
        /// The first `seq_nr`.
        from: u64,
        /// The last `seq_nr`.
        to: u64,
    },
    /// Those that match.
    Query(Query),
}

/// A request for a page of events.
#[derive(Debug, Clone)]
pub struct EventRead {
    /// The log.
    pub log: Arc<str>,
    /// Which events.
    pub source: EventSource,
    /// Exclusive: above it when ascending, below it when descending.
    pub after: Option<Position>,
    /// The most events.
    pub limit: Option<usize>,
    /// Ends the page with the event that reaches so many bytes of payload and metadata.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}

/// A request for the first hidden event that a query matches.
#[derive(Debug, Clone)]
pub struct HiddenRead {
    /// The log.
    pub log: Arc<str>,
    /// What it matches.
    pub query: Query,
    /// Exclusive: the position above which it is.
    pub after: Position,
    /// Inclusive: the last position that it can have.
    pub through: Position,
}

/// A request for a page of streams.
#[derive(Debug, Clone)]
pub struct StreamsRead {
    /// The log.
    pub log: Arc<str>,
    /// Exclusive.
    pub after: Option<String>,
    /// The most streams.
    pub limit: Option<usize>,
    /// Ignored: streams have no payload.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}

/// A digest of what an append says (stream, and each event's id, type and payload), to tell a retry from
/// another append that reuses an id: SHA-256, cut to 16 bytes.
#[must_use]
pub fn append_digest(stream: Option<&str>, events: &[EventData]) -> [u8; 16] {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    let mut field = |tag: u8, bytes: &[u8]| {
        hash.update([tag]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(0, stream.unwrap_or_default().as_bytes());
    for event in events {
        field(1, event.id.map(Uuid::into_bytes).as_ref().map_or(&[], |id| id));
        field(2, event.event_type.as_bytes());
        match &event.payload {
            Payload::Json(json) => field(3, json.as_bytes()),
            Payload::Bytes(bytes) => field(4, bytes),
        }
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// Numbers about a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// The backend, as the line at opening names it.
    pub backend: String,
    /// The bytes of its files, 0 in memory.
    pub bytes: u64,
    /// Each log, ascending by name.
    pub logs: Vec<LogStats>,
    /// Each QueryDb, ascending by name.
    pub query_dbs: Vec<QueryDbStats>,
    /// Its snapshots.
    pub snapshots: SnapshotStats,
    /// Each task bucket, ascending by name.
    pub task_buckets: Vec<TaskBucketStats>,
    /// What is known of each projection, ascending by name.
    pub projections: Vec<ProjectionInfo>,
}

/// Numbers about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// The log.
    pub info: LogInfo,
    /// Its visible events.
    pub events: u64,
    /// Its streams, those compacted empty included.
    pub streams: u64,
    /// Visible events by type, ascending by name; the first 1,000 types.
    pub types: Vec<(String, u64)>,
}

impl LogStats {
    /// The numbers of a log, for backends.
    #[must_use]
    pub fn new(info: LogInfo, events: u64, streams: u64, types: Vec<(String, u64)>) -> Self {
        Self { info, events, streams, types }
    }
}

/// What `verify` looked at, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Events whose checksum was recomputed.
    pub events: u64,
    /// Items of QueryDbs whose checksum was recomputed.
    pub items: u64,
    /// Index entries compared with what they index.
    pub index_entries: u64,
    /// Conditions replayed against history.
    pub conditions: u64,
    /// Snapshots whose checksum was recomputed.
    pub snapshots: u64,
    /// Objects of task buckets whose checksum was recomputed.
    pub objects: u64,
    /// Triggers and dead letters whose checksum was recomputed.
    pub triggers: u64,
    /// Projections whose record was looked at, and its checksum recomputed where the backend keeps one.
    pub projections: u64,
    /// What is wrong, the first 1,000 findings.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds a finding, up to the bound.
    pub fn find(&mut self, finding: Finding) {
        const BOUND: usize = 1_000;
        if self.findings.len() < BOUND {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}
