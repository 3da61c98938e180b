//! Reading by query: candidates from the postings, each compared with its event.

use std::{collections::HashMap, sync::Arc};

use rusqlite::Connection;

use super::{
    candidates::{Span, View},
    collector::Collector,
    log_row::{self, LogRow},
    moment::Moment,
    place::{place, place_bound, position_of, to_sql},
    row::{EVENT, StoredEvent, event_columns, split_tags},
};
use crate::{
    backend::{EventRead, HiddenRead},
    error::{Error, Result},
    event::Position,
    query::{Query, QueryItem},
};

/// How many candidates are looked for at once.
const CANDIDATES: usize = 4_096;

/// Reads by query; `None` if the tail has moved on from this snapshot.
pub(super) fn read_query(
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

/// The first event that a query matches and that reads do not show; `None` if the tail has moved on from this snapshot.
pub(super) fn first_hidden(moment: &Moment<'_>, request: &HiddenRead) -> Result<Option<Option<Position>>> {
    let (log, query) = (&moment.log, &request.query);
    let through = request.through.get().min(log.compacted);
    let mut span = Span { above: request.after.get(), through, descending: false };
    let mut streams = StreamNames { connection: moment.connection, known: HashMap::new() };
    let mut statement = moment.connection.prepare_cached(EVENT)?;
    while !span.is_empty() {
        let found = match query.items() {
            Some(items) => find(moment, items, span, CANDIDATES)?,
            None => Some(every_position(moment, span)?),
        };
        let Some(found) = found else { return Ok(None) };
        for position in &found {
            let mut rows = statement.query([place(log.number, *position)])?;
            let Some(row) = rows.next()? else { continue };
            let stored = StoredEvent::read(row)?;
            let (name, visible) = streams.of(&stored)?;
            let tags = split_tags(stored.columns.tags);
            let hidden = !visible || *position <= log.trimmed;
            if hidden && query.matches(stored.columns.event_type, &tags) {
                stored.check(&request.log, name.as_deref())?;
                return Ok(Some(Some(Position::new(*position))));
            }
        }
        match found.last() {
            Some(last) if found.len() == CANDIDATES => span = span.beyond(*last),
            _ => break,
        }
    }
    Ok(Some(None))
}

/// The first positions of a span at which there is an event or a trace.
fn every_position(moment: &Moment<'_>, span: Span) -> Result<Vec<u64>> {
    let sql = "SELECT place FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3";
    let mut statement = moment.connection.prepare_cached(sql)?;
    let log = moment.log.number;
    let bounds = (place_bound(log, span.above), place_bound(log, span.through), to_sql(CANDIDATES as u64));
    let places = statement.query_map(bounds, |row| row.get(0))?;
    places.map(|place| Ok(position_of(place?))).collect()
}

fn read_matching(
    moment: &Moment<'_>,
    (query, items): (&Query, &[QueryItem]),
    mut span: Span,
    streams: &mut StreamNames<'_>,
    collector: &mut Collector<'_>,
) -> Result<Option<()>> {
    let count = collector.room().min(CANDIDATES);
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
