//! The in-memory backend: every log in ordered maps, behind one lock.
//!
//! It is the reference that other backends are compared with, so it does the obvious thing. A batch is applied
//! in place while the lock is held, each change leaving what takes it back; a failing batch is
//! reverted before anybody can look.

mod append;
mod compact;
mod event_log;
mod history;
mod projection;
mod query_db;
mod read;
mod snapshot;
mod state;
mod table;
mod task_bucket;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::{
    event_log::LogState,
    query_db::QueryDbState,
    state::{Committed, State},
};
use super::{
    Backend, BoxFuture, ChangesRead, CommitReply, CommitRequest, DeadTasksRead, EventRead, HiddenRead,
    HistoryPage, HistoryRead, ItemsRead, ObjectsRead, Progress, SnapshotPage, SnapshotRead, SnapshotsRead,
    StoreStats, StoredSnapshot, StreamsRead, TriggerRow, TriggersRead, VerifyReport,
};
use crate::{
    bus::Bus,
    clock::{Clock, micros_since_epoch},
    config::Config,
    error::{Error, ErrorKind, Result},
    event::{Event, Position},
    event_log::{LogInfo, StreamInfo},
    limits::Limits,
    page::Page,
    projection::{DeadLetter, ProjectionInfo},
    query_db::{Change, Item, ItemQuery, KeyValue, QueryDbInfo},
    snapshot::SnapshotInfo,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo},
};

/// A store in memory, gone when it is dropped or closed.
///
/// ```
/// use std::sync::Arc;
/// use larder::{Config, NewEvent, Store, backend::memory::MemoryBackend};
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::with_backend(Arc::new(MemoryBackend::new(&Config::memory())));
/// store.event_log("orders")?.append("order-1", 0, [NewEvent::new("Placed", &1)]).wait()?;
/// # Ok(())
/// # }
/// ```
pub struct MemoryBackend {
    /// `None` once closed.
    state: Mutex<Option<State>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    bus: Bus,
}

