//! What a client is made of.

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use larder_runtime::micros_since_epoch;

use crate::{
    commit::{Group, Queue},
    error::{Error, ErrorKind, Result},
    io::{DiskFile, DiskLock},
    options::ClientOptions,
    store::{MOST_BYTES, Store},
    sync::{entry::Stamp, hlc::HybridClock},
    wal::{recovery::Recovery, writer::Writer},
    watch::Watchers,
};

/// The parts of a client, and what guards them.
///
/// Locks are taken in the order `stage`, `sync`, `store`, and a commit takes each before it lets go of the one before:
/// so commits pass through the stages in the order in which they were stamped.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: ClientOptions,
    /// Writes that wait for a commit.
    pub(crate) queue: Mutex<Queue>,
    /// Tells the crew that there is a group to commit.
    pub(crate) summons: Condvar,
    /// Tells it that there is a group to answer.
    pub(crate) answered: Condvar,
    /// Tells a group that waits for company that nobody is missing any more.
    pub(crate) returned: Condvar,
    /// Stamping, encoding, writing.
    pub(crate) stage: Mutex<Stage>,
    /// Syncing.
    pub(crate) sync: Mutex<SyncStage>,
    /// What is done.
    pub(crate) store: RwLock<Store>,
    pub(crate) watchers: Watchers,
    pub(crate) gauges: Gauges,
    pub(crate) recovery: Recovery,
    /// Held while the file is being compacted.
    pub(crate) compacting: Mutex<()>,
    /// Tells writers who outran a compaction in the background that it is done.
    pub(crate) background: (Mutex<()>, Condvar),
    /// Tells the thread that flushes that the client is closed.
    pub(crate) stopping: (Mutex<bool>, Condvar),
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held while the client is open.
    pub(crate) file_lock: Mutex<Option<Box<dyn DiskLock>>>,
    pub(crate) closed: AtomicBool,
    /// What came of closing; held while that goes on.
    pub(crate) answer_of_close: Mutex<Option<Result<()>>>,
    failure: Failure,
}

/// What stamps and writes.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) clock: HybridClock,
    /// The sequence number of the latest own write.
    pub(crate) last_seq: u64,
    /// None in memory-only mode, and once closed.
    pub(crate) wal: Option<Writer>,
    /// What is written, or refused, and waits for its sync.
    pub(crate) group: Group,
    /// Room for the stamps of a write, to be used again.
    pub(crate) stamps: Vec<Stamp>,
}

/// What syncs.
#[derive(Debug)]
pub(crate) struct SyncStage {
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    pub(crate) durable: Arc<AtomicU64>,
}

/// Numbers that are read without a lock.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// How much of the file is written.
    pub(crate) file_bytes: AtomicU64,
    /// How much of it is needed.
    pub(crate) live_bytes: AtomicU64,
    /// What entries in memory take, and may take at most; a test lowers that.
    pub(crate) held_bytes: AtomicU64,
    pub(crate) most_bytes: AtomicU64,
    /// How much has to be written before a compaction is tried again after one that has failed.
    pub(crate) retry_bytes: AtomicU64,
    pub(crate) generation: AtomicU64,
    /// Whether a compaction in the background was begun and is not done; set under `Core::background`.
    pub(crate) compacts: AtomicBool,
}

/// The first write that failed.
#[derive(Debug, Default)]
struct Failure {
    happened: AtomicBool,
    what: Mutex<Option<String>>,
}

impl Core {
    pub(crate) fn new(options: ClientOptions, parts: Parts) -> Self {
        let durable = parts.wal.as_ref().map(|wal| wal.durable.clone()).unwrap_or_default();
        let sync = SyncStage { file: parts.wal.as_ref().map(|wal| wal.file.clone()), durable };
        let gauges = Gauges::default();
        gauges.live_bytes.store(parts.store.record_bytes(), Ordering::Relaxed);
        gauges.held_bytes.store(parts.store.held_bytes(), Ordering::Relaxed);
        gauges.most_bytes.store(MOST_BYTES, Ordering::Relaxed);
        if let Some(wal) = &parts.wal {
            gauges.file_bytes.store(wal.end(), Ordering::Relaxed);
            gauges.generation.store(wal.header.generation, Ordering::Relaxed);
        }
        Self {
            options,
            queue: Mutex::default(),
            summons: Condvar::new(),
            answered: Condvar::new(),
            returned: Condvar::new(),
            stage: Mutex::new(Stage {
                clock: parts.clock,
                last_seq: parts.last_seq,
                wal: parts.wal,
                group: Group::default(),
                stamps: Vec::new(),
            }),
            sync: Mutex::new(sync),
            store: RwLock::new(parts.store),
            watchers: Watchers::default(),
            gauges,
            recovery: parts.recovery,
            compacting: Mutex::default(),
            background: (Mutex::default(), Condvar::new()),
            stopping: (Mutex::new(false), Condvar::new()),
            threads: Mutex::default(),
            file_lock: Mutex::new(parts.file_lock),
            closed: AtomicBool::new(false),
            answer_of_close: Mutex::default(),
            failure: Failure::default(),
        }
    }

    pub(crate) fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn store_mut(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        let closed = self.closed.load(Ordering::Acquire);
        if closed { Err(Error::new(ErrorKind::Closed)) } else { Ok(()) }
    }

    pub(crate) fn open_store(&self) -> Result<RwLockReadGuard<'_, Store>> {
        self.check_open().map(|()| self.store())
    }

    pub(crate) fn now_millis(&self) -> u64 {
        micros_since_epoch(self.options.clock.now()) / 1_000
    }

    /// Whether every write has to be synced before it is answered.
    pub(crate) fn is_durable(&self) -> bool {
        self.options.enable_wal && self.options.auto_flush
    }

    /// Writes no more from now on: what the file holds is no longer known.
    pub(crate) fn poison(&self, what: impl Into<String>) {
        lock(&self.failure.what).get_or_insert_with(|| what.into());
        self.failure.happened.store(true, Ordering::Release);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.failure.happened.load(Ordering::Acquire)
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure.what).clone()
    }

    /// The answer to a write that was not begun because an earlier one has failed.
    pub(crate) fn poisoned(&self) -> Error {
        self.blame(ErrorKind::Poisoned)
    }

    /// The answer to a write that was begun and may or may not be on disk.
    pub(crate) fn commit_unknown(&self) -> Error {
        self.blame(ErrorKind::CommitUnknown)
    }

    fn blame(&self, kind: ErrorKind) -> Error {
        let error = Error::new(kind).with_hint("close this client and open the file again");
        match self.failure() {
            Some(what) => error.caused_by(what),
            None => error,
        }
    }
}

/// What a client starts with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) clock: HybridClock,
    pub(crate) last_seq: u64,
    pub(crate) wal: Option<Writer>,
    pub(crate) recovery: Recovery,
    pub(crate) file_lock: Option<Box<dyn DiskLock>>,
}

/// Locks, also after a panic: what is guarded here is never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file beside the wal, by its ending.
pub(crate) fn beside(options: &ClientOptions, ending: &str) -> PathBuf {
    let mut name = options.wal_path.clone().into_os_string();
    name.push(ending);
    name.into()
}
