//! Everything a log holds, row by row: out for an export, in for an import.

use std::{sync::Arc, time::SystemTime};

use rusqlite::Connection;
use uuid::Uuid;

use super::{
    append::EventInsert,
    append_id, condition,
    log_row::{LogRow, StreamRow},
    moment::{Moment, in_snapshot},
    place::{MAX_POSITION, from_sql, place, position_of, to_sql},
    postings::Indexed,
    row::{Body, Columns, StoredEvent, event_columns, join_tags, split_tags},
    shared::Shared,
    stream_index::StreamIndex,
    streams::StreamState,
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::{HistoryCursor, HistoryPage, HistoryRead, HistoryRow, Outcome},
    clock::micros_since_epoch,
    error::{Error, Result},
    event::{Event, Position},
};

const STREAMS: u8 = 0;
const EVENTS: u8 = 1;
const APPEND_IDS: u8 = 2;
const CONDITIONS: u8 = 3;
const LOG: u8 = 4;

/// Reads a page of one section of a log's history.
pub(super) fn read(shared: &Shared, request: &HistoryRead) -> Result<HistoryPage> {
    in_snapshot(shared, &request.log, |moment| {
        let Some(moment) = moment else { return Ok(Some(HistoryPage { rows: Vec::new(), next: None })) };
        let start = HistoryCursor { section: STREAMS, number: 0, name: String::new() };
        let mut cursor = request.after.clone().unwrap_or(start);
        let mut rows = Vec::new();
        while rows.len() < request.limit {
            let count = rows.len();
            let Some(more) = section(moment, &request.log, &cursor, request.limit - count)? else {
                return Ok(None);
            };
            rows.extend(more);
            match rows[count..].last() {
                Some(last) => cursor = cursor_at(last),
                None if cursor.section == LOG => return Ok(Some(HistoryPage { rows, next: None })),
                None => {
                    cursor = HistoryCursor { section: cursor.section + 1, number: 0, name: String::new() }
                }
            }
        }
        Ok(Some(HistoryPage { rows, next: Some(cursor) }))
    })
}

/// A page of a section; `None` if the tail has moved on from this snapshot.
fn section(
    moment: &Moment<'_>,
    name: &Arc<str>,
    after: &HistoryCursor,
    limit: usize,
) -> Result<Option<Vec<HistoryRow>>> {
    let Moment { connection, log, .. } = moment;
    Ok(Some(match after.section {
        STREAMS => {
            return moment.with_streams(|index| marked_streams(connection, index, log, &after.name, limit));
        }
        EVENTS => events(connection, log, name, after.number, limit)?,
        APPEND_IDS => {
            let above = Uuid::parse_str(&after.name).ok();
            let ids = append_id::page(connection, log.number, above, limit)?;
            ids.into_iter().map(HistoryRow::AppendId).collect()
        }
        CONDITIONS => {
            let conditions = condition::page(connection, log.number, after.number, limit)?;
            let row = |(position, condition)| HistoryRow::Condition { position, condition };
            conditions.into_iter().map(row).collect()
        }
        _ if after.number == 0 => vec![HistoryRow::Log {
            head: Position::new(log.head),
            trimmed_through: Position::new(log.trimmed),
            compacted_through: Position::new(log.compacted),
            audits_conditions: log.audits,
        }],
        _ => Vec::new(),
    }))
}

/// Where a page ends that ends with this row.
fn cursor_at(row: &HistoryRow) -> HistoryCursor {
    let at = |section, number, name| HistoryCursor { section, number, name };
    match row {
        HistoryRow::Stream { stream, .. } => at(STREAMS, 0, stream.clone()),
        HistoryRow::Event(event) => at(EVENTS, event.position.get(), String::new()),
        HistoryRow::Trace { position, .. } => at(EVENTS, position.get(), String::new()),
        HistoryRow::AppendId(id) => at(APPEND_IDS, 0, id.id.to_string()),
        HistoryRow::Condition { position, .. } => at(CONDITIONS, position.get(), String::new()),
        HistoryRow::Log { .. } => at(LOG, 1, String::new()),
    }
}

