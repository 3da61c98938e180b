//! What was submitted, what was answered, and when: against it a store is checked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use larder::Appended;

use crate::{
    step::{Deed, Step, StepId},
    violation::{Promise, Violation},
};

/// What a step was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its parts were appended. `None` in place of what a dishonest store did not know yet.
    Appended(Vec<Option<Appended>>),
    /// The stream is hidden through this sequence number.
    Compacted(u64),
    /// Every task that was there has failed, and the projection has caught up.
    Worked,
    /// Nothing was written.
    Refused,
    /// It is not known.
    Unknown,
}

/// One step's history. Times are points of a trace, or all 0 where nothing is traced.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is.
    pub step: Arc<Step>,
    /// When it was submitted.
    pub submitted_at: usize,
    /// Of a compaction: through which sequence number. Of a batch: which task it acknowledges, if any.
    pub target: u64,
    /// What was answered and when.
    pub answer: Option<(Answer, usize)>,
}

/// What must be true of a step after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It was acknowledged: it is there.
    Must(&'a Answer),
    /// It was on its way: it is there, all of it, or not at all.
    May,
    /// It was refused, or never submitted: it is not there.
    Never,
}

impl Record {
    /// What must be true of it at a point of the trace.
    #[must_use]
    pub fn fate(&self, point: usize) -> Fate<'_> {
        if self.submitted_at > point {
            return Fate::Never;
        }
        match &self.answer {
            // It never was on the disk, at no time.
            Some((Answer::Refused, _)) => Fate::Never,
            Some((Answer::Unknown, _)) | None => Fate::May,
            Some((answer, at)) if *at <= point => Fate::Must(answer),
            Some(_) => Fate::May,
        }
    }

    /// The stream it compacts and through where, if it does.
    #[must_use]
    pub fn compaction(&self) -> Option<(&str, u64)> {
        match &self.step.deed {
            Deed::Compact { stream, .. } => Some((stream, self.target)),
            Deed::Append { .. } | Deed::Work => None,
        }
    }
}

/// The records of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    records: Mutex<BTreeMap<StepId, Record>>,
}

impl Ledger {
    /// Notes that a step is about to be submitted.
    pub fn submit(&self, step: Arc<Step>, target: u64, at: usize) {
        let id = step.id;
        self.records().insert(id, Record { step, submitted_at: at, target, answer: None });
    }

    /// Notes what a step was answered.
    pub fn answer(&self, id: StepId, answer: Answer, at: usize) {
        if let Some(record) = self.records().get_mut(&id) {
            record.answer = Some((answer, at));
        }
    }

    /// All of them.
    pub fn records(&self) -> MutexGuard<'_, BTreeMap<StepId, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that every acknowledged append was told its places.
    ///
    /// # Errors
    /// The first one that was not.
    pub fn check_answers(&self) -> Result<(), Violation> {
        for record in self.records().values() {
            let Some((Answer::Appended(parts), _)) = &record.answer else { continue };
            if parts.iter().any(Option::is_none) {
                let found = format!("{} was acknowledged without its places", record.step.id);
                return Err(Violation::of(Promise::Truthful, found));
            }
        }
        Ok(())
    }

    /// How many steps were acknowledged at a point of the trace.
    pub fn acknowledged(&self, point: usize) -> usize {
        self.records().values().filter(|record| matches!(record.fate(point), Fate::Must(_))).count()
    }
}
