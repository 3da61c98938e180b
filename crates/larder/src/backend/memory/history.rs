//! Everything a log holds, out as rows and in again.

use std::{iter, ops::Bound, sync::Arc};

use uuid::Uuid;

use super::{
    event_log::{Header, LogState},
    state::{State, Transaction},
    table::{Trace, Window},
};
use crate::{
    backend::{AppendId, EventData, HistoryCursor, HistoryPage, HistoryRead, HistoryRow, Outcome},
    error::{Error, Result},
    event::{Event, Position},
    limits::HIGHEST_NUMBER,
};

/// The order of the rows, as a cursor names it.
const STREAMS: u8 = 0;
const EVENTS: u8 = 1;
const IDS: u8 = 2;
const CONDITIONS: u8 = 3;
const LOG: u8 = 4;

type Row = (HistoryCursor, HistoryRow);

/// A page of a log's history.
pub(super) fn page(state: &State, request: &HistoryRead) -> HistoryPage {
    let Some(log) = state.logs.get(&request.log) else { return HistoryPage { rows: Vec::new(), next: None } };
    let start = HistoryCursor { section: STREAMS, number: 0, name: String::new() };
    let after = request.after.as_ref().unwrap_or(&start);
    let mut rows = log.history(after);
    let (mut taken, mut last) = (Vec::new(), None);
    for (cursor, row) in rows.by_ref().take(request.limit) {
        taken.push(row);
        last = Some(cursor);
    }
    let more = rows.next().is_some();
    HistoryPage { rows: taken, next: last.filter(|_| more) }
}

impl LogState {
    /// Every row after this one.
    fn history<'a>(&'a self, after: &'a HistoryCursor) -> Box<dyn Iterator<Item = Row> + 'a> {
        let section = after.section;
        let marks = iter::once(after).filter(move |_| section == STREAMS);
        let marks = marks.flat_map(|after| self.marks(&after.name));
        let position = if section == EVENTS { Position::new(after.number) } else { Position::START };
        let facts = iter::once(position).filter(move |_| section <= EVENTS);
        let facts = facts.flat_map(|after| self.facts(after));
        let ids = iter::once(after).filter(move |_| section <= IDS);
        let ids = ids.flat_map(move |after| self.id_rows(if section == IDS { &after.name } else { "" }));
        let position = if section == CONDITIONS { Position::new(after.number) } else { Position::START };
        let conditions = iter::once(position).filter(move |_| section <= CONDITIONS);
        let conditions = conditions.flat_map(|after| self.condition_rows(after));
        let log = iter::once_with(|| self.log_row()).filter(move |_| section < LOG);
        Box::new(marks.chain(facts).chain(ids).chain(conditions).chain(log))
    }

    fn marks(&self, after: &str) -> impl Iterator<Item = Row> {
        let streams = self.streams.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        streams.filter(|(_, state)| state.compacted_through > 0).map(|(stream, state)| {
            let row = HistoryRow::Stream {
                stream: stream.to_string(),
                compacted_through: state.compacted_through,
                compacted_position: state.compacted_position,
            };
            (HistoryCursor { section: STREAMS, number: 0, name: stream.to_string() }, row)
        })
    }

    /// Visible and hidden events, by position.
    fn facts(&self, after: Position) -> impl Iterator<Item = Row> {
        let mut events = self.events.all(Window::above(after)).peekable();
        let mut traces = self.traces.all(Window::above(after)).peekable();
        iter::from_fn(move || {
            let hidden_first = match (events.peek(), traces.peek()) {
                (Some(event), Some(trace)) => trace.position < event.position,
                (event, _) => event.is_none(),
            };
            let (position, row) = if hidden_first {
                let Trace { position, event_type, tags } = traces.next()?.clone();
                (position, HistoryRow::Trace { position, event_type, tags })
            } else {
                let event = events.next()?;
                (event.position, HistoryRow::Event(event.clone()))
            };
            Some((HistoryCursor { section: EVENTS, number: position.get(), name: String::new() }, row))
        })
    }

