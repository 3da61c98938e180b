//! Appends and guards inside the writer's transaction: everything is checked before anything is written.

use std::sync::Arc;

use super::{
    candidates::{Span, View},
    log_row::StreamRow,
    place::{MAX_POSITION, place, to_sql},
    postings::{Indexed, Key},
    row::{Body, Columns, checksum, join_tags},
    shared::Shared,
    streams::StreamState,
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::{AppendOperation, EventData, Outcome, append_digest},
    error::{Error, ErrorKind, MatchingEvent, Result},
    event::Position,
    event_log::{Appended, Expected},
    query::{AppendCondition, Query},
};

/// How many matching events a failed condition names.
const NAMED: usize = 10;

/// What a batch changed in memory, newest last.
#[derive(Debug)]
pub(super) enum Undo {
    /// It created the log.
    Log { log: Arc<str>, number: i64 },
    /// It moved the log's head.
    Head { log: Arc<str>, before: u64, was_dirty: bool },
    /// It moved or created a stream.
    Stream { log: Arc<str>, stream: String, before: Option<StreamState> },
    /// It added a posting.
    Posting { log: Arc<str>, key: Key },
    /// It moved a QueryDb's version, and noted changes.
    QueryDb { query_db: Arc<str>, version: u64 },
    /// It made a QueryDb.
    NewQueryDb { query_db: Arc<str> },
}

impl Writer {
    /// Takes back what the refused batch changed in memory.
    pub(super) fn take_back(&mut self, shared: &Shared) {
        for undo in self.undo.take().unwrap_or_default().into_iter().rev() {
            match undo {
                Undo::Log { log, number } => {
                    self.logs.remove(&log);
                    shared.forget_tail(number);
                }
                Undo::Head { log, before, was_dirty } => {
                    let log = self.log_mut(&log);
                    log.tail.write().retreat(before);
                    (log.row.head, log.dirty) = (before, was_dirty);
                }
                Undo::Stream { log, stream, before } => match before {
                    Some(before) => drop(self.log_mut(&log).streams.set(&stream, before)),
                    None => self.log_mut(&log).streams.forget(&stream),
                },
                Undo::Posting { log, key } => self.log_mut(&log).tail.write().remove(&[key]),
                Undo::QueryDb { query_db, version } => {
                    if let Some(known) = self.query_dbs.get_mut(&query_db) {
                        known.take_back(version);
                    }
                }
                Undo::NewQueryDb { query_db } => drop(self.query_dbs.remove(&query_db)),
            }
        }
    }

    pub(super) fn append(&mut self, shared: &Shared, append: &AppendOperation) -> Result<Appended, Failure> {
        if append.events.is_empty() {
            return Ok(Appended::default());
        }
        let has_ids = append.events.iter().any(|event| event.id.is_some());
        let digest = has_ids.then(|| append_digest(append.stream.as_deref(), &append.events));
        if let Some(digest) = &digest
            && let Some(earlier) = self.earlier_append(shared, append, digest)?
        {
            return Ok(earlier);
        }
        let stream = append.stream.as_deref();
        let before =
            stream.map(|stream| self.stream_state(shared, &append.log, stream)).transpose()?.flatten();
        let head = before.map_or(0, |state| state.head);
        check_expected(append.expected, head)?;
        if let Some(condition) = &append.condition {
            self.require_none_match(shared, &append.log, condition)?;
        }
        self.write_append(shared, append, before, digest.as_ref())
    }

    /// The answer of the append that first carried these ids, if this one repeats it.
    fn earlier_append(
        &mut self,
        shared: &Shared,
        append: &AppendOperation,
        digest: &[u8; 16],
    ) -> Result<Option<Appended>, Failure> {
        let Some(log) = self.load_log(shared, &append.log)?.map(|log| log.row.number) else {
            return check_distinct(&append.events).map(|()| None).map_err(Failure::Refused);
        };
        for id in append.events.iter().filter_map(|event| event.id) {
            if let Some(known) = super::append_id::find(&self.connection, log, id)? {
                if known.digest == *digest {
                    return Ok(Some(known.appended));
                }
                return Err(already_used(id).into());
            }
        }
        check_distinct(&append.events)?;
        Ok(None)
    }

    fn stream_state(&mut self, shared: &Shared, log: &Arc<str>, stream: &str) -> Result<Option<StreamState>> {
        let Some(known) = self.load_log(shared, log)? else { return Ok(None) };
        if let Some(state) = known.streams.get(stream) {
            return Ok(Some(state));
        }
        let number = known.row.number;
        let Some(row) = StreamRow::find(&self.connection, number, stream)? else { return Ok(None) };
        let state =
            StreamState { number: row.number, head: self.with_streams(log, |index| row.head(index))? };
        self.log_mut(log).streams.set(stream, state);
        Ok(Some(state))
    }

