//! The sweep: turns hidden events into traces, and removes dropped logs, in slices between commits.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::{
    place::{from_sql, place, place_bound, position_of, to_sql},
    postings::Key,
    row::{EVENT, StoredEvent, event_columns},
    shared::Shared,
    trace,
    writer::Writer,
};
use crate::error::Result;

/// How many events a slice takes: a few milliseconds.
const SLICE: usize = 512;

/// Something that is to be swept.
struct Sweep {
    number: i64,
    log: i64,
    /// `None` if the log was dropped.
    log_name: Option<String>,
    stream: Option<i64>,
    through: u64,
    done: u64,
}

pub(super) fn is_pending(connection: &Connection) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM sweep)")?.query_row([], |row| row.get(0))?)
}

/// Asks for a sweep of a stream through a `seq_nr`, or of a log through a position.
pub(super) fn add(connection: &Connection, log: i64, stream: Option<i64>, through: u64) -> Result<()> {
    let sql = "INSERT INTO sweep (log, stream, through) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((log, stream, to_sql(through)))?;
    Ok(())
}

/// Sweeps a slice in the open transaction; false once there is nothing more.
pub(super) fn slice(writer: &mut Writer, shared: &Shared) -> Result<bool> {
    if let Some(sweep) = next(&writer.connection, None)? {
        sweep.slice(writer, shared)?;
    }
    is_pending(&writer.connection)
}

/// Sweeps everything that waits in a log, in the open transaction.
pub(super) fn all_of_log(writer: &mut Writer, shared: &Shared, log: i64) -> Result<()> {
    while let Some(sweep) = next(&writer.connection, Some(log))? {
        sweep.slice(writer, shared)?;
    }
    Ok(())
}

fn next(connection: &Connection, log: Option<i64>) -> Result<Option<Sweep>> {
    let sql = "SELECT sweep, sweep.log, log.name, stream, through, done FROM sweep
               LEFT JOIN log ON log.log = sweep.log WHERE ?1 IS NULL OR sweep.log = ?1 ORDER BY sweep LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([log], |row| {
        let numbers: (i64, i64) = (row.get(4)?, row.get(5)?);
        let sweep = Sweep {
            number: row.get(0)?,
            log: row.get(1)?,
            log_name: row.get(2)?,
            stream: row.get(3)?,
            through: 0,
            done: 0,
        };
        Ok((sweep, numbers))
    });
    let Some((sweep, (through, done))) = found.optional()? else { return Ok(None) };
    Ok(Some(Sweep { through: from_sql(through)?, done: from_sql(done)?, ..sweep }))
}

impl Sweep {
    fn slice(&self, writer: &mut Writer, shared: &Shared) -> Result<()> {
        let more = match (&self.log_name, self.stream) {
            (None, _) => self.remove_log(&writer.connection, shared)?,
            (Some(name), stream) => {
                let name: Arc<str> = name.as_str().into();
                writer.load_log(shared, &name)?;
                let (keys, more) = match stream {
                    Some(stream) => self.compact_stream(writer, &name, stream)?,
                    None => self.trim_log(&writer.connection, &name)?,
                };
                writer.log_mut(&name).forget(keys);
                more
            }
        };
        if !more {
            writer.connection.prepare_cached("DELETE FROM sweep WHERE sweep = ?1")?.execute([self.number])?;
        }
        Ok(())
    }

    /// Leaves traces of a stream's events; true if there are more.
    fn compact_stream(&self, writer: &Writer, log: &str, stream: i64) -> Result<(Vec<Key>, bool)> {
        let connection = &writer.connection;
        let entries =
            writer.with_streams(log, |index| index.range(stream, self.done + 1, self.through, SLICE))?;
        let mut statement = connection.prepare_cached(EVENT)?;
        let mut keys = Vec::with_capacity(entries.len());
        for entry in &entries {
            let mut rows = statement.query([place(self.log, entry.position)])?;
            if let Some(row) = rows.next()? {
                trace::leave(connection, log, &StoredEvent::read(row)?)?;
            }
            keys.push(trace::leave_stream(connection, stream, entry.seq_nr)?);
        }
        let more = entries.len() == SLICE;
        if let Some(last) = entries.last() {
            self.set_done(connection, last.seq_nr)?;
        }
        Ok((keys, more))
    }

    fn set_done(&self, connection: &Connection, done: u64) -> Result<()> {
        let sql = "UPDATE sweep SET done = ?2 WHERE sweep = ?1";
        connection.prepare_cached(sql)?.execute((self.number, to_sql(done)))?;
        Ok(())
    }

    /// Leaves traces of a log's events, and raises their streams' marks; true if there are more.
    fn trim_log(&self, connection: &Connection, log: &str) -> Result<(Vec<Key>, bool)> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(sql)?;
        let bounds = (place(self.log, self.done), place_bound(self.log, self.through), to_sql(SLICE as u64));
        let mut rows = statement.query(bounds)?;
        let raise = "UPDATE stream SET mark = max(mark, ?2), mark_position = max(mark_position, ?3) WHERE stream = ?1";
        let mut raise = connection.prepare_cached(raise)?;
        let (mut keys, mut count, mut done) = (Vec::new(), 0, self.done);
        while let Some(row) = rows.next()? {
            let stored = StoredEvent::read(row)?;
            done = position_of(stored.columns.place);
            count += 1;
            if stored.is_trace() {
                continue;
            }
            trace::leave(connection, log, &stored)?;
            if let Some(stream) = stored.stream {
                raise.execute((stream, stored.columns.seq_nr, to_sql(done)))?;
                keys.push(trace::leave_stream(connection, stream, from_sql(stored.columns.seq_nr)?)?);
            }
        }
        self.set_done(connection, done)?;
        Ok((keys, count == SLICE))
    }

    /// Removes what a dropped log holds; true if there is more. Its row stays, so that its number is not used again.
    fn remove_log(&self, connection: &Connection, shared: &Shared) -> Result<bool> {
        let sql =
            concat!("SELECT ", event_columns!(), " FROM event WHERE place > ?1 AND place < ?2 LIMIT ?3");
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((place(self.log, 0), place(self.log + 1, 0), to_sql(SLICE as u64)))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            trace::remove(connection, &shared.terms, self.log, &StoredEvent::read(row)?)?;
            count += 1;
        }
        if count > 0 {
            return Ok(true);
        }
        let mut removed = 0;
        for sql in [
            "DELETE FROM append_id WHERE log = ?1 AND id IN (SELECT id FROM append_id WHERE log = ?1 LIMIT ?2)",
            "DELETE FROM condition WHERE place IN
                 (SELECT place FROM condition WHERE place >= ?1 << 47 AND place < (?1 + 1) << 47 LIMIT ?2)",
            "DELETE FROM stream WHERE stream IN (SELECT stream FROM stream WHERE log = ?1 LIMIT ?2)",
        ] {
            removed += connection.prepare_cached(sql)?.execute((self.log, to_sql(SLICE as u64)))?;
        }
        Ok(removed > 0)
    }
}
