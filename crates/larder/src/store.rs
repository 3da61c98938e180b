//! The store: opens a backend, hands out handles, closes.

use std::{
    future::Future,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use futures_channel::oneshot;

use crate::{
    backend::{
        Backend, Operation, Progress, QueryDbOperation, StoreStats, VerifyReport, memory::MemoryBackend,
    },
    batch::WriteBatch,
    clock::SystemClock,
    config::{BackendConfig, Config, SnapshotOptions},
    error::{Error, ErrorKind, Result},
    event_log::{EventLog, LogInfo},
    limits::{Limits, check_name},
    operation::{Call, Write},
    projection::{Projection, ProjectionInfo},
    query_db::{Define, QueryDb, QueryDbInfo, QueryDbSpec},
    task_bucket::{TaskBucket, TaskBucketInfo},
    timer::Timer,
};

/// Everything an application keeps, in memory or in one file. Cheap to clone; clones are the same store.
///
/// [Close](Store::close) it to be sure that all its work has ended. Dropping the last handle (logs, operations and
/// subscriptions hold one too) tells the store's threads to end, and does not wait for them.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// # let dir = std::env::temp_dir().join(format!("larder-doc-{}", std::process::id()));
/// let store = Store::open(format!("sqlite:{}/shop.db", dir.display())).wait()?;
/// store.event_log("orders")?.append("order-1", 0, [NewEvent::new("Placed", &1)]).wait()?;
/// store.close().wait()?;
/// # std::fs::remove_dir_all(dir).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    snapshots: SnapshotOptions,
    state: Mutex<State>,
    /// Set once open, read without a lock.
    backend: OnceLock<Arc<dyn Backend>>,
    timer: OnceLock<Timer>,
    /// For waits that are nobody's time: between attempts of writers that get in each other's way.
    patience: OnceLock<Timer>,
    closed: AtomicBool,
}

type Waiter = oneshot::Sender<Result<()>>;

#[derive(Debug)]
enum State {
    Unopened(Config),
    Opening(Vec<Waiter>),
    Open,
    Closed,
}

impl Store {
    /// Opens a store: `memory:`, `sqlite:<path>`, `sqlite:<path>?reset` (further flags joined by `&`:
    /// `durability=flushed|buffered`, `busy_timeout=<ms>`, `mode=ro`), or a [`Config`].
    ///
    /// Opening the same file twice in one process shares one instance.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is not recognised; `Incompatible` for a file that is not a store of this
    /// or an earlier version; `NotFound` for a missing file with `mode=ro`; `Locked`; `Corrupted`; `Io`.
    pub fn open(config: impl TryInto<Config, Error: Into<Error>>) -> Call<Self> {
        let store = Self::lazy(config);
        Call::new(async move {
            let store = store?;
            store.backend().await?;
            Ok(store)
        })
    }

    /// A store that is opened by its first operation. If that fails, the next operation tries again.
    ///
    /// # Errors
    /// `InvalidArgument` for a URL that is not recognised. No I/O is done.
    pub fn lazy(config: impl TryInto<Config, Error: Into<Error>>) -> Result<Self> {
        let config: Config = config.try_into().map_err(Into::into)?;
        Ok(Self::new(config.limits.clone(), config.snapshots.clone(), State::Unopened(config)))
    }

