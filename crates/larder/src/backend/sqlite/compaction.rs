//! Compaction, marks, trimming, forgetting and dropping, inside the writer's transaction.
//!
//! Hiding is a mark, at once; deleting is left to the sweep.

use std::sync::Arc;

use super::{
    event_log::last_event_through,
    log_row::StreamRow,
    place::{place, place_bound, to_sql},
    postings::Key,
    row::{StoredEvent, event_columns},
    shared::Shared,
    sweep, trace,
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::Outcome,
    error::{Error, Result},
    event::Position,
    event_log::{Compacted, Trimmed},
};

impl Writer {
    pub(super) fn compact(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        stream: &str,
        through: u64,
    ) -> Result<Outcome, Failure> {
        let Some(row) = self.load_log(shared, log)?.map(|log| log.row) else { return Ok(compacted(0)) };
        let Some(found) = StreamRow::find(&self.connection, row.number, stream)? else {
            return Ok(compacted(0));
        };
        let (mark, head, last) = self.with_streams(log, |index| {
            let (mark, _) = found.effective_mark(index, &row)?;
            let head = found.head(index)?;
            Ok((mark, head, index.position(found.number, through.min(head))?))
        })?;
        let through = through.min(head);
        if through <= mark {
            return Ok(compacted(mark));
        }
        let last = last.ok_or_else(|| Error::corrupted("a hole in a stream").with("stream", stream))?;
        if !self.forced {
            self.check_projections(log, last)?;
        }
        self.raise(found.number, through, last).written()?;
        sweep::add(&self.connection, row.number, Some(found.number), through).written()?;
        self.start_sweeping();
        let known = self.log_mut(log);
        known.streams.forget(stream);
        known.row.compacted = row.compacted.max(last);
        known.dirty = true;
        Ok(compacted(through))
    }

    fn raise(&self, stream: i64, mark: u64, mark_position: u64) -> rusqlite::Result<()> {
        let sql = "UPDATE stream SET mark = ?2, mark_position = max(mark_position, ?3) WHERE stream = ?1";
        self.connection.prepare_cached(sql)?.execute((stream, to_sql(mark), to_sql(mark_position))).map(drop)
    }

    pub(super) fn raise_mark(
        &mut self,
        shared: &Shared,
        log_name: &Arc<str>,
        stream: &str,
        through: u64,
    ) -> Result<Outcome, Failure> {
        let known = self.load_log(shared, log_name)?.map(|log| log.row);
        let found =
            known.map(|log| StreamRow::find(&self.connection, log.number, stream)).transpose()?.flatten();
        if let (Some(log), Some(found)) = (known, found) {
            let ((mark, mark_position), head) = self.with_streams(log_name, |index| {
                Ok((found.effective_mark(index, &log)?, found.head(index)?))
            })?;
            if head > mark {
                return Err(Error::invalid(
                    "stream",
                    "it has live events; only an empty one's mark can be raised",
                )
                .into());
            }
            if through <= mark {
                return Ok(compacted(mark));
            }
            self.raise(found.number, through, mark_position).written()?;
        } else if through > 0 {
            let number = self.log_or_new(shared, log_name)?.row.number;
            let sql = "INSERT INTO stream (log, name, mark) VALUES (?1, ?2, ?3)";
            self.connection
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute((number, stream, to_sql(through))))
                .written()?;
        } else {
            return Ok(compacted(0));
        }
        let known = self.log_mut(log_name);
        known.streams.forget(stream);
        known.dirty = true;
        Ok(compacted(through))
    }

    pub(super) fn trim(&mut self, shared: &Shared, log: &Arc<str>, through: u64) -> Result<Outcome, Failure> {
        let Some(row) = self.load_log(shared, log)?.map(|log| log.row) else { return Ok(trimmed(0)) };
        let through = through.min(row.head);
        if !self.forced {
            self.check_projections(log, through)?;
        }
        if through <= row.trimmed {
            return Ok(trimmed(row.trimmed));
        }
        let last = last_event_through(&self.connection, row.number, through)?.unwrap_or(0);
        sweep::add(&self.connection, row.number, None, through).written()?;
        self.start_sweeping();
        let known = self.log_mut(log);
        known.row.trimmed = through;
        known.row.compacted = row.compacted.max(last);
        known.dirty = true;
        Ok(trimmed(through))
    }

    /// Removes traces. What waits to be swept becomes a trace first.
    pub(super) fn forget(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        through: u64,
    ) -> Result<Outcome, Failure> {
        let Some(number) = self.load_log(shared, log)?.map(|log| log.row.number) else {
            return Ok(Outcome::Done);
        };
        sweep::all_of_log(self, shared, number).written()?;
        let keys = self.remove_traces(shared, number, through).written()?;
        self.log_mut(log).forget(keys);
        Ok(Outcome::Done)
    }

    fn remove_traces(&self, shared: &Shared, log: i64, through: u64) -> Result<Vec<Key>> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE place > ?1 AND place <= ?2 AND payload IS NULL"
        );
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((place(log, 0), place_bound(log, through)))?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.extend(trace::remove(&self.connection, &shared.terms, log, &StoredEvent::read(row)?)?);
        }
        Ok(keys)
    }

    /// The log loses its name, and a new one takes over name and head: everything of the old one is out of reach
    /// at once.
    pub(super) fn drop_log(&mut self, shared: &Shared, log: &Arc<str>) -> Result<Outcome, Failure> {
        let row = self.load_log(shared, log)?.map(|log| log.row);
        if let Some(row) = row.filter(|_| !self.forced) {
            self.check_projections(log, row.head)?;
        }
        self.drop_snapshots(log).written()?;
        let Some(row) = row else { return Ok(Outcome::Done) };
        let next = self.next_log_number()?;
        self.connection.execute("UPDATE log SET name = NULL WHERE log = ?1", [row.number]).written()?;
        self.create_log(log, next, row.head).written()?;
        // All of it counts as hidden, so that who follows the log from below is told.
        let hide = "UPDATE log SET trimmed = head, compacted = head WHERE log = ?1";
        self.connection.execute(hide, [next]).written()?;
        sweep::add(&self.connection, row.number, None, row.head).written()?;
        self.start_sweeping();
        self.logs.remove(log);
        shared.forget_tail(row.number);
        Ok(Outcome::Done)
    }
}

fn compacted(through: u64) -> Outcome {
    Outcome::Compacted(Compacted::new(through))
}

fn trimmed(through: u64) -> Outcome {
    Outcome::Trimmed(Trimmed::new(Position::new(through)))
}
