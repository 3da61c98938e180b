//! # Larder
//!
//! The local store for event-sourced and local-first applications: one library, one file.
//!
//! A [`Store`] is opened in memory for tests or on a SQLite file. It holds named logs of events
//! ([`EventLog`]); a log holds streams (the events of one aggregate, guarded by an expected sequence
//! number) and is queried by type and tag (guarded by an append condition: a *dynamic consistency
//! boundary*, DCB). Everything that writes is a [`Write`]: await it, wait on it, or add it to a
//! [`WriteBatch`] that commits atomically.
//!
//! ```
//! use larder::{ErrorKind, NewEvent, Store};
//!
//! # fn main() -> larder::Result<()> {
//! let store = Store::memory();
//! let orders = store.event_log("orders")?;
//!
//! orders.append("order-1", 0, [NewEvent::new("Placed", &42).tag("customer:c1")]).wait()?;
//! let error = orders.append("order-1", 0, [NewEvent::new("Placed", &43)]).wait().unwrap_err();
//! assert!(matches!(error.kind(), ErrorKind::Conflict { expected: 0, actual: 1 }));
//!
//! for event in orders.read("order-1", ..).wait()? {
//!     println!("{} {} {}", event.position, event.event_type, event.payload);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Operations are lazy futures tied to no executor: `.await` them anywhere, or drive one on a plain thread with
//! `.wait()`, which blocks that thread and so has no place inside an async task. Reads run on the thread that
//! polls them, a page at a time; writes are committed together with those of other callers.
//!
//! # Finding the way
//!
//! | to | use |
//! |---|---|
//! | open, close, check, back up | [`Store`], [`Config`] |
//! | append, read, query, compact | [`EventLog`], [`NewEvent`], [`Event`], [`Query`] |
//! | guard a decision | [`Expected`], [`AppendCondition`], [`Page::through`] |
//! | follow what happens | [`Subscription`] |
//! | save states, and recover them | [`Snapshots`], [`Codec`] |
//! | keep objects, and handle each at least once | [`TaskBucket`], [`Task`], [`WorkOptions`] |
//! | commit several writes at once | [`WriteBatch`] |
//! | tell errors apart | [`ErrorKind`] |
//! | bring an engine of one's own | [`Backend`], and `larder::testing` to prove it |

mod batch;
mod bus;
mod clock;
mod codec;
mod config;
mod decider;
mod error;
mod event;
mod event_log;
mod limits;
mod operation;
mod page;
mod projection;
mod query;
mod query_db;
mod snapshot;
mod store;
mod subscription;
mod task_bucket;
mod timer;
mod transfer;
mod write_kind;

pub mod backend;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use backend::{
    Backend, Finding, LogStats, Progress, QueryDbStats, SnapshotStats, StoreStats, TaskBucketStats,
    VerifyReport,
};
pub use batch::{Committed, Slot, WriteBatch};
pub use bus::{Bus, Listener};
pub use clock::{Clock, SystemClock};
pub use codec::{Codec, EncryptionKey, Keyring};
pub use config::{BackendConfig, Config, Durability, SnapshotOptions, SqliteConfig};
pub use decider::{Decider, ExecuteError, Executed, Executor, ScopedDecider, ScopedExecutor};
pub use error::{BoxError, Error, ErrorKind, MatchingEvent, Result};
pub use event::{Event, NewEvent, Payload, Position};
pub use event_log::{
    Append, Appended, AuditConditions, BulkEvent, Compact, Compacted, DropLog, EventLog, Expected, Forget,
    Loaded, LogInfo, RaiseMark, StreamInfo, Trim, Trimmed,
};
pub use limits::Limits;
pub use operation::{Call, Each, Read, Write, WriteKind, wait};
pub use page::{Page, Row};
pub use projection::{
    ChangeProjection, DeadLetter, FailurePolicy, Projection, ProjectionBatch, ProjectionFailure,
    ProjectionInfo, Projector, SetCheckpoint,
};
pub use query::{AppendCondition, Query, QueryItem};
pub use query_db::{
    Change, ChangeKind, Cursor, Define, Delete, DropIndex, DropQueryDb, Field, FieldPath, Filter, Increment,
    Index, IndexProjection, Item, ItemKey, ItemQuery, KeyField, KeyType, KeyValue, Number, Purge, QueryDb,
    QueryDbInfo, QueryDbSpec, QuerySource, Removal, Save, SaveBatch, Saved, Sort, Test, Ttl, field,
};
pub use snapshot::{
    DeleteSnapshots, IntoSubject, NamedQuery, Recovered, Reencrypted, SaveSnapshot, Snapshot, SnapshotInfo,
    SnapshotPlace, SnapshotSaved, Snapshots, Subject,
};
pub use store::Store;
pub use subscription::{Followed, Next, Subscription, WaitIter};
pub use task_bucket::{
    Acknowledge, DeadTask, DeleteObject, DiscardDeadTasks, NotBefore, Object, ObjectInfo, ObjectPut, Put,
    RedriveDeadTasks, Task, TaskBucket, TaskBucketInfo, TaskKind, WorkOptions,
};
pub use transfer::{
    TransferOptions, Transferred, TransferredLog, TransferredProjection, TransferredQueryDb,
    TransferredTaskBucket, check_export,
};
pub use uuid::Uuid;

/// Compiles and runs the code of the documents.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Repository;
    #[doc = include_str!("../README.md")]
    struct Package;
}
