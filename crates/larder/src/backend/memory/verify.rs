//! Re-checks everything: order, contiguity, indexes, and audited conditions.

use super::{
    event_log::LogState,
    state::State,
    table::{Labelled, Table, Window},
};
use crate::{
    backend::{Finding, Progress, VerifyReport},
    event::{Event, Position},
    query::AppendCondition,
};

pub(super) fn verify(state: &State, progress: &Progress) -> VerifyReport {
    let mut report = VerifyReport::default();
    let total = state.logs.len() as u64;
    for (done, log) in (1..).zip(state.logs.values()) {
        LogCheck { log, report: &mut report }.run();
        progress.report(done, total);
    }
    for query_db in state.query_dbs.values() {
        let (items, entries) = query_db.verify(|finding| report.find(finding));
        report.items += items;
        report.index_entries += entries;
    }
    state.snapshots.verify(&mut report);
    state.task_buckets.verify(&mut report);
    report.projections += state.projections.infos().len() as u64;
    report
}

struct LogCheck<'a> {
    log: &'a LogState,
    report: &'a mut VerifyReport,
}

impl LogCheck<'_> {
    fn run(&mut self) {
        for event in self.log.events.all(Window::above(Position::START)) {
            self.check_event(event);
        }
        self.check_streams();
        self.check_index(&self.log.events, "event");
        self.check_index(&self.log.traces, "trace");
        for (position, condition) in &self.log.conditions {
            self.check_condition(*position, condition);
        }
    }

    fn check_event(&mut self, event: &Event) {
        self.report.events += 1;
        let Event { position, stream, seq_nr, .. } = event;
        if *position > self.log.header.head {
            self.find(*position, format!("lies above the head, {}", self.log.header.head));
        }
        if *position <= self.log.header.trimmed_through {
            self.find(*position, "is visible, though the log was trimmed beyond it".into());
        }
        if self.log.traces.get(*position).is_some() {
            self.find(*position, "is both visible and hidden".into());
        }
        if let Some(stream) = stream {
            let place = self.log.streams.get(stream).and_then(|state| {
                let place = seq_nr.checked_sub(state.compacted_through + 1)?;
                state.positions.get(usize::try_from(place).ok()?)
            });
            if place != Some(position) {
                self.find(*position, format!("is not where stream `{stream}` has its seq_nr {seq_nr}"));
            }
        } else if *seq_nr != 0 {
            self.find(*position, format!("has seq_nr {seq_nr}, but no stream"));
        }
    }

    /// With every event found in its stream, the streams are whole if they hold no more than that.
    fn check_streams(&mut self) {
        for (stream, state) in &self.log.streams {
            for position in &state.positions {
                let event = self.log.events.get(*position);
                if event.is_none_or(|event| event.stream.as_ref() != Some(stream)) {
                    self.find(*position, format!("is missing from stream `{stream}`"));
                }
            }
            if state.positions.iter().zip(state.positions.iter().skip(1)).any(|(one, next)| one >= next) {
                let first = state.positions.front().copied().unwrap_or_default();
                self.find(first, format!("stream `{stream}` is not in the order of positions"));
            }
        }
    }

    fn check_index<T: Labelled>(&mut self, table: &Table<T>, row: &str) {
        let (entries, wrong) = table.check_index();
        self.report.index_entries += entries;
        for (position, problem) in wrong {
            self.find(position, format!("the {row} {problem}"));
        }
    }

    /// Replays the decision: nothing between what it was based on and what it let in may match.
    fn check_condition(&mut self, position: Position, condition: &AppendCondition) {
        self.report.conditions += 1;
        if let Some(first) = self.log.in_the_way(condition, 1).first()
            && first.position < position
        {
            let problem = format!("was appended though its condition matched position {}", first.position);
            self.find(position, problem);
        }
    }

    fn find(&mut self, position: Position, problem: String) {
        let log = Some(self.log.name.to_string());
        self.report.find(Finding { log, position: Some(position), problem });
    }
}
