//! Reading a stream by sequence number: the table, then the tail, or backwards the other way round.

use std::sync::Arc;

use rusqlite::Rows;

use super::{
    collector::Collector,
    log_row::{LogRow, StreamRow},
    moment::Moment,
    place::{from_sql, place, to_sql},
    postings::stream_term,
    row::{EVENT, StoredEvent, event_columns},
    stream_index::{Entry, StreamIndex},
};
use crate::{
    backend::EventRead,
    error::{Error, Result},
    event::Position,
};

/// Reads a stream; `None` if the tail has moved on from this snapshot.
pub(super) fn read_stream(
    moment: &Moment<'_>,
    name: &str,
    range: (u64, u64),
    request: &EventRead,
    collector: &mut Collector<'_>,
) -> Result<Option<()>> {
    let Some(stream) = StreamRow::find(moment.connection, moment.log.number, name)? else {
        return Ok(Some(()));
    };
    let planned = moment
        .with_streams(|index| plan_stream(index, &moment.log, &stream, range, request, collector.room()))?;
    let Some(plan) = planned else { return Ok(None) };
    let name: Arc<str> = name.into();
    let mut reading = StreamReading { request, name, previous: None, plan: &plan, collector };
    if request.descending {
        if reading.read_memory(moment, stream.number)? {
            reading.read_table(moment, stream.number)?;
        }
    } else if reading.read_table(moment, stream.number)? {
        reading.read_memory(moment, stream.number)?;
    }
    Ok(Some(()))
}

/// Which part of a stream to read, and where the newest of it lie.
struct StreamPlan {
    from: u64,
    to: u64,
    /// In the order of the read, one more than it may take.
    newest: Vec<Entry>,
    /// The first and last position in the table of a stream that has most of the events between them: those are
    /// read as they lie, without a look-up for each.
    dense: Option<(u64, u64)>,
}

/// The least number of events for which it is worth finding out whether they lie together.
const DENSE_EVENTS: u64 = 64;

fn plan_stream(
    index: &StreamIndex<'_>,
    log: &LogRow,
    stream: &StreamRow,
    (from, to): (u64, u64),
    request: &EventRead,
    room: usize,
) -> Result<StreamPlan> {
    let (mut from, mut to) = (from.max(stream.mark + 1), to);
    match request.after.map(Position::get) {
        // Below a position is what is not above the one before it.
        Some(after) if request.descending => {
            to = to.min(index.first_above(stream.number, stream.mark, after.saturating_sub(1))? - 1);
        }
        Some(after) => from = from.max(index.first_above(stream.number, stream.mark, after)?),
        None => {}
    }
    if log.trimmed > stream.mark_position {
        from = from.max(index.first_above(stream.number, stream.mark, log.trimmed)?);
    }
    let newest = index.in_layers(stream.number, from, to, request.descending).take(room).collect();
    let dense = if request.descending { None } else { dense(index, log, stream.number, from, to, room)? };
    Ok(StreamPlan { from, to, newest, dense })
}

/// Where the first `room` events of a stream lie in the table, if at least every second one there is one of them.
fn dense(
    index: &StreamIndex<'_>,
    log: &LogRow,
    stream: i64,
    from: u64,
    to: u64,
    room: usize,
) -> Result<Option<(u64, u64)>> {
    let to = to.min(from.saturating_add(room as u64 - 1));
    if to.saturating_sub(from) < DENSE_EVENTS {
        return Ok(None);
    }
    let Some((last_seq_nr, last)) = index.last_in_table_through(stream, to)? else { return Ok(None) };
    let Some(first) = index.position(stream, from)? else { return Ok(None) };
    let events = (last_seq_nr + 1).saturating_sub(from);
    Ok((last <= log.merged && lie_together(events, first, last)).then_some((first, last)))
}

/// Whether these events of one stream, ascending, are worth reading as they lie.
fn lie_together(events: u64, first: u64, last: u64) -> bool {
    first <= last && events >= DENSE_EVENTS && last - first < events * 2
}

