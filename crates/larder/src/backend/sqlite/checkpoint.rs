//! When the write-ahead log is copied into the file, so that it can be used again.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use rusqlite::{Connection, hooks::Wal};

use crate::error::Result;

/// The write-ahead log grows to this many pages of 4 KiB, is copied into the file, and is used again.
const CHECKPOINT_PAGES: i32 = 8_192;
/// With small commits it is used again at this many: a sync that also grows the file takes about twice as long, and
/// a lone writer would pay that for thousands of commits.
const CHECKPOINT_PAGES_OF_SMALL_COMMITS: i32 = 1_024;
/// The most pages, on average, of commits that count as small.
const SMALL_COMMIT_PAGES: i32 = 4;

/// Watches how large the write-ahead log is, on the connection that writes it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// Its size after the last commit, in pages.
    wal_pages: Arc<AtomicI32>,
    /// The size at which it is copied next, if a reader kept it from being used again.
    not_before: i32,
    /// How many groups were committed since it was used from its start.
    groups: i32,
}

impl Checkpointer {
    pub(super) fn new(connection: &mut Connection) -> Result<Self> {
        let wal_pages = Arc::new(AtomicI32::new(0));
        let pages = wal_pages.clone();
        connection.wal_hook(Some(move |_: &mut Wal, count: i32| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { wal_pages, not_before: 0, groups: 0 })
    }

    /// Copies the write-ahead log into the file after a group, once it has grown to its size.
    pub(super) fn run_if_due(&mut self, connection: &Connection) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        self.groups = self.groups.saturating_add(1);
        if pages < self.not_before.min(CHECKPOINT_PAGES_OF_SMALL_COMMITS) {
            // It is used from its start again.
            self.not_before = 0;
        }
        let small = pages / self.groups < SMALL_COMMIT_PAGES;
        let size = if small { CHECKPOINT_PAGES_OF_SMALL_COMMITS } else { CHECKPOINT_PAGES };
        if pages < size.max(self.not_before) {
            return;
        }
        // A reader in an old snapshot keeps it from being used again: look again when it has grown as much more.
        self.not_before = pages + size / 2;
        let checkpoint = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)");
        let done = checkpoint.and_then(|mut statement| {
            let numbers = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, i32>(0)?, row.get::<_, i32>(1)?, row.get::<_, i32>(2)?))
            };
            statement.query_row([], numbers)
        });
        match done {
            Ok((0, log, copied)) if log == copied => {
                self.wal_pages.store(0, Ordering::Relaxed);
                (self.not_before, self.groups) = (0, 0);
            }
            Ok((busy, log, copied)) => tracing::debug!(busy, log, copied, "checkpoint is not complete"),
            // The log still holds everything: nothing is lost, and the next commit meets the same disk.
            Err(error) => tracing::warn!(%error, "checkpoint failed"),
        }
    }
}
