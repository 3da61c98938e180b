//! Reading events and streams.

use rusqlite::Connection;

use super::{
    collector::Collector,
    log_row::{self, StreamRow},
    moment::in_snapshot,
    place::{from_sql, place, place_bound, position_of},
    query_read::{self, read_query},
    shared::Shared,
    stream_read::read_stream,
};
use crate::{
    backend::{EventRead, EventSource, HiddenRead, StreamsRead},
    error::{Error, Result},
    event::{Event, Position},
    event_log::StreamInfo,
    page::Page,
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

pub(super) fn first_hidden(shared: &Shared, request: &HiddenRead) -> Result<Option<Position>> {
    in_snapshot(shared, &request.log, |moment| match moment {
        Some(moment) => query_read::first_hidden(moment, request),
        None => Ok(Some(None)),
    })
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
