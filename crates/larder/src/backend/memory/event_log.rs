//! The state of one log: its events, streams, ids and conditions, and what takes changes back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use uuid::Uuid;

use super::table::{Table, Trace, Window};
use crate::{
    backend::{AppendId, HiddenRead, LogStats},
    error::MatchingEvent,
    event::{Event, Position},
    event_log::{LogInfo, StreamInfo},
    query::AppendCondition,
};

/// One log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) name: Arc<str>,
    pub(super) header: Header,
    /// What reads see.
    pub(super) events: Table<Event>,
    /// What only conditions see.
    pub(super) traces: Table<Trace>,
    pub(super) streams: BTreeMap<Arc<str>, StreamState>,
    pub(super) ids: BTreeMap<Uuid, AppendId>,
    /// By the first position of the append that each guarded.
    pub(super) conditions: BTreeMap<Position, AppendCondition>,
    /// What the batch under way has changed; empty between batches.
    undo: Vec<Undo>,
    /// Made by the batch under way: it exists once there is a change in it.
    is_new: bool,
}

/// The numbers of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) head: Position,
    pub(super) trimmed_through: Position,
    /// The highest hidden position.
    pub(super) compacted_through: Position,
    pub(super) audits_conditions: bool,
}

/// One stream: its hidden beginning as numbers, its live events by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamState {
    pub(super) compacted_through: u64,
    pub(super) compacted_position: Position,
    /// Of `seq_nr` `compacted_through + 1` and up. Rising.
    pub(super) positions: VecDeque<Position>,
}

impl StreamState {
    pub(super) fn head(&self) -> u64 {
        self.compacted_through + self.positions.len() as u64
    }
}

/// A change, as what takes it back.
#[derive(Debug)]
enum Undo {
    /// Remove the event here, which is the last of its stream.
    Insert(Position),
    /// Show this event again, as the first of its stream; before, the stream's compacted position was this.
    Hide(Event, Position),
    /// Remove the trace here.
    Trace(Position),
    /// Put this trace back.
    Forget(Trace),
    /// Put a stream without live events back as it was.
    Mark(Arc<str>, Option<StreamState>),
    /// Remove the id.
    Id(Uuid),
    /// Remove the condition here.
    Condition(Position),
    /// Put the numbers back.
    Header(Header),
    /// Put the whole log back.
    Drop(Box<LogState>),
}

impl LogState {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            header: Header::default(),
            events: Table::default(),
            traces: Table::default(),
            streams: BTreeMap::new(),
            ids: BTreeMap::new(),
            conditions: BTreeMap::new(),
            undo: Vec::new(),
            is_new: true,
        }
    }

    /// Whether it is more than a name that the batch under way has looked at.
    pub(super) fn exists(&self) -> bool {
        !self.is_new || !self.undo.is_empty()
    }

    pub(super) fn info(&self) -> LogInfo {
        let Header { head, compacted_through, audits_conditions, .. } = self.header;
        LogInfo::new(self.name.to_string(), head, compacted_through, audits_conditions)
    }

    pub(super) fn stream_info(&self, stream: &str) -> Option<StreamInfo> {
        self.streams.get(stream).map(|state| stream_info(stream, state))
    }

    pub(super) fn stats(&self) -> LogStats {
        const TYPES: usize = 1_000;
        let types = self.events.types().take(TYPES).map(|(name, count)| (name.to_owned(), count as u64));
        let (events, streams) = (self.events.len() as u64, self.streams.len() as u64);
        LogStats::new(self.info(), events, streams, types.collect())
    }

    /// The highest `seq_nr` that the stream ever had.
    pub(super) fn stream_head(&self, stream: &str) -> u64 {
        self.streams.get(stream).map_or(0, StreamState::head)
    }

    /// The first hidden event that a query matches.
    pub(super) fn first_hidden(&self, request: &HiddenRead) -> Option<Position> {
        let mut hidden = self.traces.matching(&request.query, Window::above(request.after));
        hidden.next().map(|trace| trace.position).filter(|position| *position <= request.through)
    }

    /// The first events, hidden or not, that are in the way of a condition.
    pub(super) fn in_the_way(&self, condition: &AppendCondition, at_most: usize) -> Vec<MatchingEvent> {
        let AppendCondition { fail_if_events_match: query, after } = condition;
        let visible = self.events.matching(query, Window::above(*after)).take(at_most).map(|event| {
            let Event { position, event_type, tags, .. } = event;
            MatchingEvent::new(*position, event_type.clone(), tags.clone())
        });
        let hidden = self.traces.matching(query, Window::above(*after)).take(at_most).map(|trace| {
            let Trace { position, event_type, tags } = trace.clone();
            MatchingEvent::new(position, event_type, tags)
        });
        let mut found: Vec<_> = visible.chain(hidden).collect();
        found.sort_by_key(|event| event.position);
        found.truncate(at_most);
        found
    }
}

/// What changes a log. Everything else goes through these, so each change is undoable.
impl LogState {
    /// Adds an event above the head; in a stream it is the next one.
    pub(super) fn insert(&mut self, event: Event) {
        let position = event.position;
        assert!(position > self.header.head, "position {position} is not above the head");
        if let Some(stream) = &event.stream {
            assert_eq!(event.seq_nr, self.stream_head(stream) + 1, "sequence numbers have no gaps");
            match self.streams.get_mut(stream) {
                Some(state) => state.positions.push_back(position),
                None => self.streams.entry(stream.clone()).or_default().positions.push_back(position),
            }
        }
        self.events.insert(event);
        self.undo.push(Undo::Insert(position));
        self.set_header(Header { head: position, ..self.header });
    }

