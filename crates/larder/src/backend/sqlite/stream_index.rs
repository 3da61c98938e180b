//! A stream's events by sequence number, from the postings: table and memory, in one order.

use rusqlite::Connection;

use super::{
    log_row::LogRow,
    place::{from_sql, to_sql},
    postings::{Postings, stream_term},
};
use crate::error::Result;

/// The postings of streams, as one moment sees them: the table up to the position `merged`, and the layers in
/// memory from there to `head`. They may reach further: the writer is ahead of what is committed.
pub(super) struct StreamIndex<'a> {
    connection: &'a Connection,
    merged: u64,
    head: u64,
    layers: &'a [&'a Postings],
}

/// An event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub seq_nr: u64,
    pub position: u64,
}

impl<'a> StreamIndex<'a> {
    pub(super) fn new(connection: &'a Connection, log: &LogRow, layers: &'a [&'a Postings]) -> Self {
        Self { connection, merged: log.merged, head: log.head, layers }
    }

    /// The highest `seq_nr` that the index holds.
    pub(super) fn last(&self, stream: i64) -> Result<Option<u64>> {
        let in_memory = self.in_layers(stream, 0, u64::MAX, true).next();
        match in_memory {
            Some(last) => Ok(Some(last.seq_nr)),
            None => last_in_table(self.connection, stream),
        }
    }

    /// Where the event with a `seq_nr` lies.
    pub(super) fn position(&self, stream: i64, seq_nr: u64) -> Result<Option<u64>> {
        let key = (stream_term(stream), seq_nr);
        if let Some(entry) = self.in_layers(stream, seq_nr, seq_nr, false).next() {
            return Ok(Some(entry.position));
        }
        let sql = "SELECT value FROM posting WHERE term = ?1 AND key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((key.0, to_sql(seq_nr)))?;
        rows.next()?.map(|row| from_sql(row.get(0)?)).transpose()
    }

    /// The last event of a stream in the table through a `seq_nr`, with its position.
    pub(super) fn last_in_table_through(&self, stream: i64, seq_nr: u64) -> Result<Option<(u64, u64)>> {
        let sql = "SELECT key, value FROM posting WHERE term = ?1 AND key <= ?2 ORDER BY key DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((stream_term(stream), to_sql(seq_nr)))?;
        rows.next()?.map(|row| Ok((from_sql(row.get(0)?)?, from_sql(row.get(1)?)?))).transpose()
    }

    /// The first `seq_nr` above `mark` whose event lies above a position.
    ///
    /// Sequence numbers and positions rise together, so this is a binary search.
    pub(super) fn first_above(&self, stream: i64, mark: u64, position: u64) -> Result<u64> {
        let (mut low, mut high) = (mark + 1, self.last(stream)?.unwrap_or(0).max(mark) + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // What is missing was swept: it lies below.
            let is_above = self.position(stream, middle)?.is_some_and(|found| found > position);
            if is_above { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    /// The events of a stream in `from..=to`, ascending, the first `limit`.
    pub(super) fn range(&self, stream: i64, from: u64, to: u64, limit: usize) -> Result<Vec<Entry>> {
        let sql = "SELECT key, value FROM posting
                   WHERE term = ?1 AND key BETWEEN ?2 AND ?3 AND value <= ?4 ORDER BY key LIMIT ?5";
        let mut statement = self.connection.prepare_cached(sql)?;
        let numbers =
            (stream_term(stream), to_sql(from), to_sql(to), to_sql(self.merged), to_sql(limit as u64));
        let mut rows = statement.query(numbers)?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(Entry { seq_nr: from_sql(row.get(0)?)?, position: from_sql(row.get(1)?)? });
        }
        let left = limit - entries.len();
        entries.extend(self.in_layers(stream, from, to, false).take(left));
        Ok(entries)
    }

    /// Those of them that are in memory.
    pub(super) fn in_layers(
        &self,
        stream: i64,
        from: u64,
        to: u64,
        descending: bool,
    ) -> impl Iterator<Item = Entry> + '_ {
        let term = stream_term(stream);
        let range = (term, from.min(to))..=(term, to);
        let empty = from > to;
        let all = self.layers.iter().flat_map(move |layer| layer.range(range.clone()));
        let entries = all
            .filter(move |(_, position)| !empty && **position > self.merged && **position <= self.head)
            .map(|(&(_, seq_nr), &position)| Entry { seq_nr, position });
        let (up, down) = if descending { (None, Some(entries.rev())) } else { (Some(entries), None) };
        up.into_iter().flatten().chain(down.into_iter().flatten())
    }
}

/// The highest `seq_nr` of a stream in the table.
pub(super) fn last_in_table(connection: &Connection, stream: i64) -> Result<Option<u64>> {
    let sql = "SELECT max(key) FROM posting WHERE term = ?1";
    let last: Option<i64> =
        connection.prepare_cached(sql)?.query_row([stream_term(stream)], |row| row.get(0))?;
    last.map(from_sql).transpose()
}
