//! What the writer, the readers and the handles of one open file share, and how it lives and ends.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures_channel::oneshot;

use super::{
    log_row::LogRow,
    postings::{Tail, Terms},
    queue::WriteQueue,
    reader::Pool,
    schema,
    writer::Writer,
    writer_thread,
};
use crate::{
    bus::Bus,
    clock::Clock,
    config::{Config, SqliteConfig},
    error::{Error, ErrorKind, Result},
    limits::Limits,
};

/// One open file.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: SqliteConfig,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub bus: Bus,
    pub terms: Terms,
    pub queue: WriteQueue,
    pub pool: Pool,
    /// `None` once closed. Whoever holds it commits.
    pub writer: Mutex<Option<Writer>>,
    tails: Mutex<HashMap<i64, Arc<Tail>>>,
    poisoned: AtomicBool,
    /// How many handles are open: the last one to close closes the file.
    handles: AtomicUsize,
    /// Who waits for the file to be closed; `None` once it is.
    end: Mutex<Option<Vec<oneshot::Sender<()>>>>,
}

/// The files that are open in this process: opening one again shares it.
static OPEN_FILES: Mutex<Vec<(PathBuf, Weak<Shared>)>> = Mutex::new(Vec::new());

impl Shared {
    /// Opens the file, or joins whoever has it open in this process.
    pub(super) fn open(config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Self>> {
        let mut open_files = OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner);
        open_files.retain(|(_, shared)| shared.strong_count() > 0);
        if let Some(shared) = find(&open_files, sqlite) {
            return shared.join(config, sqlite);
        }
        let shared = Self::open_file(config, sqlite)?;
        if let Ok(path) = sqlite.path.canonicalize() {
            open_files.push((path, Arc::downgrade(&shared)));
        }
        Ok(shared)
    }

    fn open_file(config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Self>> {
        let connection = schema::open_writer(sqlite)?;
        let key: Vec<u8> =
            connection.query_row("SELECT value FROM meta WHERE key = 'term_key'", [], |row| row.get(0))?;
        let key =
            <[u8; 16]>::try_from(key).map_err(|_| Error::corrupted("a term key that is not 16 bytes"))?;
        let shared = Arc::new(Self {
            config: sqlite.clone(),
            limits: config.limits.clone(),
            clock: config.clock.clone(),
            bus: Bus::new(),
            terms: Terms::new(key),
            queue: WriteQueue::default(),
            pool: Pool::new(sqlite.clone()),
            writer: Mutex::new(None),
            tails: Mutex::default(),
            poisoned: AtomicBool::new(false),
            handles: AtomicUsize::new(1),
            end: Mutex::new(Some(Vec::new())),
        });
        *shared.lock_writer() = Some(Writer::new(connection, &shared)?);
        writer_thread::start(&shared)?;
        super::watcher::start(&shared);
        Ok(shared)
    }

    fn join(self: Arc<Self>, config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Self>> {
        if sqlite.reset_on_start {
            return Err(Error::new(ErrorKind::Locked)
                .with("by", "this process")
                .hint("close it before a reset"));
        }
        if self.config.durability != sqlite.durability || self.limits != config.limits {
            let reason = "the file is open in this process with another durability or other limits";
            return Err(Error::invalid("configuration", reason));
        }
        self.handles.fetch_add(1, Ordering::SeqCst);
        Ok(self)
    }

    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tail of a log.
    pub(super) fn tail(&self, log: &LogRow) -> Arc<Tail> {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.entry(log.number).or_insert_with(|| Arc::new(Tail::starting_at(log))).clone()
    }

    /// Forgets the tail of a log that was dropped.
    pub(super) fn forget_tail(&self, log: i64) {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner).remove(&log);
    }

    /// Ends writing: a commit failed, and nobody knows what the file holds.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Gives up a handle; true if it was the last, and the file is being closed.
    pub(super) fn release(&self) -> bool {
        // Under the lock of the registry, so that nobody joins a file that is about to close.
        let _open_files = OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.handles.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.queue.stop();
        }
        last
    }

    fn is_released(&self) -> bool {
        self.handles.load(Ordering::SeqCst) == 0
    }

    /// Told by the writer's thread when the file is closed.
    pub(super) fn has_ended(&self) {
        let waiting = self.lock_end().take().unwrap_or_default();
        // Whoever has stopped waiting need not be told.
        for closing in waiting {
            let _ = closing.send(());
        }
    }

    /// Waits until the file is closed.
    pub(super) async fn end(&self) {
        let (closing, closed) = oneshot::channel();
        match &mut *self.lock_end() {
            Some(waiting) => waiting.push(closing),
            None => return,
        }
        // Also over when the writer's thread is gone.
        let _ = closed.await;
    }

    fn lock_end(&self) -> MutexGuard<'_, Option<Vec<oneshot::Sender<()>>>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open instance of a file, unless it no longer takes writes.
fn find(open_files: &[(PathBuf, Weak<Shared>)], sqlite: &SqliteConfig) -> Option<Arc<Shared>> {
    let path = sqlite.path.canonicalize().ok()?;
    open_files.iter().filter(|(open, _)| *open == path).filter_map(|(_, shared)| shared.upgrade()).find(
        |shared| {
            !shared.is_released()
                && !shared.is_poisoned()
                && shared.config.read_only == sqlite.read_only
                && shared.config.vfs == sqlite.vfs
        },
    )
}
