//! The rows of logs and streams, as they are in a snapshot or transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    place::{from_sql, to_sql},
    stream_index::StreamIndex,
};
use crate::{
    error::{Error, Result},
    event::Position,
    event_log::{LogInfo, StreamInfo},
};

/// A log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LogRow {
    pub number: i64,
    pub head: u64,
    pub merged: u64,
    pub removals: u64,
    pub trimmed: u64,
    pub compacted: u64,
    pub audits: bool,
}

impl LogRow {
    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT log, head, merged, trimmed, compacted, audits, removals FROM log WHERE name = ?1";
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
            removals: from_sql(row.get(6)?)?,
        })
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<()> {
        let sql =
            "UPDATE log SET head = ?2, merged = ?3, trimmed = ?4, compacted = ?5, audits = ?6, removals = ?7
                   WHERE log = ?1";
        connection.prepare_cached(sql)?.execute((
            self.number,
            to_sql(self.head),
            to_sql(self.merged),
            to_sql(self.trimmed),
            to_sql(self.compacted),
            self.audits,
            to_sql(self.removals),
        ))?;
        Ok(())
    }

    pub(super) fn info(&self, name: String) -> LogInfo {
        LogInfo::new(name, Position::new(self.head), Position::new(self.compacted), self.audits)
    }
}

/// Every log, by name.
pub(super) fn all_logs(connection: &Connection) -> Result<Vec<(String, LogRow)>> {
    let sql = "SELECT log, head, merged, trimmed, compacted, audits, removals, name FROM log WHERE name IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next()? {
        logs.push((row.get(7)?, LogRow::read(row)?));
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
    pub(super) fn head(&self, index: &StreamIndex<'_>) -> Result<u64> {
        Ok(self.mark.max(index.last(self.number)?.unwrap_or(0)))
    }

    /// The mark, and its position, as they will be once everything that was trimmed is swept.
    pub(super) fn effective_mark(&self, index: &StreamIndex<'_>, log: &LogRow) -> Result<(u64, u64)> {
        if log.trimmed <= self.mark_position {
            return Ok((self.mark, self.mark_position));
        }
        let mark = index.first_above(self.number, self.mark, log.trimmed)? - 1;
        let position = index.position(self.number, mark)?;
        Ok((mark, position.unwrap_or(0).max(self.mark_position)))
    }

    pub(super) fn info(&self, index: &StreamIndex<'_>, log: &LogRow, name: String) -> Result<StreamInfo> {
        let (mark, mark_position) = self.effective_mark(index, log)?;
        Ok(StreamInfo::new(name, self.head(index)?.max(mark), mark, Position::new(mark_position)))
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
    let mut streams: Vec<(String, StreamRow)> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(3)?;
        // Out of order, a page would lead back to where it began.
        let last = streams.last().map(|(last, _)| last.as_str()).or(after);
        if last.is_some_and(|last| name == last || (name.as_str() < last) != descending) {
            return Err(Error::corrupted("streams that are out of order"));
        }
        streams.push((name, StreamRow::read(row)?));
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
