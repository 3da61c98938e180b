//! What hides events: compaction, raised marks, trimming, dropping; and forgetting what was hidden.

use std::sync::Arc;

use super::{
    event_log::{Header, LogState},
    state::Transaction,
    table::Window,
};
use crate::{
    backend::{Operation, Outcome},
    error::{Error, Result},
    event::Position,
    event_log::{Compacted, Trimmed},
};

impl Transaction<'_> {
    pub(super) fn compact(&mut self, log: &Arc<str>, stream: &str, through: u64) -> Outcome {
        let through = self.known_log(log).map_or(0, |log| log.compact(stream, through));
        Outcome::Compacted(Compacted::new(through))
    }

    pub(super) fn raise_mark(&mut self, log: &Arc<str>, stream: &str, through: u64) -> Result<Outcome> {
        let through = self.log_or_new(log).raise_mark(stream, through)?;
        Ok(Outcome::Compacted(Compacted::new(through)))
    }

    pub(super) fn trim(&mut self, log: &Arc<str>, through: Position) -> Outcome {
        let through = self.known_log(log).map_or(Position::START, |log| log.trim(through));
        Outcome::Trimmed(Trimmed::new(through))
    }

    pub(super) fn forget(&mut self, log: &Arc<str>, through: Position) -> Outcome {
        if let Some(log) = self.known_log(log) {
            log.forget(through);
        }
        Outcome::Done
    }

    pub(super) fn drop_log(&mut self, log: &Arc<str>) -> Outcome {
        if let Some(log) = self.known_log(log) {
            log.drop_contents();
        }
        Outcome::Done
    }
}

impl Transaction<'_> {
    /// Refuses to hide what a projection has not read yet.
    pub(super) fn check_projections(&self, operation: &Operation) -> Result<()> {
        let log = |name: &Arc<str>| self.logs().get(name).filter(|log| log.exists());
        let (name, last) = match operation {
            Operation::Compact { log: name, stream, through } => {
                (name, log(name).and_then(|log| log.last_through(stream, *through)))
            }
            Operation::Trim { log: name, through } => {
                (name, log(name).map(|log| log.header.head.min(*through)))
            }
            Operation::DropLog { log: name } => (name, log(name).map(|log| log.header.head)),
            _ => return Ok(()),
        };
        last.map_or(Ok(()), |last| self.projections.behind(name, last))
    }
}

impl LogState {
    /// The position of the last live event of a stream through this `seq_nr`.
    fn last_through(&self, stream: &str, through: u64) -> Option<Position> {
        let state = self.streams.get(stream)?;
        let live = through.min(state.head()).checked_sub(state.compacted_through + 1)?;
        state.positions.get(usize::try_from(live).ok()?).copied()
    }

    /// Hides a stream's events through this `seq_nr`, and answers its mark.
    fn compact(&mut self, stream: &str, through: u64) -> u64 {
        let Some(state) = self.streams.get(stream) else { return 0 };
        let mark = through.clamp(state.compacted_through, state.head());
        let hidden = usize::try_from(mark - state.compacted_through).expect("no more than are in memory");
        let hidden: Vec<Position> = state.positions.iter().take(hidden).copied().collect();
        hidden.into_iter().for_each(|position| self.hide(position));
        mark
    }

    fn raise_mark(&mut self, stream: &str, through: u64) -> Result<u64> {
        let (mark, position) = match self.streams.get(stream) {
            Some(state) if !state.positions.is_empty() => {
                let reason =
                    "the stream has live events; a mark is raised only before its first or after all";
                return Err(Error::invalid("stream", reason).with("stream", stream));
            }
            Some(state) => (state.compacted_through, state.compacted_position),
            None => (0, Position::START),
        };
        if through > mark {
            self.set_mark(stream, through, position);
        }
        Ok(through.max(mark))
    }

    /// Hides the events through this position, and answers through where the log is trimmed.
    pub(super) fn trim(&mut self, through: Position) -> Position {
        let through = through.min(self.header.head).max(self.header.trimmed_through);
        let ascending = Window { after: None, descending: false };
        let positions = self.events.all(ascending).map(|event| event.position);
        let hidden: Vec<Position> = positions.take_while(|position| *position <= through).collect();
        hidden.into_iter().for_each(|position| self.hide(position));
        self.set_header(Header { trimmed_through: through, ..self.header });
        through
    }

    fn forget(&mut self, through: Position) {
        let ascending = Window { after: None, descending: false };
        let positions = self.traces.all(ascending).map(|trace| trace.position);
        let forgotten: Vec<Position> = positions.take_while(|position| *position <= through).collect();
        forgotten.into_iter().for_each(|position| self.forget_trace(position));
    }

    /// Everything goes but the head. Who follows the log from below is to be told, so it counts as hidden.
    fn drop_contents(&mut self) {
        let head = self.header.head;
        self.clear(Header { head, trimmed_through: head, compacted_through: head, audits_conditions: false });
    }
}