fn marked_streams(
    connection: &Connection,
    index: &StreamIndex<'_>,
    log: &LogRow,
    after: &str,
    limit: usize,
) -> Result<Vec<HistoryRow>> {
    // What was trimmed and waits to be swept has not raised its streams' marks yet: those are looked at too.
    let sql = "SELECT stream, mark, mark_position, name FROM stream
               WHERE log = ?1 AND name > ?2 AND (mark > 0 OR ?3) ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((log.number, after, log.trimmed > 0))?;
    let mut marked = Vec::new();
    while marked.len() < limit
        && let Some(row) = rows.next()?
    {
        let stream = StreamRow {
            number: row.get(0)?,
            mark: from_sql(row.get(1)?)?,
            mark_position: from_sql(row.get(2)?)?,
        };
        let (compacted_through, position) = stream.effective_mark(index, log)?;
        if compacted_through == 0 {
            continue;
        }
        let compacted_position = Position::new(position);
        marked.push(HistoryRow::Stream { stream: row.get(3)?, compacted_through, compacted_position });
    }
    Ok(marked)
}

fn events(
    connection: &Connection,
    log: &LogRow,
    name: &Arc<str>,
    after: u64,
    limit: usize,
) -> Result<Vec<HistoryRow>> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        " FROM event WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let bounds = (place(log.number, after), place(log.number + 1, 0), to_sql(limit as u64));
    let mut rows = statement.query(bounds)?;
    let (mut history, mut last) = (Vec::new(), after);
    while let Some(row) = rows.next()? {
        let stored = StoredEvent::read(row)?;
        let position = stored.position().get();
        if position <= last {
            return Err(Error::corrupted("events that are out of order"));
        }
        last = position;
        history.push(event_or_trace(connection, log, name, stored)?);
    }
    Ok(history)
}

fn event_or_trace(
    connection: &Connection,
    log: &LogRow,
    name: &Arc<str>,
    stored: StoredEvent<'_>,
) -> Result<HistoryRow> {
    let stream =
        stored.stream.map(|stream| super::log_row::stream_name(connection, stream)).transpose()?.flatten();
    let mark = stream.as_ref().map_or(0, |(_, mark)| *mark);
    let stream: Option<Arc<str>> = stream.map(|(name, _)| name.into());
    let trimmed = position_of(stored.columns.place) <= log.trimmed;
    let compacted = stored.stream.is_some() && stored.columns.seq_nr <= to_sql(mark);
    if !stored.is_trace() && !trimmed && !compacted {
        return stored.into_event(name, stream).map(HistoryRow::Event);
    }
    stored.check(name, stream.as_deref())?;
    Ok(HistoryRow::Trace {
        position: stored.position(),
        event_type: stored.columns.event_type.to_owned(),
        tags: split_tags(stored.columns.tags),
    })
}