    pub(super) fn require_head(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        stream: &str,
        head: u64,
    ) -> Result<Outcome, Failure> {
        let actual = self.stream_state(shared, log, stream)?.map_or(0, |state| state.head);
        check_expected(Expected::Exact(head), actual)?;
        Ok(Outcome::Done)
    }

    /// Refuses if an event above `after` matches, hidden ones included.
    pub(super) fn require_none_match(
        &mut self,
        shared: &Shared,
        log: &Arc<str>,
        condition: &AppendCondition,
    ) -> Result<(), Failure> {
        let Some(known) = self.load_log(shared, log)? else { return Ok(()) };
        let span = Span { above: condition.after.get(), through: known.row.head, descending: false };
        if span.is_empty() {
            return Ok(());
        }
        let matching = match condition.fail_if_events_match.items() {
            None => self.any_events(log, span)?,
            Some(_) => self.matching_events(shared, log, &condition.fail_if_events_match, span)?,
        };
        if matching.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ConditionFailed { matching }).into())
    }

    fn matching_events(
        &self,
        shared: &Shared,
        name: &Arc<str>,
        query: &Query,
        mut span: Span,
    ) -> Result<Vec<MatchingEvent>> {
        let known = &self.logs[name];
        let tail = known.tail.read();
        let layers = tail.layers();
        let view = View::new(&self.connection, &shared.terms, &known.row, &layers);
        let items = query.items().unwrap_or_default();
        let mut matching = Vec::new();
        loop {
            let found = view.candidates(items, span, NAMED)?;
            for position in &found {
                let event =
                    super::trace::matching_event(&self.connection, name, place(known.row.number, *position))?;
                if let Some(event) = event
                    && query.matches(&event.event_type, &event.tags)
                {
                    matching.push(event);
                }
            }
            match found.last() {
                Some(last) if found.len() == NAMED && matching.len() < NAMED => span = span.beyond(*last),
                _ => break,
            }
        }
        matching.truncate(NAMED);
        Ok(matching)
    }

    fn any_events(&self, name: &Arc<str>, span: Span) -> Result<Vec<MatchingEvent>> {
        let log = self.logs[name].row.number;
        let sql = "SELECT place FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let bounds = (place(log, span.above), place(log, span.through), to_sql(NAMED as u64));
        let places =
            statement.query_map(bounds, |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let events =
            places.into_iter().map(|place| super::trace::matching_event(&self.connection, name, place));
        Ok(events.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Writes an append that was checked.
    fn write_append(
        &mut self,
        shared: &Shared,
        append: &AppendOperation,
        before: Option<StreamState>,
        digest: Option<&[u8; 16]>,
    ) -> Result<Appended, Failure> {
        let count = append.events.len() as u64;
        let known = self.log_or_new(shared, &append.log)?;
        let (log, head, was_dirty) = (known.row.number, known.row.head, known.dirty);
        if head + count > MAX_POSITION {
            return Err(Error::too_large("positions of a log", MAX_POSITION, head + count).into());
        }
        let stream = match (&append.stream, before) {
            (None, _) => None,
            (Some(_), Some(state)) => Some(state),
            (Some(name), None) => Some(self.create_stream(log, name).written()?),
        };
        let appended =
            Appended::new(stream.map_or(0, |state| state.head + 1), Position::new(head + 1), count);
        self.insert_events(append, log, stream, &appended).written()?;
        if let Some(digest) = digest {
            let ids = append.events.iter().filter_map(|event| event.id);
            super::append_id::insert(&self.connection, log, ids, &appended, digest).written()?;
        }
        self.keep_condition(append, log, &appended).written()?;
        self.remember_append(shared, append, stream, before, was_dirty);
        Ok(appended)
    }

    pub(super) fn create_stream(&self, log: i64, name: &str) -> rusqlite::Result<StreamState> {
        self.connection
            .prepare_cached("INSERT INTO stream (log, name) VALUES (?1, ?2)")?
            .execute((log, name))?;
        Ok(StreamState { number: self.connection.last_insert_rowid(), head: 0 })
    }

    fn insert_events(
        &self,
        append: &AppendOperation,
        log: i64,
        stream: Option<StreamState>,
        appended: &Appended,
    ) -> rusqlite::Result<()> {
        let mut insert = EventInsert::prepare(&self.connection)?;
        let recorded_at = to_sql(self.now);
        for (event, offset) in append.events.iter().zip(0..) {
            let tags = join_tags(&event.tags);
            let columns = Columns {
                place: place(log, appended.first_position.get() + offset),
                seq_nr: stream.map_or(0, |state| to_sql(state.head + 1 + offset)),
                recorded_at,
                event_type: &event.event_type,
                tags: tags.as_deref(),
                id: event.id.as_ref().map(|id| &id.as_bytes()[..]),
                metadata: event.metadata.as_deref(),
                payload: Some(Body::from(&event.payload)),
            };
            let stream = stream.zip(append.stream.as_deref()).map(|(state, name)| (state.number, name));
            insert.execute(&append.log, stream, &columns)?;
        }
        Ok(())
    }

    fn keep_condition(&self, append: &AppendOperation, log: i64, appended: &Appended) -> Result<()> {
        let Some(condition) = &append.condition else { return Ok(()) };
        if !self.logs[&append.log].row.audits {
            return Ok(());
        }
        super::condition::insert(&self.connection, log, appended.first_position, condition)
    }

    fn remember_append(
        &mut self,
        shared: &Shared,
        append: &AppendOperation,
        stream: Option<StreamState>,
        before: Option<StreamState>,
        was_dirty: bool,
    ) {
        let name = &append.log;
        let count = append.events.len() as u64;
        let known = self.logs.get_mut(name).expect("it was loaded for this append");
        let (log, head) = (known.row.number, known.row.head);
        // Readers look into the tail only as far as their snapshots go, so it may be ahead of the commit.
        let mut tail = known.tail.write();
        let mut undo = self.undo.as_mut();
        if let Some(undo) = &mut undo {
            undo.push(Undo::Head { log: name.clone(), before: head, was_dirty });
        }
        for (event, offset) in append.events.iter().zip(1..) {
            let indexed = Indexed {
                log,
                position: head + offset,
                stream: stream.map(|state| (state.number, state.head + offset)),
                event_type: &event.event_type,
                tags: event.tags.iter().map(String::as_str),
            };
            for (key, value) in shared.terms.postings(indexed) {
                tail.insert(key, value);
                known.added += 1;
                if let Some(undo) = &mut undo {
                    undo.push(Undo::Posting { log: name.clone(), key });
                }
            }
        }
        tail.advance(head + count);
        drop(tail);
        (known.row.head, known.dirty) = (head + count, true);
        if let (Some(state), Some(stream)) = (stream, &append.stream) {
            known.streams.set(stream, StreamState { head: state.head + count, ..state });
            if let Some(undo) = undo {
                undo.push(Undo::Stream { log: name.clone(), stream: stream.clone(), before });
            }
        }
    }
}

/// Inserts rows of events.
pub(super) struct EventInsert<'a> {
    statement: rusqlite::CachedStatement<'a>,
}

impl<'a> EventInsert<'a> {
    pub(super) fn prepare(connection: &'a rusqlite::Connection) -> rusqlite::Result<Self> {
        let sql = concat!(
            "INSERT INTO event (",
            super::row::event_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        connection.prepare_cached(sql).map(|statement| Self { statement })
    }

    /// Inserts an event of a log, and of a stream by number and name, with its checksum.
    pub(super) fn execute(
        &mut self,
        log: &str,
        stream: Option<(i64, &str)>,
        columns: &Columns<'_>,
    ) -> rusqlite::Result<()> {
        let checksum = checksum(log, stream.map(|(_, name)| name), columns);
        let insert = &mut self.statement;
        insert.raw_bind_parameter(1, columns.place)?;
        insert.raw_bind_parameter(2, stream.map(|(number, _)| number))?;
        insert.raw_bind_parameter(3, stream.map(|_| columns.seq_nr))?;
        insert.raw_bind_parameter(4, columns.recorded_at)?;
        insert.raw_bind_parameter(5, checksum)?;
        insert.raw_bind_parameter(6, columns.event_type)?;
        insert.raw_bind_parameter(7, columns.tags)?;
        insert.raw_bind_parameter(8, columns.id)?;
        insert.raw_bind_parameter(9, columns.metadata)?;
        match columns.payload {
            None => insert.raw_bind_parameter(10, rusqlite::types::Null)?,
            Some(Body::Json(json)) => insert.raw_bind_parameter(10, json)?,
            Some(Body::Bytes(bytes)) => insert.raw_bind_parameter(10, bytes)?,
        }
        insert.raw_execute().map(drop)
    }
}

fn check_expected(expected: Expected, actual: u64) -> Result<()> {
    match expected {
        Expected::Exact(expected) if expected != actual => {
            Err(Error::new(ErrorKind::Conflict { expected, actual }))
        }
        Expected::Exact(_) | Expected::Any => Ok(()),
    }
}

/// No id twice in one append.
fn check_distinct(events: &[EventData]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match events.iter().filter_map(|event| event.id).find(|id| !seen.insert(*id)) {
        Some(id) => Err(already_used(id)),
        None => Ok(()),
    }
}

fn already_used(id: uuid::Uuid) -> Error {
    Error::new(ErrorKind::AlreadyExists).with("event id", id.to_string())
}
