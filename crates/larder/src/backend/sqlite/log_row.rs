//! The rows of logs and streams, as they are in a snapshot or transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use super::place::{from_sql, place_bound, position_of, to_sql};
use crate::{
    error::Result,
    event::Position,
    event_log::{LogInfo, StreamInfo},
};

/// A log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogRow {
    pub number: i64,
    pub head: u64,
    pub merged: u64,
    pub trimmed: u64,
    pub compacted: u64,
    pub audits: bool,
}

impl LogRow {
    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT log, head, merged, trimmed, compacted, audits FROM log WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(Self::read).transpose()
    }

    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            head: from_sql(row.get(1)?)?,
            merged: from_sql(row.get(2)?)?,
            trimmed: from_sql(row.get(3)?)?,
            compacted: from_sql(row.get(4)?)?,
            audits: row.get(5)?,
        })
    }

    pub(super) fn info(&self, name: String) -> LogInfo {
        LogInfo::new(name, Position::new(self.head), Position::new(self.compacted), self.audits)
    }
}

/// Every log, by name.
pub(super) fn all_logs(connection: &Connection) -> Result<Vec<(String, LogRow)>> {
    let sql = "SELECT log, head, merged, trimmed, compacted, audits, name FROM log WHERE name IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next()? {
        logs.push((row.get(6)?, LogRow::read(row)?));
    }
    Ok(logs)
}

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamRow {
    pub number: i64,
    pub mark: u64,
    pub mark_position: u64,
}

impl StreamRow {
    pub(super) fn find(connection: &Connection, log: i64, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT stream, mark, mark_position FROM stream WHERE log = ?1 AND name = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((log, name))?;
        rows.next()?.map(Self::read).transpose()
    }

    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { number: row.get(0)?, mark: from_sql(row.get(1)?)?, mark_position: from_sql(row.get(2)?)? })
    }

    /// The highest `seq_nr` the stream ever had.
    pub(super) fn head(&self, connection: &Connection) -> Result<u64> {
        let sql = "SELECT max(seq_nr) FROM event WHERE stream = ?1";
        let highest: Option<i64> =
            connection.prepare_cached(sql)?.query_row([self.number], |row| row.get(0))?;
        Ok(self.mark.max(highest.map(from_sql).transpose()?.unwrap_or(0)))
    }

    /// The mark, and its position, as they will be once everything that was trimmed is swept.
    pub(super) fn effective_mark(&self, connection: &Connection, log: &LogRow) -> Result<(u64, u64)> {
        if log.trimmed <= self.mark_position {
            return Ok((self.mark, self.mark_position));
        }
        // Ascending: what is trimmed and not yet swept comes first, and is little.
        let sql = "SELECT seq_nr, place FROM event WHERE stream = ?1 AND seq_nr > ?2 ORDER BY seq_nr";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((self.number, to_sql(self.mark)))?;
        let bound = place_bound(log.number, log.trimmed);
        let mut mark = (self.mark, self.mark_position);
        while let Some(row) = rows.next()? {
            let place = row.get(1)?;
            if place > bound {
                break;
            }
            mark = (from_sql(row.get(0)?)?, position_of(place));
        }
        Ok(mark)
    }

    pub(super) fn info(&self, connection: &Connection, log: &LogRow, name: String) -> Result<StreamInfo> {
        let (mark, mark_position) = self.effective_mark(connection, log)?;
        Ok(StreamInfo::new(name, self.head(connection)?.max(mark), mark, Position::new(mark_position)))
    }
}

/// A page of a log's streams, and whether there are more.
pub(super) fn streams(
    connection: &Connection,
    log: i64,
    after: Option<&str>,
    descending: bool,
    limit: usize,
) -> Result<Vec<(String, StreamRow)>> {
    let sql = match (descending, after) {
        (false, _) => {
            "SELECT stream, mark, mark_position, name FROM stream WHERE log = ?1 AND name > ?2 ORDER BY name LIMIT ?3"
        }
        (true, Some(_)) => {
            "SELECT stream, mark, mark_position, name FROM stream WHERE log = ?1 AND name < ?2 ORDER BY name DESC LIMIT ?3"
        }
        (true, None) => {
            "SELECT stream, mark, mark_position, name FROM stream WHERE log = ?1 AND name > ?2 ORDER BY name DESC LIMIT ?3"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((log, after.unwrap_or_default(), to_sql(limit as u64)))?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        streams.push((row.get(3)?, StreamRow::read(row)?));
    }
    Ok(streams)
}

/// The name and mark of a stream, by number.
pub(super) fn stream_name(connection: &Connection, stream: i64) -> Result<Option<(String, u64)>> {
    let sql = "SELECT name, mark FROM stream WHERE stream = ?1";
    let found = connection
        .prepare_cached(sql)?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(name, mark)| Ok((name, from_sql(mark)?))).transpose()
}