    /// Opens the store that the environment names: see [`Config::from_env`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_env() -> Call<Self> {
        let config = Config::from_env();
        Call::new(async move { Self::open(config?).await })
    }

    /// A store in memory.
    #[must_use]
    pub fn memory() -> Self {
        let config = Config::memory();
        tracing::info!("backend: {config}");
        Self::with_backend(Arc::new(MemoryBackend::new(&config)))
    }

    /// A store over a backend of one's own, with default limits.
    #[must_use]
    pub fn with_backend(backend: Arc<dyn Backend>) -> Self {
        Self::with_backend_and_limits(backend, Limits::default())
    }

    /// A store over a backend of one's own. The limits are those of what is checked on the way to it: payloads, and
    /// the events of an append; what bounds reads is the backend's.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use larder::{Config, Limits, NewEvent, Store, backend::memory::MemoryBackend};
    ///
    /// # fn main() -> larder::Result<()> {
    /// let mut limits = Limits::default();
    /// limits.payload_bytes = 4;
    /// let backend = MemoryBackend::new(&Config::memory().limits(limits.clone()));
    /// let log = Store::with_backend_and_limits(Arc::new(backend), limits).event_log("orders")?;
    /// assert!(log.append("order-1", 0, [NewEvent::new("Placed", &12_345)]).wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_backend_and_limits(backend: Arc<dyn Backend>, limits: Limits) -> Self {
        let store = Self::new(limits, SnapshotOptions::default(), State::Open);
        drop(store.inner.backend.set(backend));
        store
    }

    fn new(limits: Limits, snapshots: SnapshotOptions, state: State) -> Self {
        let inner = Inner {
            limits,
            snapshots,
            state: Mutex::new(state),
            backend: OnceLock::new(),
            timer: OnceLock::new(),
            patience: OnceLock::new(),
            closed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The log of this name. It exists once it has an event.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn event_log(&self, name: impl AsRef<str>) -> Result<EventLog> {
        EventLog::new(self.clone(), name.as_ref())
    }

    /// Every log, ascending by name.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn logs(&self) -> Call<Vec<LogInfo>> {
        self.call(|backend| async move { backend.logs().await })
    }

    /// The QueryDb of this name. It exists once it has an item, or was [defined](Self::define).
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn query_db(&self, name: impl AsRef<str>) -> Result<QueryDb> {
        QueryDb::new(self.clone(), name.as_ref())
    }

    /// Defines a QueryDb: its sub keys, indexes and TTL. Defining it again with more indexes builds them, from all of its
    /// items in one commit: other writes wait for as long as that takes, reads do not.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad definition, for another key layout than today's, and for a new index that an item
    /// violates, which is named; those of any commit.
    pub fn define(&self, name: impl AsRef<str>, spec: QueryDbSpec) -> Call<QueryDb> {
        let query_db = self.query_db(name);
        Call::new(async move {
            let query_db = query_db?;
            spec.check()?;
            let operation = QueryDbOperation::Define { query_db: query_db.name_arc(), spec };
            Write::<Define>::new(query_db.store().clone(), Ok(Operation::QueryDb(operation))).await?;
            Ok(query_db)
        })
    }

    /// Every QueryDb, ascending by name.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn query_dbs(&self) -> Call<Vec<QueryDbInfo>> {
        self.call(|backend| async move { backend.query_dbs().await })
    }

    /// The projection of this name. It is known once it has run, or has a checkpoint.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn projection(&self, name: impl AsRef<str>) -> Result<Projection> {
        Projection::new(self.clone(), name.as_ref())
    }

    /// Every projection, ascending by name.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn projections(&self) -> Call<Vec<ProjectionInfo>> {
        self.call(|backend| async move { backend.projections().await })
    }

    /// The task bucket of this name. It exists once something was put into it.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn task_bucket(&self, name: impl AsRef<str>) -> Result<TaskBucket> {
        check_name("bucket", name.as_ref())?;
        Ok(TaskBucket::new(self.clone(), name.as_ref()))
    }

    /// Every task bucket, ascending by name.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn task_buckets(&self) -> Call<Vec<TaskBucketInfo>> {
        self.call(|backend| async move { backend.task_buckets().await })
    }

    /// A batch of writes, to commit together.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new(self.clone())
    }

    /// Numbers about the store. Counts, so it takes a while on a large store.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn stats(&self) -> Call<StoreStats> {
        self.call(|backend| async move { backend.stats().await })
    }

    /// Re-checks everything stored. What is wrong is in the report.
    ///
    /// # Errors
    /// `Closed`, `Io`; `Corrupted` only if nothing can be read at all.
    pub fn verify(&self, progress: Progress) -> Call<VerifyReport> {
        self.call(|backend| async move { backend.verify(progress).await })
    }

    /// Copies the store to a new file, while reads and writes go on.
    ///
    /// # Errors
    /// `AlreadyExists` if there is such a file; `Unsupported` in memory; `Full`, `Closed`, `Io`.
    pub fn backup(&self, destination: impl Into<std::path::PathBuf>, progress: Progress) -> Call<()> {
        let destination = destination.into();
        self.call(|backend| async move { backend.backup(destination, progress).await })
    }

    /// Closes the store: subscriptions end, every later call is `Closed`. Idempotent.
    ///
    /// # Errors
    /// `Io` if the last work could not be finished; the store is closed all the same.
    pub fn close(&self) -> Call<()> {
        let store = self.clone();
        Call::new(async move {
            if !store.end_state().await {
                return Ok(());
            }
            let Some(backend) = store.inner.backend.get() else { return Ok(()) };
            backend.bus().publish_all();
            backend.close().await
        })
    }

    fn call<T: 'static, F: Future<Output = Result<T>> + Send>(
        &self,
        run: impl FnOnce(Arc<dyn Backend>) -> F + Send + 'static,
    ) -> Call<T> {
        let store = self.clone();
        Call::new(async move { run(store.backend().await?).await })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn snapshot_options(&self) -> &SnapshotOptions {
        &self.inner.snapshots
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::SeqCst)
    }

    /// What wakes at times of the store's clock.
    pub(crate) async fn timer(&self) -> Result<Timer> {
        let backend = self.backend().await?;
        Ok(self.inner.timer.get_or_init(|| Timer::new(backend.clock().clone())).clone())
    }

    /// What wakes after a while of real time, also when the store's clock stands still.
    pub(crate) fn patience(&self) -> &Timer {
        self.inner.patience.get_or_init(|| Timer::new(Arc::new(SystemClock)))
    }

    /// The backend, if the store is open already.
    pub(crate) fn opened(&self) -> Option<&Arc<dyn Backend>> {
        if self.is_closed() { None } else { self.inner.backend.get() }
    }

    /// The backend, opening it first if need be.
    pub(crate) async fn backend(&self) -> Result<Arc<dyn Backend>> {
        loop {
            if self.is_closed() {
                return Err(Error::new(ErrorKind::Closed));
            }
            if let Some(backend) = self.inner.backend.get() {
                return Ok(backend.clone());
            }
            self.open_once().await?;
        }
    }

    /// Opens, or joins whoever is opening.
    async fn open_once(&self) -> Result<()> {
        let (waiter, opened) = oneshot::channel();
        let config = match &mut *self.state() {
            State::Opening(waiters) => {
                waiters.push(waiter);
                None
            }
            State::Open | State::Closed => return Ok(()),
            state @ State::Unopened(_) => match mem::replace(state, State::Opening(vec![waiter])) {
                State::Unopened(config) => Some(config),
                _ => None,
            },
        };
        if let Some(config) = config {
            self.start_opening(config)?;
        }
        opened.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Io).during("open store")))
    }

    /// Opening does I/O and may wait for locks, so it has a thread of its own.
    fn start_opening(&self, config: Config) -> Result<()> {
        let (store, kept) = (self.clone(), config.clone());
        let opener = thread::Builder::new().name("larder-open".into()).spawn(move || {
            let opened = open_backend(&config);
            store.opening_ended(config, opened);
        });
        opener.map(drop).map_err(|error| {
            *self.state() = State::Unopened(kept);
            Error::new(ErrorKind::Io).during("open store").caused_by(error)
        })
    }

    fn opening_ended(&self, config: Config, opened: Result<Arc<dyn Backend>>) {
        let answer = opened.map(|backend| drop(self.inner.backend.set(backend)));
        let next = if answer.is_ok() { State::Open } else { State::Unopened(config) };
        let ended = mem::replace(&mut *self.state(), next);
        let State::Opening(waiters) = ended else { return };
        for waiter in waiters {
            // A caller that no longer waits has dropped its operation.
            let _ = waiter.send(answer.as_ref().copied().map_err(Error::duplicate));
        }
    }

    /// Marks the store as closed, in a moment in which nobody opens it; false if it was closed before.
    async fn end_state(&self) -> bool {
        loop {
            let opening = match &mut *self.state() {
                State::Opening(waiters) => {
                    let (waiter, opened) = oneshot::channel();
                    waiters.push(waiter);
                    opened
                }
                state => {
                    *state = State::Closed;
                    return !self.inner.closed.swap(true, Ordering::SeqCst);
                }
            };
            // Opened or not, it is over.
            let _ = opening.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_backend(config: &Config) -> Result<Arc<dyn Backend>> {
    let backend: Arc<dyn Backend> = match &config.backend {
        BackendConfig::Memory => Arc::new(MemoryBackend::new(config)),
        #[cfg(feature = "sqlite")]
        BackendConfig::Sqlite(sqlite) => {
            Arc::new(crate::backend::sqlite::SqliteBackend::open(config, sqlite)?)
        }
        #[cfg(not(feature = "sqlite"))]
        BackendConfig::Sqlite(_) => {
            return Err(Error::new(ErrorKind::Unsupported).with_hint("build with the feature `sqlite`"));
        }
    };
    tracing::info!("backend: {config}");
    Ok(backend)
}