impl MemoryBackend {
    /// An empty store, with the configuration's limits and clock.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            state: Mutex::new(Some(State::default())),
            limits: config.limits.clone(),
            clock: config.clock.clone(),
            bus: Bus::new(),
        }
    }

    fn commit_now(&self, request: CommitRequest) -> Result<CommitReply> {
        let now = self.now();
        let Committed { reply, changed } =
            self.with_state(|state| state.commit(request, (now, &self.limits, &self.bus)))?;
        // Announcements carry nothing but "look again", so their order does not depend on the lock.
        changed.iter().for_each(|channel| self.bus.publish(channel));
        Ok(reply)
    }

    fn with_state<T>(&self, run: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        run(self.lock().as_mut().ok_or_else(|| Error::new(ErrorKind::Closed))?)
    }

    /// Microseconds since 1970.
    fn now(&self) -> u64 {
        micros_since_epoch(self.clock.now())
    }

    /// Looks at a QueryDb; one that does not exist is the default answer.
    fn with_query_db<T: Default>(
        &self,
        name: &str,
        look: impl FnOnce(&QueryDbState) -> Result<T>,
    ) -> Result<T> {
        self.with_state(|state| {
            let existing = state.query_dbs.get(name).filter(|query_db| query_db.exists());
            existing.map_or_else(|| Ok(T::default()), look)
        })
    }

    /// Looks at a log; one that does not exist is the default answer.
    fn with_log<T: Default>(&self, log: &str, look: impl FnOnce(&LogState) -> Result<T>) -> Result<T> {
        self.with_state(|state| state.logs.get(log).map_or_else(|| Ok(T::default()), look))
    }

    /// A panic under the lock has reverted the batch that was under way, so the state is whole.
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Backend for MemoryBackend {
    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(async move { self.commit_now(request) })
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        Box::pin(async move { self.with_state(|state| read::events(state, &request, &self.limits)) })
    }

    fn first_hidden(&self, request: HiddenRead) -> BoxFuture<'_, Result<Option<Position>>> {
        Box::pin(async move { self.with_log(&request.log, |log| Ok(log.first_hidden(&request))) })
    }

    fn read_streams(&self, request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>> {
        Box::pin(async move { self.with_state(|state| read::streams(state, &request, &self.limits)) })
    }

    fn stream_info(&self, log: Arc<str>, stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>> {
        Box::pin(async move { self.with_log(&log, |log| Ok(log.stream_info(&stream))) })
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogInfo>>> {
        Box::pin(async { self.with_state(|state| Ok(state.logs.values().map(LogState::info).collect())) })
    }

    fn log_info(&self, log: Arc<str>) -> BoxFuture<'_, Result<Option<LogInfo>>> {
        Box::pin(async move { self.with_log(&log, |log| Ok(Some(log.info()))) })
    }

    fn read_history(&self, request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>> {
        Box::pin(async move { self.with_state(|state| Ok(history::page(state, &request))) })
    }

    fn query_dbs(&self) -> BoxFuture<'_, Result<Vec<QueryDbInfo>>> {
        Box::pin(async {
            self.with_state(|state| {
                let existing = state.query_dbs.values().filter(|query_db| query_db.is_listed());
                Ok(existing.map(QueryDbState::info).collect())
            })
        })
    }

    fn query_db_info(&self, query_db: Arc<str>) -> BoxFuture<'_, Result<Option<QueryDbInfo>>> {
        Box::pin(async move { self.with_query_db(&query_db, |state| Ok(Some(state.info()))) })
    }

    fn load_items(
        &self,
        query_db: Arc<str>,
        partition: String,
        sub: Option<KeyValue>,
    ) -> BoxFuture<'_, Result<Vec<Item>>> {
        Box::pin(async move {
            let now = self.now();
            self.with_query_db(&query_db, |state| state.load(&partition, sub, now, &self.limits))
        })
    }

    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>> {
        Box::pin(async move {
            let now = self.now();
            let unknown = QueryDbState::new(request.query_db.clone());
            self.with_state(|state| {
                let query_db = state.query_dbs.get(&request.query_db).unwrap_or(&unknown);
                query_db.page(&request, now, &self.limits)
            })
        })
    }

    fn count_items(&self, query_db: Arc<str>, query: ItemQuery) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let now = self.now();
            let unknown = QueryDbState::new(query_db.clone());
            self.with_state(|state| state.query_dbs.get(&query_db).unwrap_or(&unknown).count(query, now))
        })
    }

    fn read_changes(&self, request: ChangesRead) -> BoxFuture<'_, Result<Page<Change>>> {
        Box::pin(async move {
            let unknown = QueryDbState::new(request.query_db.clone());
            self.with_state(|state| {
                let query_db = state.query_dbs.get(&request.query_db).unwrap_or(&unknown);
                query_db.changes_page(&request, &self.limits)
            })
        })
    }

    fn read_snapshot(&self, request: SnapshotRead) -> BoxFuture<'_, Result<Option<StoredSnapshot>>> {
        Box::pin(async move { self.with_state(|state| snapshot::find(state, &request)) })
    }

    fn list_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<Page<SnapshotInfo>>> {
        Box::pin(async move {
            let (infos, next, _) = self.with_state(|state| snapshot::page(state, &request, &self.limits))?;
            Ok(Page::new(infos, next, Position::START))
        })
    }

    fn read_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<SnapshotPage>> {
        Box::pin(async move {
            let (snapshots, next, damaged) =
                self.with_state(|state| snapshot::page(state, &request, &self.limits))?;
            Ok(SnapshotPage { snapshots, next, damaged })
        })
    }

    fn projections(&self) -> BoxFuture<'_, Result<Vec<ProjectionInfo>>> {
        Box::pin(async { self.with_state(|state| Ok(state.projections.infos())) })
    }

    fn projection_info(&self, projection: Arc<str>) -> BoxFuture<'_, Result<Option<ProjectionInfo>>> {
        Box::pin(async move { self.with_state(|state| Ok(state.projections.info(&projection))) })
    }

    fn dead_letters(&self, projection: Arc<str>, after: Position) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(
            async move { self.with_state(|state| Ok(state.projections.dead_letters(&projection, after))) },
        )
    }

    fn task_buckets(&self) -> BoxFuture<'_, Result<Vec<TaskBucketInfo>>> {
        Box::pin(async { self.with_state(|state| state.task_buckets.infos()) })
    }

    fn task_bucket_info(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<TaskBucketInfo>>> {
        Box::pin(async move { self.with_state(|state| state.task_buckets.bucket_info(&bucket)) })
    }

    fn read_object(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<Object>>> {
        Box::pin(async move { self.with_state(|state| state.task_buckets.object(&bucket, &key)) })
    }

    fn object_info(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<ObjectInfo>>> {
        Box::pin(async move { self.with_state(|state| state.task_buckets.info(&bucket, &key)) })
    }

    fn read_objects(&self, request: ObjectsRead) -> BoxFuture<'_, Result<Page<ObjectInfo>>> {
        Box::pin(async move { self.with_state(|state| state.task_buckets.objects(&request, &self.limits)) })
    }

    fn read_dead_tasks(&self, request: DeadTasksRead) -> BoxFuture<'_, Result<Page<DeadTask>>> {
        Box::pin(
            async move { self.with_state(|state| state.task_buckets.dead_letters(&request, &self.limits)) },
        )
    }

    fn read_triggers(&self, request: TriggersRead) -> BoxFuture<'_, Result<Vec<TriggerRow>>> {
        Box::pin(async move { self.with_state(|state| state.task_buckets.triggers(&request)) })
    }

    fn next_due(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async move { self.with_state(|state| Ok(state.task_buckets.next_due(&bucket))) })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats>> {
        Box::pin(async {
            let now = self.now();
            self.with_state(|state| {
                let logs = state.logs.values().map(LogState::stats).collect();
                let query_dbs = state.query_dbs.values().filter(|query_db| query_db.is_listed());
                let query_dbs = query_dbs.map(|query_db| query_db.stats(now)).collect();
                let snapshots = state.snapshots.stats();
                let task_buckets = state.task_buckets.stats();
                Ok(StoreStats {
                    backend: "memory".into(),
                    bytes: 0,
                    logs,
                    query_dbs,
                    snapshots,
                    task_buckets,
                    projections: state.projections.infos(),
                })
            })
        })
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<VerifyReport>> {
        Box::pin(async move { self.with_state(|state| Ok(verify::verify(state, &progress))) })
    }

    fn backup(&self, _destination: PathBuf, _progress: Progress) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.with_state(|_| {
                let unsupported = Error::new(ErrorKind::Unsupported).during("back up");
                Err(unsupported.with_hint("a store in memory has no file; export its logs instead"))
            })
        })
    }

    fn bus(&self) -> &Bus {
        &self.bus
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let state = self.lock().take();
            if state.is_some() {
                self.bus.publish_all();
            }
            Ok(())
        })
    }
}
