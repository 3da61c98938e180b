//! Backends that stand in front of another one.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::{
    backend::{
        Backend, BoxFuture, ChangesRead, CommitReply, CommitRequest, DeadTasksRead, EventRead, HiddenRead,
        HistoryPage, HistoryRead, ItemsRead, ObjectsRead, Progress, SnapshotPage, SnapshotRead,
        SnapshotsRead, StoreStats, StoredSnapshot, StreamsRead, TriggerRow, TriggersRead, VerifyReport,
    },
    bus::Bus,
    clock::Clock,
    error::Result,
    event::{Event, Position},
    event_log::{LogInfo, StreamInfo},
    page::Page,
    projection::{DeadLetter, ProjectionInfo},
    query_db::{Change, Item, ItemQuery, KeyValue, QueryDbInfo},
    snapshot::SnapshotInfo,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo},
};

macro_rules! wrapper {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// A backend that stands in front of another one, to watch it or to break it: what it does not do itself
        /// is passed on. Every wrapper is a [`Backend`].
        ///
        /// ```
        /// use std::sync::Arc;
        /// use larder::{Backend, Result, Store, backend::{BoxFuture, CommitReply, CommitRequest}, testing::Wrapper};
        ///
        /// #[derive(Debug)]
        /// struct Logged(Arc<dyn Backend>);
        ///
        /// impl Wrapper for Logged {
        ///     fn inner(&self) -> &dyn Backend {
        ///         &*self.0
        ///     }
        ///     fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        ///         println!("{} operations", request.operations.len());
        ///         self.0.commit(request)
        ///     }
        /// }
        /// # let memory = larder::backend::memory::MemoryBackend::new(&larder::Config::memory());
        /// let store = Store::with_backend(Arc::new(Logged(Arc::new(memory))));
        /// ```
        pub trait Wrapper: fmt::Debug + Send + Sync + 'static {
            /// The backend behind it.
            fn inner(&self) -> &dyn Backend;

            /// See [`Backend::bus`].
            fn bus(&self) -> &Bus {
                self.inner().bus()
            }

            /// See [`Backend::clock`].
            fn clock(&self) -> &Arc<dyn Clock> {
                self.inner().clock()
            }
            $(
                #[doc = concat!("See [`Backend::", stringify!($name), "`].")]
                fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, Result<$answer>> {
                    self.inner().$name($($argument),*)
                }
            )*
        }

        impl<T: Wrapper> Backend for T {
            fn bus(&self) -> &Bus {
                Wrapper::bus(self)
            }

            fn clock(&self) -> &Arc<dyn Clock> {
                Wrapper::clock(self)
            }
            $(
                fn $name(&self, $($argument: $type),*) -> BoxFuture<'_, Result<$answer>> {
                    Wrapper::$name(self, $($argument),*)
                }
            )*
        }
    };
}

wrapper! {
    commit(request: CommitRequest) -> CommitReply;
    read_events(request: EventRead) -> Page<Event>;
    first_hidden(request: HiddenRead) -> Option<Position>;
    read_streams(request: StreamsRead) -> Page<StreamInfo>;
    stream_info(log: Arc<str>, stream: String) -> Option<StreamInfo>;
    logs() -> Vec<LogInfo>;
    log_info(log: Arc<str>) -> Option<LogInfo>;
    read_history(request: HistoryRead) -> HistoryPage;
    query_dbs() -> Vec<QueryDbInfo>;
    query_db_info(query_db: Arc<str>) -> Option<QueryDbInfo>;
    load_items(query_db: Arc<str>, partition: String, sub: Option<KeyValue>) -> Vec<Item>;
    read_items(request: ItemsRead) -> Page<Item>;
    count_items(query_db: Arc<str>, query: ItemQuery) -> u64;
    read_changes(request: ChangesRead) -> Page<Change>;
    read_snapshot(request: SnapshotRead) -> Option<StoredSnapshot>;
    list_snapshots(request: SnapshotsRead) -> Page<SnapshotInfo>;
    read_snapshots(request: SnapshotsRead) -> SnapshotPage;
    projections() -> Vec<ProjectionInfo>;
    projection_info(projection: Arc<str>) -> Option<ProjectionInfo>;
    dead_letters(projection: Arc<str>, after: Position) -> Vec<DeadLetter>;
    task_buckets() -> Vec<TaskBucketInfo>;
    task_bucket_info(bucket: Arc<str>) -> Option<TaskBucketInfo>;
    read_object(bucket: Arc<str>, key: String) -> Option<Object>;
    object_info(bucket: Arc<str>, key: String) -> Option<ObjectInfo>;
    read_objects(request: ObjectsRead) -> Page<ObjectInfo>;
    read_dead_tasks(request: DeadTasksRead) -> Page<DeadTask>;
    read_triggers(request: TriggersRead) -> Vec<TriggerRow>;
    next_due(bucket: Arc<str>) -> Option<u64>;
    stats() -> StoreStats;
    verify(progress: Progress) -> VerifyReport;
    backup(destination: PathBuf, progress: Progress) -> ();
    close() -> ();
}