    /// Hides an event, which must be the first live one of its stream, and leaves its trace.
    pub(super) fn hide(&mut self, position: Position) {
        let event = self.events.remove(position).expect("only visible events are hidden");
        let Event { event_type, tags, .. } = &event;
        let (event_type, tags) = (event_type.clone(), tags.clone());
        self.traces.insert(Trace { position, event_type, tags });
        let mut compacted_position = Position::START;
        if let Some(state) = event.stream.as_ref().and_then(|stream| self.streams.get_mut(stream)) {
            let first = state.positions.pop_front();
            assert_eq!(first, Some(position), "a stream is hidden from its beginning");
            compacted_position = state.compacted_position;
            state.compacted_through += 1;
            state.compacted_position = position;
        }
        self.undo.push(Undo::Hide(event, compacted_position));
        let compacted_through = self.header.compacted_through.max(position);
        self.set_header(Header { compacted_through, ..self.header });
    }

    /// Adds the trace of an event that was never here, above the head.
    pub(super) fn insert_trace(&mut self, trace: Trace) {
        let position = trace.position;
        assert!(position > self.header.head, "position {position} is not above the head");
        self.traces.insert(trace);
        self.undo.push(Undo::Trace(position));
        let compacted_through = self.header.compacted_through.max(position);
        self.set_header(Header { head: position, compacted_through, ..self.header });
    }

    pub(super) fn forget_trace(&mut self, position: Position) {
        if let Some(trace) = self.traces.remove(position) {
            self.undo.push(Undo::Forget(trace));
        }
    }

    /// Sets the mark of a stream without live events.
    pub(super) fn set_mark(&mut self, stream: &str, compacted_through: u64, compacted_position: Position) {
        let stream: Arc<str> = stream.into();
        let marked = StreamState { compacted_through, compacted_position, positions: VecDeque::new() };
        let was = self.streams.insert(stream.clone(), marked);
        assert!(was.as_ref().is_none_or(|was| was.positions.is_empty()), "live events would be lost");
        self.undo.push(Undo::Mark(stream, was));
    }

    pub(super) fn insert_id(&mut self, id: AppendId) {
        self.undo.push(Undo::Id(id.id));
        let replaced = self.ids.insert(id.id, id);
        assert!(replaced.is_none(), "an id is kept once");
    }

    pub(super) fn insert_condition(&mut self, position: Position, condition: AppendCondition) {
        let replaced = self.conditions.insert(position, condition);
        assert!(replaced.is_none(), "an append has one condition");
        self.undo.push(Undo::Condition(position));
    }

    pub(super) fn set_header(&mut self, header: Header) {
        if header != self.header {
            self.undo.push(Undo::Header(self.header));
            self.header = header;
        }
    }

    /// Empties the log, all but these numbers.
    pub(super) fn clear(&mut self, header: Header) {
        let empty = Self { header, is_new: self.is_new, ..Self::new(self.name.clone()) };
        let mut dropped = std::mem::replace(self, empty);
        self.undo = std::mem::take(&mut dropped.undo);
        self.undo.push(Undo::Drop(Box::new(dropped)));
    }

    /// Makes the log exist, even if it stays empty.
    pub(super) fn establish(&mut self) {
        if !self.exists() {
            self.undo.push(Undo::Header(self.header));
        }
    }

    /// Makes the changes of the batch final; whether there were any.
    pub(super) fn keep(&mut self) -> bool {
        let changed = !self.undo.is_empty();
        self.is_new &= !changed;
        self.undo.clear();
        changed
    }

    /// Takes back everything since the last batch.
    pub(super) fn revert(&mut self) {
        while let Some(undo) = self.undo.pop() {
            self.take_back(undo);
        }
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::Insert(position) => {
                let event = self.events.remove(position);
                if let Some(stream) = event.and_then(|event| event.stream)
                    && let Some(state) = self.streams.get_mut(&stream)
                {
                    state.positions.pop_back();
                    if state.head() == 0 {
                        self.streams.remove(&stream);
                    }
                }
            }
            Undo::Hide(event, compacted_position) => {
                self.traces.remove(event.position);
                if let Some(state) = event.stream.as_ref().and_then(|stream| self.streams.get_mut(stream)) {
                    state.positions.push_front(event.position);
                    state.compacted_through -= 1;
                    state.compacted_position = compacted_position;
                }
                self.events.insert(event);
            }
            Undo::Trace(position) => drop(self.traces.remove(position)),
            Undo::Forget(trace) => self.traces.insert(trace),
            Undo::Mark(stream, Some(was)) => drop(self.streams.insert(stream, was)),
            Undo::Mark(stream, None) => drop(self.streams.remove(&stream)),
            Undo::Id(id) => drop(self.ids.remove(&id)),
            Undo::Condition(position) => drop(self.conditions.remove(&position)),
            Undo::Header(header) => self.header = header,
            Undo::Drop(dropped) => {
                let undo = std::mem::take(&mut self.undo);
                *self = *dropped;
                self.undo = undo;
            }
        }
    }
}

pub(super) fn stream_info(stream: &str, state: &StreamState) -> StreamInfo {
    StreamInfo::new(stream.to_owned(), state.head(), state.compacted_through, state.compacted_position)
}
