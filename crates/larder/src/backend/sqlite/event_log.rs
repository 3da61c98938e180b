//! Reading events and streams.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, Rows};

use super::{
    candidates::{Span, View},
    log_row::{self, LogRow, StreamRow},
    place::{from_sql, place, place_bound, position_of, to_sql},
    postings::{Postings, stream_term},
    row::{StoredEvent, event_columns, split_tags},
    shared::Shared,
    stream_index::{Entry, StreamIndex},
};
use crate::{
    backend::{EventRead, EventSource, StreamsRead},
    error::{Error, Result},
    event::{Event, Position},
    event_log::StreamInfo,
    page::Page,
    query::{Query, QueryItem},
};

/// Reads a page of events in one snapshot.
pub(super) fn read_events(shared: &Shared, request: &EventRead) -> Result<Page<Event>> {
    in_snapshot(shared, &request.log, |moment| {
        let Some(moment) = moment else { return Ok(Some(Page::new(Vec::new(), None, Position::START))) };
        let mut collector = Collector::new(shared, request);
        let complete = match &request.source {
            EventSource::Stream { stream, from, to } => {
                read_stream(moment, stream, (*from, *to), request, &mut collector)?
            }
            EventSource::Query(query) => read_query(moment, query, request, &mut collector)?,
        };
        if complete.is_some() { collector.into_page(moment.log.head).map(Some) } else { Ok(None) }
    })
}

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
        if tail.read().through() < log.head {
            let mut behind = tail.write();
            if behind.base() <= log.merged {
                behind.catch_up(connection, &shared.terms, log.number, log.head)?;
            }
        }
        let state = tail.read();
        if state.base() > log.merged {
            return Ok(None);
        }
        look(&state.layers()).map(Some)
    }

    /// Looks at the log's streams.
    pub(super) fn with_streams<T>(
        &self,
        look: impl FnOnce(&StreamIndex<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.with_tail(|layers| look(&StreamIndex::new(self.connection, &self.log, layers)))
    }
}

/// For how many events of a page there is room from the start.
const EVENTS_AT_ONCE: usize = 1_024;

/// Collects the events of a page, and knows when it is full.
struct Collector<'a> {
    request: &'a EventRead,
    limit: usize,
    over_limit_is_an_error: bool,
    bytes_left: usize,
    events: Vec<Event>,
    /// There is at least one more.
    more: bool,
}

impl<'a> Collector<'a> {
    fn new(shared: &Shared, request: &'a EventRead) -> Self {
        let (limit, over_limit_is_an_error) = shared.limits.page_rows(request.limit);
        let bytes_left = request.max_bytes.unwrap_or(usize::MAX);
        let events = Vec::with_capacity(request.limit.unwrap_or(0).min(EVENTS_AT_ONCE));
        Self { request, limit, over_limit_is_an_error, bytes_left, events, more: false }
    }