    fn id_rows(&self, after: &str) -> impl Iterator<Item = Row> {
        // No id, or one that is not from here, starts at the beginning.
        let after = Uuid::try_parse(after).map_or(Bound::Unbounded, Bound::Excluded);
        self.ids.range((after, Bound::Unbounded)).map(|(id, row)| {
            let cursor = HistoryCursor { section: IDS, number: 0, name: id.to_string() };
            (cursor, HistoryRow::AppendId(row.clone()))
        })
    }

    fn condition_rows(&self, after: Position) -> impl Iterator<Item = Row> {
        self.conditions.range((Bound::Excluded(after), Bound::Unbounded)).map(|(position, condition)| {
            let row = HistoryRow::Condition { position: *position, condition: condition.clone() };
            (HistoryCursor { section: CONDITIONS, number: position.get(), name: String::new() }, row)
        })
    }

    fn log_row(&self) -> Row {
        let Header { head, trimmed_through, compacted_through, audits_conditions } = self.header;
        let row = HistoryRow::Log { head, trimmed_through, compacted_through, audits_conditions };
        (HistoryCursor { section: LOG, number: 0, name: String::new() }, row)
    }
}

impl Transaction<'_> {
    pub(super) fn restore(&mut self, log: &Arc<str>, rows: Vec<HistoryRow>) -> Result<Outcome> {
        let log = self.log_or_new(log);
        log.establish();
        rows.into_iter().try_for_each(|row| log.restore(row))?;
        Ok(Outcome::Done)
    }
}

impl LogState {
    fn restore(&mut self, row: HistoryRow) -> Result<()> {
        match row {
            HistoryRow::Stream { stream, compacted_through, compacted_position } => {
                if self.streams.contains_key(stream.as_str()) {
                    return Err(refused(format!("stream `{stream}` exists")));
                }
                if compacted_through > 0 {
                    if compacted_position > Position::START {
                        self.check_restored(compacted_position)?;
                    }
                    self.set_mark(&stream, compacted_through, compacted_position);
                }
            }
            HistoryRow::Event(event) => self.restore_event(event)?,
            HistoryRow::Trace { position, event_type, tags } => {
                self.check_restored(position)?;
                self.insert_trace(Trace { position, event_type, tags });
            }
            HistoryRow::AppendId(row) => self.restore_id(row)?,
            HistoryRow::Condition { position, condition } => {
                if self.conditions.contains_key(&position) {
                    return Err(refused(format!("a condition at position {position} exists")));
                }
                self.insert_condition(position, condition);
            }
            HistoryRow::Log { head, trimmed_through, compacted_through, audits_conditions } => {
                self.set_header(Header {
                    head: self.header.head.max(head),
                    compacted_through: self.header.compacted_through.max(compacted_through),
                    audits_conditions,
                    ..self.header
                });
                self.trim(trimmed_through);
            }
        }
        Ok(())
    }

    fn restore_event(&mut self, event: Event) -> Result<()> {
        self.check_restored(event.position)?;
        // Its id is derived from this log's name, unless it was given.
        let id = event.given_id();
        let Event { position, stream, seq_nr, event_type, payload, metadata, tags, recorded_at, .. } = event;
        if let Some(stream) = &stream {
            let next = self.stream_head(stream) + 1;
            if seq_nr != next {
                let reason = format!("seq_nr {seq_nr} of stream `{stream}`, whose next is {next}");
                return Err(refused(reason).with("position", position.to_string()));
            }
        }
        let data = EventData { event_type, payload, metadata, tags, id };
        let place = stream.map(|stream| (stream, seq_nr));
        self.insert(Event::recorded(self.name.clone(), position, place, recorded_at, data));
        Ok(())
    }

    fn restore_id(&mut self, row: AppendId) -> Result<()> {
        if self.ids.contains_key(&row.id) {
            return Err(refused(format!("event id {} exists", row.id)));
        }
        self.insert_id(row);
        Ok(())
    }

    fn check_restored(&self, position: Position) -> Result<()> {
        let head = self.header.head;
        if position > head && position.get() <= HIGHEST_NUMBER {
            return Ok(());
        }
        Err(refused(format!("position {position} is not above the log's head {head}")))
    }
}

fn refused(reason: String) -> Error {
    Error::invalid("import", reason).with_hint("a log is imported only above its own head")
}