/// A read of a stream under way.
struct StreamReading<'a, 'b> {
    request: &'a EventRead,
    name: Arc<str>,
    previous: Option<u64>,
    plan: &'a StreamPlan,
    collector: &'a mut Collector<'b>,
}

impl StreamReading<'_, '_> {
    /// Takes what the table holds; false once the page is full.
    fn read_table(&mut self, moment: &Moment<'_>, stream: i64) -> Result<bool> {
        let StreamPlan { from, to, .. } = *self.plan;
        let log = &moment.log;
        if log.merged == 0 || from > to {
            return Ok(true);
        }
        if let Some((first, last)) = self.plan.dense {
            let bounds = (place(log.number, first), place(log.number, last), stream);
            return self.take_all(moment.connection.prepare_cached(DENSE)?.query(bounds)?);
        }
        let sql = if self.request.descending { TABLE_DESCENDING } else { TABLE_ASCENDING };
        let bounds =
            (stream_term(stream), to_sql(from), to_sql(to), to_sql(log.merged), place(log.number, 0));
        self.take_all(moment.connection.prepare_cached(sql)?.query(bounds)?)
    }

    fn take_all(&mut self, mut rows: Rows<'_>) -> Result<bool> {
        while let Some(row) = rows.next()? {
            if !self.take(StoredEvent::read(row)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes what the tail holds; false once the page is full.
    fn read_memory(&mut self, moment: &Moment<'_>, stream: i64) -> Result<bool> {
        if let [first, .., last] = &self.plan.newest[..]
            && lie_together(self.plan.newest.len() as u64, first.position, last.position)
        {
            let number = moment.log.number;
            let bounds = (place(number, first.position), place(number, last.position), stream);
            return self.take_all(moment.connection.prepare_cached(DENSE)?.query(bounds)?);
        }
        let mut statement = moment.connection.prepare_cached(EVENT)?;
        for entry in &self.plan.newest {
            let mut rows = statement.query([place(moment.log.number, entry.position)])?;
            let row = rows.next()?.ok_or_else(|| self.hole(entry.seq_nr))?;
            if !self.take(StoredEvent::read(row)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, stored: StoredEvent<'_>) -> Result<bool> {
        let seq_nr = from_sql(stored.columns.seq_nr)?;
        // A stream has no holes: what is missing was lost. Descending, only the head knows that it is the first.
        let expected = match self.previous {
            Some(previous) if self.request.descending => Some(previous - 1),
            Some(previous) => Some(previous + 1),
            None if self.request.descending => None,
            None => Some(self.plan.from),
        };
        // An entry of the index that was damaged can lead to an event beyond the range.
        let outside = seq_nr < self.plan.from || seq_nr > self.plan.to;
        if outside || expected.is_some_and(|expected| expected != seq_nr) {
            return Err(self.hole(seq_nr));
        }
        self.previous = Some(seq_nr);
        self.collector.take(stored, Some(self.name.clone()))
    }

    fn hole(&self, seq_nr: u64) -> Error {
        Error::corrupted("a hole in a stream")
            .with("log", &*self.request.log)
            .with("stream", &*self.name)
            .with("seq_nr", seq_nr.to_string())
    }
}

/// A stream's events through `merged`. The index leads: its join order must not be turned round.
macro_rules! table_sql {
    ($order:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM posting CROSS JOIN event ON place = ?5 + value
             WHERE term = ?1 AND key BETWEEN ?2 AND ?3 AND value <= ?4 ORDER BY key",
            $order
        )
    };
}
/// A stream's events that lie together. The number must not lead: there is no index for it.
const DENSE: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM event WHERE place BETWEEN ?1 AND ?2 AND stream = ?3 ORDER BY place"
);
const TABLE_ASCENDING: &str = table_sql!("");
const TABLE_DESCENDING: &str = table_sql!(" DESC");
