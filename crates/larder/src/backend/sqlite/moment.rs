//! A log in a snapshot, with its tail in memory brought to the same moment.

use rusqlite::Connection;

use super::{
    log_row::LogRow,
    postings::{Postings, Tail, TailState},
    shared::Shared,
    stream_index::StreamIndex,
};
use crate::error::Result;

/// A log in a snapshot.
pub(super) struct Moment<'a> {
    pub connection: &'a Connection,
    pub shared: &'a Shared,
    pub log: LogRow,
}

/// Runs a read in a snapshot, and again in a newer one as long as it answers `None`: then the tail in memory has
/// moved on from the snapshot. There is no moment in a log that does not exist.
pub(super) fn in_snapshot<T>(
    shared: &Shared,
    log: &str,
    mut run: impl FnMut(Option<&Moment<'_>>) -> Result<Option<T>>,
) -> Result<T> {
    loop {
        let answer = shared.pool.snapshot(|connection| {
            let found = LogRow::find(connection, log)?;
            run(found.map(|log| Moment { connection, shared, log }).as_ref())
        })?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

impl Moment<'_> {
    /// Looks at the log's tail, with what other processes have appended by this snapshot; `None` if it has moved on.
    pub(super) fn with_tail<T>(&self, look: impl FnOnce(&[&Postings]) -> Result<T>) -> Result<Option<T>> {
        let Moment { connection, shared, log } = self;
        let tail = shared.tail(log);
        self.shed(&tail);
        if tail.read().through() < log.head {
            let mut behind = tail.write();
            if behind.base() <= log.merged {
                behind.catch_up(connection, &shared.terms, log.number, log.head)?;
            }
        }
        let state = tail.read();
        // What was removed since, this snapshot may still show: without its postings it would have holes.
        if state.base() > log.merged || state.removals() > log.removals {
            return Ok(None);
        }
        look(&state.layers()).map(Some)
    }

    /// Has a tail start again that another process's merges have left behind, once it has grown: in a process that
    /// only reads, nobody else would.
    fn shed(&self, tail: &Tail) {
        let Moment { shared, log, .. } = self;
        let grown = |state: &TailState| state.base() < log.merged && state.len() > 2 * shared.config.merge_at;
        if !grown(&tail.read()) {
            return;
        }
        // With the writer at rest, only another process can have merged; the writer will look before it appends.
        if let Ok(_writer) = shared.writer.try_lock() {
            let mut state = tail.write();
            if grown(&state) {
                state.restart(log);
            }
        }
    }

    /// Looks at the log's streams.
    pub(super) fn with_streams<T>(
        &self,
        look: impl FnOnce(&StreamIndex<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.with_tail(|layers| look(&StreamIndex::new(self.connection, &self.log, layers)))
    }
}