impl Writer {
    /// Writes rows of an export as they are.
    pub(super) fn restore(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        rows: &[HistoryRow],
    ) -> Result<Outcome, Failure> {
        self.log_or_new(shared, log)?.dirty = true;
        for row in rows {
            match row {
                HistoryRow::Stream { stream, compacted_through, compacted_position } => {
                    self.restore_stream(log, stream, *compacted_through, *compacted_position)?;
                }
                HistoryRow::Event(event) => self.restore_event(shared, log, event)?,
                HistoryRow::Trace { position, event_type, tags } => {
                    self.restore_trace(shared, log, *position, event_type, tags)?;
                }
                HistoryRow::AppendId(id) => {
                    let number = self.log_mut(log).row.number;
                    if append_id::find(&self.connection, number, id.id)?.is_some() {
                        return Err(refused(format!("event id {} exists", id.id)).into());
                    }
                    let ids = std::iter::once(id.id);
                    append_id::insert(&self.connection, number, ids, &id.appended, &id.digest).written()?;
                }
                HistoryRow::Condition { position, condition } => {
                    let number = self.log_mut(log).row.number;
                    if condition::exists(&self.connection, number, *position)? {
                        return Err(refused(format!("a condition at position {position} exists")).into());
                    }
                    condition::insert(&self.connection, number, *position, condition).written()?;
                }
                HistoryRow::Log { head, trimmed_through, compacted_through, audits_conditions } => {
                    let row = &mut self.log_mut(log).row;
                    row.head = row.head.max(head.get());
                    row.compacted = row.compacted.max(compacted_through.get());
                    row.audits = *audits_conditions;
                    self.trim(shared, log, trimmed_through.get())?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn restore_stream(
        &mut self,
        log: &Arc<str>,
        stream: &str,
        compacted_through: u64,
        compacted_position: Position,
    ) -> Result<(), Failure> {
        let number = self.log_mut(log).row.number;
        if StreamRow::find(&self.connection, number, stream)?.is_some() {
            return Err(refused(format!("stream `{stream}` exists")).into());
        }
        if compacted_through == 0 {
            return Ok(());
        }
        if compacted_position > Position::START {
            self.check_position(log, compacted_position)?;
        }
        let sql = "INSERT INTO stream (log, name, mark, mark_position) VALUES (?1, ?2, ?3, ?4)";
        let position = to_sql(compacted_position.get());
        self.connection
            .prepare_cached(sql)
            .and_then(|mut insert| insert.execute((number, stream, to_sql(compacted_through), position)))
            .written()?;
        let row = &mut self.log_mut(log).row;
        row.compacted = row.compacted.max(compacted_position.get());
        Ok(())
    }

    fn restore_event(&mut self, shared: &Shared, log: &Arc<str>, event: &Event) -> Result<(), Failure> {
        self.check_position(log, event.position)?;
        let stream = match &event.stream {
            None => None,
            Some(stream) => Some((self.stream_for(log, stream, event.seq_nr)?, &**stream)),
        };
        let tags = join_tags(&event.tags);
        let id = event.given_id();
        let columns = Columns {
            place: place(self.log_mut(log).row.number, event.position.get()),
            seq_nr: to_sql(event.seq_nr),
            recorded_at: micros(event.recorded_at),
            event_type: &event.event_type,
            tags: tags.as_deref(),
            id: id.as_ref().map(|id| &id.as_bytes()[..]),
            metadata: event.metadata.as_deref(),
            payload: Some(Body::from(&event.payload)),
        };
        EventInsert::prepare(&self.connection)
            .and_then(|mut insert| insert.execute(log, stream, &columns))
            .written()?;
        let stream = stream.map(|(number, _)| (number, event.seq_nr));
        self.restored(shared, log, event.position, stream, (&event.event_type, &event.tags));
        Ok(())
    }

    fn restore_trace(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        position: Position,
        event_type: &str,
        tags: &[String],
    ) -> Result<(), Failure> {
        self.check_position(log, position)?;
        let joined = join_tags(tags);
        let columns = Columns {
            place: place(self.log_mut(log).row.number, position.get()),
            seq_nr: 0,
            recorded_at: 0,
            event_type,
            tags: joined.as_deref(),
            id: None,
            metadata: None,
            payload: None,
        };
        EventInsert::prepare(&self.connection)
            .and_then(|mut insert| insert.execute(log, None, &columns))
            .written()?;
        self.restored(shared, log, position, None, (event_type, tags));
        let row = &mut self.log_mut(log).row;
        row.compacted = row.compacted.max(position.get());
        Ok(())
    }

    fn check_position(&mut self, log: &Arc<str>, position: Position) -> Result<()> {
        let head = self.log_mut(log).row.head;
        if position.get() > head && position.get() <= MAX_POSITION {
            return Ok(());
        }
        Err(refused(format!("position {position} is not above the log's head {head}")))
    }

    /// The stream, created if it is new, with its head moved to the event.
    fn stream_for(&mut self, log: &Arc<str>, stream: &str, seq_nr: u64) -> Result<i64, Failure> {
        let known = self.log_mut(log);
        let (number, cached) = (known.row.number, known.streams.get(stream));
        let state = match cached {
            Some(state) => state,
            None => match StreamRow::find(&self.connection, number, stream)? {
                Some(row) => {
                    StreamState { number: row.number, head: self.with_streams(log, |index| row.head(index))? }
                }
                None => self.create_stream(number, stream).written()?,
            },
        };
        if seq_nr != state.head + 1 {
            let reason = format!("event {seq_nr} of stream `{stream}`, which is at {}", state.head);
            return Err(refused(reason).into());
        }
        self.log_mut(log).streams.set(stream, StreamState { head: seq_nr, ..state });
        Ok(state.number)
    }

    fn restored(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        position: Position,
        stream: Option<(i64, u64)>,
        (event_type, tags): (&str, &[String]),
    ) {
        let known = self.log_mut(log);
        let (log, position) = (known.row.number, position.get());
        let tags = tags.iter().map(String::as_str);
        let mut tail = known.tail.write();
        for (key, value) in shared.terms.postings(Indexed { log, position, stream, event_type, tags }) {
            tail.insert(key, value);
            known.added += 1;
        }
        tail.advance(position);
        known.row.head = position;
    }
}

fn refused(reason: String) -> Error {
    Error::invalid("import", reason).with_hint("a log is imported only above its own head")
}

fn micros(time: SystemTime) -> i64 {
    to_sql(micros_since_epoch(time))
}
