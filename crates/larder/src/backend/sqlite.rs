//! The SQLite backend: one file, one writer, group commit. `docs/formats/sqlite.md` describes the file.
//!
//! A write is a batch in a bounded queue; the writer commits everything that waits in one transaction. Reads
//! run on the thread that asks, on a pooled connection, in one snapshot.

mod append;
mod append_id;
mod backup;
mod batch_id;
mod candidates;
mod checkpoint;
mod checksum;
mod collector;
mod compaction;
mod condition;
mod error;
mod event_log;
mod history;
mod log_row;
mod moment;
mod open_files;
mod place;
#[cfg(test)]
mod plan;
mod postings;
mod projection;
mod query_db;
mod query_read;
mod queue;
mod reader;
mod row;
mod schema;
mod shared;
mod snapshot;
mod stats;
mod stream_index;
mod stream_read;
mod streams;
mod sweep;
mod task_bucket;
mod trace;
mod verify;
mod watcher;
mod writer;
mod writer_log;
mod writer_thread;

use std::{
    fmt,
    future::poll_fn,
    path::PathBuf,
    sync::{
        Arc, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_channel::oneshot;

use self::{queue::Job, shared::Shared};
use super::{
    Backend, BoxFuture, ChangesRead, CommitReply, CommitRequest, DeadTasksRead, EventRead, HiddenRead,
    HistoryPage, HistoryRead, ItemsRead, ObjectsRead, Progress, SnapshotPage, SnapshotRead, SnapshotsRead,
    StoreStats, StoredSnapshot, StreamsRead, TriggerRow, TriggersRead, VerifyReport,
};
use crate::{
    bus::Bus,
    clock::Clock,
    config::{Config, SqliteConfig},
    error::{Error, ErrorKind, Result},
    event::{Event, Position},
    event_log::{LogInfo, StreamInfo},
    page::Page,
    projection::{DeadLetter, ProjectionInfo},
    query_db::{Change, Item, ItemQuery, KeyValue, QueryDbInfo},
    snapshot::SnapshotInfo,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo},
};

/// A handle on an open SQLite file. Handles on the same file in one process share one writer.
pub struct SqliteBackend {
    shared: Arc<Shared>,
    open: AtomicBool,
}

impl SqliteBackend {
    /// Opens the file, creating it and its directory if need be.
    ///
    /// # Errors
    /// `Incompatible` for a file that is not a store of this or an earlier version; `NotFound` for a missing one
    /// when only reading; `Locked`; `Corrupted`; `InvalidArgument`; `Io`.
    pub fn open(config: &Config, sqlite: &SqliteConfig) -> Result<Self> {
        let shared = open_files::open(config, sqlite)
            .map_err(|error| error.during("open store").with("path", sqlite.path.display().to_string()))?;
        Ok(Self { shared, open: AtomicBool::new(true) })
    }

    fn check_open(&self) -> Result<()> {
        if self.open.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::new(ErrorKind::Closed)) }
    }

    /// Reads run on the caller's thread: a page takes microseconds, and never waits for the writer.
    fn read<'a, T: Send + 'a>(
        &'a self,
        run: impl FnOnce(&Shared) -> Result<T> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.check_open()?;
            run(&self.shared)
        })
    }

    /// Commits on the caller's thread, if nobody else is at it.
    fn commit_here(&self, request: CommitRequest) -> Result<Result<CommitReply>, CommitRequest> {
        if !self.shared.queue.is_empty() {
            return Err(request);
        }
        let mut writer = match self.shared.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(request),
        };
        match writer.as_mut() {
            Some(writer) => Ok(writer.commit_one(&self.shared, &request)),
            None => Ok(Err(Error::new(ErrorKind::Closed))),
        }
    }

    async fn commit_in_group(&self, request: CommitRequest) -> Result<CommitReply> {
        let (answer, answered) = oneshot::channel();
        let mut job = Some(Job { request, answer });
        let pushed = poll_fn(|context| self.shared.queue.poll_push(&mut job, context)).await;
        if pushed.is_err() {
            self.shared.check_sound()?;
            return Err(Error::new(ErrorKind::Closed));
        }
        answered.await.unwrap_or_else(|_| {
            // The writer's thread is gone in the middle of it.
            self.shared.poison();
            Err(Error::new(ErrorKind::CommitUnknown))
        })
    }
}

