//! Reading events and streams.

use std::{collections::HashMap, sync::Arc};

use rusqlite::Connection;

use super::{
    candidates::{Span, View},
    log_row::{self, LogRow, StreamRow},
    place::{from_sql, place, place_bound, position_of, to_sql},
    postings::Tail,
    row::{StoredEvent, event_columns},
    shared::Shared,
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
    loop {
        let page = shared.pool.snapshot(|connection| {
            let Some(log) = LogRow::find(connection, &request.log)? else {
                return Ok(Some(Page::new(Vec::new(), None, Position::START)));
            };
            let mut collector = Collector::new(shared, request);
            let complete = match &request.source {
                EventSource::Stream { stream, from, to } => {
                    read_stream(connection, &log, stream, (*from, *to), request, &mut collector)?;
                    true
                }
                EventSource::Query(query) => {
                    read_query(connection, shared, &log, query, request, &mut collector)?
                }
            };
            if complete { collector.into_page(log.head).map(Some) } else { Ok(None) }
        })?;
        // `None`: the tail in memory has moved on from this snapshot, so take a newer one.
        if let Some(page) = page {
            return Ok(page);
        }
    }
}

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
        Self { request, limit, over_limit_is_an_error, bytes_left, events: Vec::new(), more: false }
    }

    /// Takes a visible event; false once the page is full.
    fn take(&mut self, stored: StoredEvent<'_>, stream: Option<Arc<str>>) -> Result<bool> {
        if self.events.len() == self.limit || (self.bytes_left == 0 && !self.events.is_empty()) {
            self.more = true;
            return Ok(false);
        }
        self.bytes_left = self.bytes_left.saturating_sub(stored.size());
        self.events.push(stored.into_event(&self.request.log, stream)?);
        Ok(true)
    }

    fn into_page(self, head: u64) -> Result<Page<Event>> {
        let last = self.events.last().map(|event| event.position);
        if self.more && self.over_limit_is_an_error && self.events.len() == self.limit {
            let limit = self.limit as u64;
            return Err(Error::too_large("events of a read", limit, limit + 1)
                .hint("give a limit, or iterate with `each`"));
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

fn read_stream(
    connection: &Connection,
    log: &LogRow,
    name: &str,
    (from, to): (u64, u64),
    request: &EventRead,
    collector: &mut Collector<'_>,
) -> Result<()> {
    let Some(stream) = StreamRow::find(connection, log.number, name)? else { return Ok(()) };
    let (mut from, mut to) = (from.max(stream.mark + 1), to);
    if let Some(after) = request.after {
        let beyond = first_above(connection, &stream, log.number, after.get(), request.descending)?;
        if request.descending { to = to.min(beyond - 1) } else { from = from.max(beyond) }
    }
    if log.trimmed > stream.mark_position {
        from = from.max(first_above(connection, &stream, log.number, log.trimmed, false)?);
    }
    let sql = if request.descending {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE stream = ?1 AND seq_nr BETWEEN ?2 AND ?3 ORDER BY seq_nr DESC"
        )
    } else {
        concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE stream = ?1 AND seq_nr BETWEEN ?2 AND ?3 ORDER BY seq_nr"
        )
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((stream.number, to_sql(from), to_sql(to)))?;
    let name: Arc<str> = name.into();
    let mut previous = None;
    while let Some(row) = rows.next()? {
        let stored = StoredEvent::read(row)?;
        check_neighbours(
            &request.log,
            &name,
            previous,
            stored.columns.seq_nr,
            if request.descending { to } else { from },
            request.descending,
        )?;
        previous = Some(stored.columns.seq_nr);
        if !collector.take(stored, Some(name.clone()))? {
            break;
        }
    }
    Ok(())
}

/// A stream has no holes: what is missing was lost.
fn check_neighbours(
    log: &str,
    stream: &str,
    previous: Option<i64>,
    seq_nr: i64,
    first: u64,
    descending: bool,
) -> Result<()> {
    let expected = match previous {
        Some(previous) => Some(if descending { previous - 1 } else { previous + 1 }),
        // Descending, the first is the head, which only its own row knows.
        None if descending => None,
        None => Some(to_sql(first)),
    };
    if expected.is_none_or(|expected| expected == seq_nr) {
        return Ok(());
    }
    Err(Error::corrupted("a hole in a stream")
        .with("log", log)
        .with("stream", stream)
        .with("seq_nr", seq_nr.to_string()))
}

/// The first `seq_nr` whose event lies above a position (when descending: at or above it).
///
/// Sequence numbers and positions rise together, so this is a binary search.
fn first_above(
    connection: &Connection,
    stream: &StreamRow,
    log: i64,
    position: u64,
    at_or_above: bool,
) -> Result<u64> {
    let bound = if at_or_above { place_bound(log, position) - 1 } else { place_bound(log, position) };
    let sql = "SELECT place FROM event WHERE stream = ?1 AND seq_nr = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut low, mut high) = (stream.mark + 1, stream.head(connection)? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: i64 = statement.query_row((stream.number, to_sql(middle)), |row| row.get(0))?;
        if found <= bound { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Reads by query; false if the tail has moved on from this snapshot.
fn read_query(
    connection: &Connection,
    shared: &Shared,
    log: &LogRow,
    query: &Query,
    request: &EventRead,
    collector: &mut Collector<'_>,
) -> Result<bool> {
    let after = request.after.map(Position::get);
    let span = if request.descending {
        Span {
            above: log.trimmed,
            through: after.map_or(log.head, |after| after.saturating_sub(1).min(log.head)),
            descending: true,
        }
    } else {
        Span { above: after.unwrap_or(0).max(log.trimmed), through: log.head, descending: false }
    };
    if span.is_empty() {
        return Ok(true);
    }
    let mut streams = StreamNames { connection, known: HashMap::new() };
    match query.items() {
        None => read_all(log, span, &mut streams, collector).map(|()| true),
        Some(items) => read_matching(shared, log, (query, items), span, &mut streams, collector),
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
    shared: &Shared,
    log: &LogRow,
    (query, items): (&Query, &[QueryItem]),
    mut span: Span,
    streams: &mut StreamNames<'_>,
    collector: &mut Collector<'_>,
) -> Result<bool> {
    const MOST: usize = 4_096;
    let count = collector.limit.saturating_add(1).min(MOST);
    let sql = concat!("SELECT ", event_columns!(), " FROM event WHERE place = ?1");
    let mut statement = streams.connection.prepare_cached(sql)?;
    while !span.is_empty() {
        let Some(found) = find(streams.connection, shared, log, items, span, count)? else {
            return Ok(false);
        };
        for position in &found {
            let mut rows = statement.query([place(log.number, *position)])?;
            let Some(row) = rows.next()? else { continue };
            let stored = StoredEvent::read(row)?;
            let (name, visible) = streams.of(&stored)?;
            let tags = super::row::split_tags(stored.columns.tags);
            if visible && query.matches(stored.columns.event_type, &tags) && !collector.take(stored, name)? {
                return Ok(true);
            }
        }
        match found.last() {
            Some(last) if found.len() == count => span = span.beyond(*last),
            _ => break,
        }
    }
    Ok(true)
}

/// The next candidates, or `None` if the tail has moved on from this snapshot.
fn find(
    connection: &Connection,
    shared: &Shared,
    log: &LogRow,
    items: &[QueryItem],
    span: Span,
    count: usize,
) -> Result<Option<Vec<u64>>> {
    let (table, memory) = span.split(log.merged);
    let in_table = || View::new(connection, &shared.terms, log, &[]).candidates(items, table, count);
    // The tail is locked for what is in memory only: while a table is read, the writer goes on.
    let in_memory = |count| {
        if memory.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let tail = caught_up(connection, shared, log)?;
        let state = tail.read();
        if state.base() > log.merged {
            return Ok(None);
        }
        View::new(connection, &shared.terms, log, &state.layers()).candidates(items, memory, count).map(Some)
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

/// The log's tail, with what other processes have appended by this snapshot.
fn caught_up(connection: &Connection, shared: &Shared, log: &LogRow) -> Result<Arc<Tail>> {
    let tail = shared.tail(log.number, log.merged);
    if tail.read().through() < log.head {
        let mut behind = tail.write();
        if behind.base() <= log.merged {
            behind.catch_up(connection, &shared.terms, log.number, log.head)?;
        }
    }
    Ok(tail)
}

pub(super) fn read_streams(shared: &Shared, request: &StreamsRead) -> Result<Page<StreamInfo>> {
    shared.pool.snapshot(|connection| {
        let Some(log) = LogRow::find(connection, &request.log)? else {
            return Ok(Page::new(Vec::new(), None, Position::START));
        };
        let (limit, over_limit_is_an_error) = shared.limits.page_rows(request.limit);
        let after = request.after.as_deref();
        let mut found =
            log_row::streams(connection, log.number, after, request.descending, limit.saturating_add(1))?;
        let more = found.len() > limit;
        if more && over_limit_is_an_error {
            let limit = limit as u64;
            return Err(Error::too_large("streams of a read", limit, limit + 1)
                .hint("give a limit, or iterate with `each`"));
        }
        found.truncate(limit);
        let infos = found.into_iter().map(|(name, stream)| stream.info(connection, &log, name));
        let infos: Vec<StreamInfo> = infos.collect::<Result<_>>()?;
        let next = if more { infos.last().map(|info| info.stream.clone()) } else { None };
        Ok(Page::new(infos, next, Position::START))
    })
}

pub(super) fn stream_info(shared: &Shared, log: &str, stream: String) -> Result<Option<StreamInfo>> {
    shared.pool.snapshot(|connection| {
        let Some(log) = LogRow::find(connection, log)? else { return Ok(None) };
        let Some(row) = StreamRow::find(connection, log.number, &stream)? else { return Ok(None) };
        row.info(connection, &log, stream).map(Some)
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
