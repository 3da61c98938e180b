//! What the writer remembers of logs, ahead of the file while a transaction runs.

use std::sync::Arc;

use super::{
    append::Undo,
    log_row::LogRow,
    place::{MAX_LOG, to_sql},
    postings::{Key, Merge, Tail},
    shared::Shared,
    stream_index::StreamIndex,
    streams::StreamCache,
    writer::{Failure, Writer, Written},
};
use crate::error::{Error, Result};

/// What the writer knows of a log, ahead of the file while a transaction runs.
#[derive(Debug)]
pub(super) struct WriterLog {
    pub row: LogRow,
    pub tail: Arc<Tail>,
    pub merge: Merge,
    /// The head in the file, without the running transaction.
    pub committed_head: u64,
    /// How many postings the running transaction has added.
    pub added: usize,
    /// Postings that go once the running transaction is committed.
    pub forgotten: Vec<Key>,
    pub streams: StreamCache,
    /// The running transaction has changed its row.
    pub dirty: bool,
}

impl WriterLog {
    /// Takes postings out of memory, with the running transaction.
    pub(super) fn forget(&mut self, keys: Vec<Key>) {
        self.forgotten.extend(keys);
        self.dirty = true;
    }

    pub(super) fn new(row: LogRow, tail: Arc<Tail>) -> Self {
        Self {
            row,
            tail,
            merge: Merge::default(),
            committed_head: row.head,
            added: 0,
            forgotten: Vec::new(),
            streams: StreamCache::default(),
            dirty: false,
        }
    }
}

impl Writer {
    /// Looks at the streams of a loaded log, as the running transaction sees them.
    pub(super) fn with_streams<T>(
        &self,
        log: &str,
        look: impl FnOnce(&StreamIndex<'_>) -> Result<T>,
    ) -> Result<T> {
        let known = &self.logs[log];
        let tail = known.tail.read();
        look(&StreamIndex::new(&self.connection, &known.row, &tail.layers()))
    }

    /// A log that is known to be loaded.
    pub(super) fn log_mut(&mut self, name: &str) -> &mut WriterLog {
        self.logs.get_mut(name).expect("it was loaded for this operation")
    }

    /// Loads a log, if it exists.
    pub(super) fn load_log(&mut self, shared: &Shared, name: &Arc<str>) -> Result<Option<&mut WriterLog>> {
        if !self.logs.contains_key(name) {
            let Some(row) = LogRow::find(&self.connection, name)? else { return Ok(None) };
            let tail = shared.tail(&row);
            {
                let mut state = tail.write();
                if !state.follows(&row) {
                    state.restart(&row);
                }
                state.catch_up(&self.connection, &shared.terms, row.number, row.head)?;
            }
            self.logs.insert(name.clone(), WriterLog::new(row, tail));
        }
        Ok(self.logs.get_mut(name))
    }

    /// Loads a log, creating it if there is none.
    pub(super) fn log_or_new(&mut self, shared: &Shared, name: &Arc<str>) -> Result<&mut WriterLog, Failure> {
        if self.load_log(shared, name)?.is_none() {
            let next = self.next_log_number()?;
            self.create_log(name, next, 0).written()?;
            self.load_log(shared, name)?;
            if let Some(undo) = &mut self.undo {
                undo.push(Undo::Log { log: name.clone(), number: next });
            }
        }
        Ok(self.log_mut(name))
    }

    /// The number of the next log to create; numbers of dropped logs are taken until they are swept.
    pub(super) fn next_log_number(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(log), 0) + 1 FROM log";
        let next: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        if next > MAX_LOG {
            return Err(Error::too_large("logs", MAX_LOG.cast_unsigned(), next.cast_unsigned()));
        }
        Ok(next)
    }

    pub(super) fn create_log(&mut self, name: &str, number: i64, head: u64) -> rusqlite::Result<()> {
        self.created.push(number);
        let sql = "INSERT INTO log (log, name, head, merged) VALUES (?1, ?2, ?3, ?3)";
        self.connection.prepare_cached(sql)?.execute((number, name, to_sql(head))).map(drop)
    }
}