impl Backend for SqliteBackend {
    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(async move {
            self.check_open()?;
            if !request.on_callers_thread {
                return self.commit_in_group(request).await;
            }
            match self.commit_here(request) {
                Ok(answer) => answer,
                Err(request) => self.commit_in_group(request).await,
            }
        })
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        self.read(move |shared| event_log::read_events(shared, &request))
    }

    fn first_hidden(&self, request: HiddenRead) -> BoxFuture<'_, Result<Option<Position>>> {
        self.read(move |shared| event_log::first_hidden(shared, &request))
    }

    fn read_streams(&self, request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>> {
        self.read(move |shared| event_log::read_streams(shared, &request))
    }

    fn stream_info(&self, log: Arc<str>, stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>> {
        self.read(move |shared| event_log::stream_info(shared, &log, &stream))
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogInfo>>> {
        self.read(|shared| {
            let logs = shared.pool.snapshot(log_row::all_logs)?;
            Ok(logs.into_iter().map(|(name, log)| log.info(name)).collect())
        })
    }

    fn log_info(&self, log: Arc<str>) -> BoxFuture<'_, Result<Option<LogInfo>>> {
        self.read(move |shared| {
            let row = shared.pool.snapshot(|connection| log_row::LogRow::find(connection, &log))?;
            Ok(row.map(|row| row.info(log.to_string())))
        })
    }

    fn read_history(&self, request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>> {
        self.read(move |shared| history::read(shared, &request))
    }

    fn query_dbs(&self) -> BoxFuture<'_, Result<Vec<QueryDbInfo>>> {
        self.read(query_db::infos)
    }

    fn query_db_info(&self, query_db: Arc<str>) -> BoxFuture<'_, Result<Option<QueryDbInfo>>> {
        self.read(move |shared| query_db::info(shared, &query_db))
    }

    fn load_items(
        &self,
        query_db: Arc<str>,
        partition: String,
        sub: Option<KeyValue>,
    ) -> BoxFuture<'_, Result<Vec<Item>>> {
        self.read(move |shared| query_db::load(shared, &query_db, &partition, sub.as_ref()))
    }

    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>> {
        self.read(move |shared| query_db::page(shared, &request))
    }

    fn count_items(&self, query_db: Arc<str>, query: ItemQuery) -> BoxFuture<'_, Result<u64>> {
        self.read(move |shared| query_db::count_items(shared, &query_db, query))
    }

    fn read_changes(&self, request: ChangesRead) -> BoxFuture<'_, Result<Page<Change>>> {
        self.read(move |shared| query_db::changes(shared, &request))
    }

    fn read_snapshot(&self, request: SnapshotRead) -> BoxFuture<'_, Result<Option<StoredSnapshot>>> {
        self.read(move |shared| snapshot::find(shared, &request))
    }

    fn list_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<Page<SnapshotInfo>>> {
        self.read(move |shared| {
            let (infos, next, _) = snapshot::page(shared, &request)?;
            Ok(Page::new(infos, next, Position::START))
        })
    }

    fn read_snapshots(&self, request: SnapshotsRead) -> BoxFuture<'_, Result<SnapshotPage>> {
        self.read(move |shared| {
            let (snapshots, next, damaged) = snapshot::page(shared, &request)?;
            Ok(SnapshotPage { snapshots, next, damaged })
        })
    }

    fn projections(&self) -> BoxFuture<'_, Result<Vec<ProjectionInfo>>> {
        self.read(|shared| shared.pool.snapshot(projection::infos))
    }

    fn projection_info(&self, projection: Arc<str>) -> BoxFuture<'_, Result<Option<ProjectionInfo>>> {
        self.read(move |shared| shared.pool.snapshot(|connection| projection::info(connection, &projection)))
    }

    fn dead_letters(&self, projection: Arc<str>, after: Position) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        self.read(move |shared| {
            shared.pool.snapshot(|connection| projection::dead_letters(connection, &projection, after))
        })
    }

    fn task_buckets(&self) -> BoxFuture<'_, Result<Vec<TaskBucketInfo>>> {
        self.read(task_bucket::infos)
    }

    fn task_bucket_info(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<TaskBucketInfo>>> {
        self.read(move |shared| task_bucket::bucket_info(shared, &bucket))
    }

    fn read_object(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<Object>>> {
        self.read(move |shared| task_bucket::object(shared, &bucket, &key))
    }

    fn object_info(&self, bucket: Arc<str>, key: String) -> BoxFuture<'_, Result<Option<ObjectInfo>>> {
        self.read(move |shared| task_bucket::info(shared, &bucket, &key))
    }

    fn read_objects(&self, request: ObjectsRead) -> BoxFuture<'_, Result<Page<ObjectInfo>>> {
        self.read(move |shared| task_bucket::objects(shared, &request))
    }

    fn read_dead_tasks(&self, request: DeadTasksRead) -> BoxFuture<'_, Result<Page<DeadTask>>> {
        self.read(move |shared| task_bucket::dead_letters(shared, &request))
    }

    fn read_triggers(&self, request: TriggersRead) -> BoxFuture<'_, Result<Vec<TriggerRow>>> {
        self.read(move |shared| task_bucket::triggers_page(shared, &request))
    }

    fn next_due(&self, bucket: Arc<str>) -> BoxFuture<'_, Result<Option<u64>>> {
        self.read(move |shared| task_bucket::next_due(shared, &bucket))
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats>> {
        self.read(stats::read)
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<VerifyReport>> {
        self.read(move |shared| verify::run(shared, &progress))
    }

    fn backup(&self, destination: PathBuf, progress: Progress) -> BoxFuture<'_, Result<()>> {
        self.read(move |shared| backup::run(shared, &destination, &progress))
    }

    fn bus(&self) -> &Bus {
        &self.shared.bus
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.open.swap(false, Ordering::SeqCst) && self.shared.release() {
                self.shared.end().await;
            }
            Ok(())
        })
    }
}

impl Drop for SqliteBackend {
    fn drop(&mut self) {
        if self.open.swap(false, Ordering::SeqCst) {
            self.shared.release();
        }
    }
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend").field("path", &self.shared.config.path).finish_non_exhaustive()
    }
}