    /// How many events to look for: one more than it may take, to know whether there are more.
    fn room(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Takes a visible event; false once the page is full.
    fn take(&mut self, stored: StoredEvent<'_>, stream: Option<Arc<str>>) -> Result<bool> {
        if self.events.len() == self.limit || (self.bytes_left == 0 && !self.events.is_empty()) {
            self.more = true;
            return Ok(false);
        }
        self.check_order(stored.position())?;
        self.bytes_left = self.bytes_left.saturating_sub(stored.size());
        self.events.push(stored.into_event(&self.request.log, stream)?);
        Ok(true)
    }

    /// A damaged page can lead to events that are sound, and elsewhere, or were there before.
    fn check_order(&self, position: Position) -> Result<()> {
        let last = self.events.last().map(|event| event.position).or(self.request.after);
        let goes_on =
            last.is_none_or(|last| if self.request.descending { position < last } else { position > last });
        if goes_on {
            return Ok(());
        }
        Err(Error::corrupted("events that are out of order")
            .with("log", &*self.request.log)
            .with("position", position.to_string()))
    }

    fn into_page(self, head: u64) -> Result<Page<Event>> {
        let last = self.events.last().map(|event| event.position);
        if self.more && self.over_limit_is_an_error && self.events.len() == self.limit {
            let limit = self.limit as u64;
            return Err(Error::too_large("events of a read", limit, limit + 1)
                .with_hint("give a limit, or iterate with `each`"));
        }
        let next = if self.more { last } else { None };
        let through = match (self.request.descending, next) {
            (true, _) => Position::START,
            (false, Some(next)) => next,
            (false, None) => Position::new(head),
        };
        Ok(Page::new(self.events, next, through))
    }
}

/// Reads a stream; `None` if the tail has moved on from this snapshot.
fn read_stream(
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
        if expected.is_some_and(|expected| expected != seq_nr) {
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

const EVENT: &str = concat!("SELECT ", event_columns!(), " FROM event WHERE place = ?1");

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

/// Reads by query; `None` if the tail has moved on from this snapshot.
fn read_query(
    moment: &Moment<'_>,
    query: &Query,
    request: &EventRead,
    collector: &mut Collector<'_>,
) -> Result<Option<()>> {
    let log = &moment.log;
    let after = request.after.map(Position::get);
    let span = if request.descending {
        let through = after.map_or(log.head, |after| after.saturating_sub(1).min(log.head));
        Span { above: log.trimmed, through, descending: true }
    } else {
        Span { above: after.unwrap_or(0).max(log.trimmed), through: log.head, descending: false }
    };
    if span.is_empty() {
        return Ok(Some(()));
    }
    let mut streams = StreamNames { connection: moment.connection, known: HashMap::new() };
    match query.items() {
        None => read_all(log, span, &mut streams, collector).map(Some),
        Some(items) => read_matching(moment, (query, items), span, &mut streams, collector),
    }
}

/// The names and marks of streams, each looked up once for a page.
struct StreamNames<'a> {
    connection: &'a Connection,
    known: HashMap<i64, (Arc<str>, u64)>,
}

impl StreamNames<'_> {
    /// The stream's name, or `None` for events without; and whether the event is visible.
    fn of(&mut self, stored: &StoredEvent<'_>) -> Result<(Option<Arc<str>>, bool)> {
        let Some(stream) = stored.stream else { return Ok((None, !stored.is_trace())) };
        if !self.known.contains_key(&stream) {
            let (name, mark) = log_row::stream_name(self.connection, stream)?.ok_or_else(|| {
                Error::corrupted("an event of an unknown stream")
                    .with("position", stored.position().to_string())
            })?;
            self.known.insert(stream, (name.into(), mark));
        }
        let (name, mark) = &self.known[&stream];
        Ok((Some(name.clone()), stored.columns.seq_nr > to_sql(*mark)))
    }
}

fn read_all(
    log: &LogRow,
    span: Span,
    streams: &mut StreamNames<'_>,
    collector: &mut Collector<'_>,
) -> Result<()> {
    let sql = if span.descending {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place DESC"
        )
    } else {
        concat!("SELECT ", event_columns!(), " FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place")
    };
    let mut statement = streams.connection.prepare_cached(sql)?;
    let mut rows =
        statement.query((place_bound(log.number, span.above), place_bound(log.number, span.through)))?;
    while let Some(row) = rows.next()? {
        let stored = StoredEvent::read(row)?;
        let (name, visible) = streams.of(&stored)?;
        if visible && !collector.take(stored, name)? {
            break;
        }
    }
    Ok(())
}

