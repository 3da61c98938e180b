//! What the writer, the readers and the handles of one open file share, and how it lives and ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures_channel::oneshot;

use super::{
    log_row::LogRow,
    postings::{Tail, Terms},
    query_db::{Feeds, Tables},
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
    /// The tables of QueryDbs, as readers remember them.
    pub query_dbs: Tables,
    /// The newest changes of QueryDbs.
    pub feeds: Feeds,
    tails: Mutex<HashMap<i64, Arc<Tail>>>,
    poisoned: AtomicBool,
    /// How many handles are open: the last one to close closes the file.
    handles: AtomicUsize,
    /// Who waits for the file to be closed; `None` once it is.
    end: Mutex<Option<Vec<oneshot::Sender<()>>>>,
}

impl Shared {
    /// Opens the file.
    pub(super) fn open(config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Self>> {
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
            query_dbs: Tables::default(),
            feeds: Feeds::default(),
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

    /// Takes another handle on this instance, if it serves whoever opens the file like that.
    pub(super) fn try_share(&self, sqlite: &SqliteConfig) -> bool {
        let same = self.config.read_only == sqlite.read_only && self.config.vfs == sqlite.vfs;
        let count = |handles: usize| if handles == 0 { None } else { Some(handles + 1) };
        // With its last handle gone it is about to close, whatever comes.
        same && !self.is_poisoned()
            && self.handles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok()
    }

    /// This instance for whoever has just taken a handle on it, or why not.
    pub(super) fn shared_as(self: Arc<Self>, config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Self>> {
        let refused = if sqlite.reset_on_start {
            Error::new(ErrorKind::Locked).with("by", "this process").with_hint("close it before a reset")
        } else if self.config.durability != sqlite.durability || self.limits != config.limits {
            let reason = "the file is open in this process with another durability or other limits";
            Error::invalid("configuration", reason)
        } else {
            return Ok(self);
        };
        self.release();
        Err(refused)
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

    /// Refuses to write once a commit has failed.
    pub(super) fn check_sound(&self) -> Result<()> {
        if self.is_poisoned() {
            return Err(Error::new(ErrorKind::Poisoned).with_hint("open the store again"));
        }
        Ok(())
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// Gives up a handle; true if it was the last, and the file is being closed.
    pub(super) fn release(&self) -> bool {
        let last = self.handles.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            self.queue.stop();
        }
        last
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