fn read_matching(
    moment: &Moment<'_>,
    (query, items): (&Query, &[QueryItem]),
    mut span: Span,
    streams: &mut StreamNames<'_>,
    collector: &mut Collector<'_>,
) -> Result<Option<()>> {
    const MOST: usize = 4_096;
    let count = collector.room().min(MOST);
    let mut statement = streams.connection.prepare_cached(EVENT)?;
    while !span.is_empty() {
        let Some(found) = find(moment, items, span, count)? else { return Ok(None) };
        for position in &found {
            let mut rows = statement.query([place(moment.log.number, *position)])?;
            let Some(row) = rows.next()? else { continue };
            let stored = StoredEvent::read(row)?;
            let (name, visible) = streams.of(&stored)?;
            let tags = split_tags(stored.columns.tags);
            if visible && query.matches(stored.columns.event_type, &tags) && !collector.take(stored, name)? {
                return Ok(Some(()));
            }
        }
        match found.last() {
            Some(last) if found.len() == count => span = span.beyond(*last),
            _ => break,
        }
    }
    Ok(Some(()))
}

/// The next candidates, or `None` if the tail has moved on from this snapshot.
fn find(moment: &Moment<'_>, items: &[QueryItem], span: Span, count: usize) -> Result<Option<Vec<u64>>> {
    let Moment { connection, shared, log } = moment;
    let (table, memory) = span.split(log.merged);
    let in_table = || View::new(connection, &shared.terms, log, &[]).candidates(items, table, count);
    // The tail is locked for what is in memory only: while a table is read, the writer goes on.
    let in_memory = |count| {
        if memory.is_empty() {
            return Ok(Some(Vec::new()));
        }
        moment.with_tail(|layers| {
            View::new(connection, &shared.terms, log, layers).candidates(items, memory, count)
        })
    };
    if span.descending {
        let Some(mut found) = in_memory(count)? else { return Ok(None) };
        if found.len() < count {
            found.extend(in_table()?);
        }
        found.truncate(count);
        return Ok(Some(found));
    }
    let mut found = in_table()?;
    if found.len() < count {
        let Some(newest) = in_memory(count - found.len())? else { return Ok(None) };
        found.extend(newest);
    }
    Ok(Some(found))
}

pub(super) fn read_streams(shared: &Shared, request: &StreamsRead) -> Result<Page<StreamInfo>> {
    in_snapshot(shared, &request.log, |moment| {
        let Some(moment) = moment else { return Ok(Some(Page::new(Vec::new(), None, Position::START))) };
        let (limit, over_limit_is_an_error) = shared.limits.page_rows(request.limit);
        let after = request.after.as_deref();
        let (number, room) = (moment.log.number, limit.saturating_add(1));
        let mut found = log_row::streams(moment.connection, number, after, request.descending, room)?;
        let more = found.len() > limit;
        if more && over_limit_is_an_error {
            let limit = limit as u64;
            return Err(Error::too_large("streams of a read", limit, limit + 1)
                .with_hint("give a limit, or iterate with `each`"));
        }
        found.truncate(limit);
        let infos = moment.with_streams(|index| {
            let infos = found.into_iter().map(|(name, stream)| stream.info(index, &moment.log, name));
            infos.collect::<Result<Vec<StreamInfo>>>()
        })?;
        Ok(infos.map(|infos| {
            let next = if more { infos.last().map(|info| info.stream.clone()) } else { None };
            Page::new(infos, next, Position::START)
        }))
    })
}

pub(super) fn stream_info(shared: &Shared, log: &str, stream: &str) -> Result<Option<StreamInfo>> {
    in_snapshot(shared, log, |moment| {
        let Some(moment) = moment else { return Ok(Some(None)) };
        let Some(row) = StreamRow::find(moment.connection, moment.log.number, stream)? else {
            return Ok(Some(None));
        };
        moment.with_streams(|index| row.info(index, &moment.log, stream.to_owned()).map(Some))
    })
}

/// The highest position of an event at or below another, if there is one.
pub(super) fn last_event_through(connection: &Connection, log: i64, through: u64) -> Result<Option<u64>> {
    let sql = "SELECT max(place) FROM event WHERE place > ?1 AND place <= ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let highest: Option<i64> =
        statement.query_row((place(log, 0), place_bound(log, through)), |row| row.get(0))?;
    Ok(highest.map(position_of))
}

/// A count of rows, as it comes from SQL.
pub(super) fn count(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) -> Result<u64> {
    let number: i64 = connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
    from_sql(number)
}
