//! What was submitted, what was answered, and what may therefore be found after a crash.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use larder_kv::{Client, Error, ErrorKind};

use crate::{
    kv::step::{State, Step, prefix},
    violation::{Promise, Violation},
};

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// It may have been done; nothing is written after it.
    Unknown,
    /// Nothing was written.
    Refused,
}

impl Answer {
    /// What an answer of the client means.
    #[must_use]
    pub fn of(result: &Result<(), Error>) -> Self {
        match result.as_ref().map_err(Error::kind) {
            Ok(()) => Self::Done,
            Err(ErrorKind::CommitUnknown) => Self::Unknown,
            Err(_) => Self::Refused,
        }
    }
}

/// A step of a writer, with the points of the trace at which it was submitted and answered.
#[derive(Debug)]
struct Record {
    step: Step,
    submitted: usize,
    answered: Option<usize>,
}

/// One writer, who submits a step when the one before is answered.
#[derive(Debug, Default)]
struct Writer {
    /// What was there when this life of the file began.
    before: State,
    /// The number of its next step.
    next: u64,
    /// Without those that were refused.
    records: Vec<Record>,
    /// How many of them were synced at which point.
    flushed: Vec<(usize, usize)>,
}

/// The writers of one file.
#[derive(Debug)]
pub struct Ledger {
    seed: u64,
    writers: Vec<Mutex<Writer>>,
}

impl Ledger {
    /// A ledger of an empty file.
    #[must_use]
    pub fn new(seed: u64, writers: u32) -> Self {
        Self { seed, writers: (0..writers).map(|_| Mutex::default()).collect() }
    }

    /// The numbers of the writers.
    pub fn writers(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.writers.len()).unwrap_or(u32::MAX)
    }

    fn writer(&self, writer: u32) -> MutexGuard<'_, Writer> {
        self.writers[writer as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a writer's next step.
    #[must_use]
    pub fn next(&self, writer: u32) -> u64 {
        self.writer(writer).next
    }

    /// Enters a writer's next step at this point of the trace.
    pub fn submit(&self, writer: u32, mark: usize) -> Step {
        let mut own = self.writer(writer);
        let step = Step::of(self.seed, writer, own.next);
        own.next += 1;
        own.records.push(Record { step: step.clone(), submitted: mark, answered: None });
        step
    }

    /// Enters the answer to a writer's last step at this point.
    pub fn answer(&self, writer: u32, answer: Answer, mark: usize) {
        let mut own = self.writer(writer);
        match answer {
            Answer::Done => {
                if let Some(last) = own.records.last_mut() {
                    last.answered = Some(mark);
                }
            }
            Answer::Unknown => {}
            Answer::Refused => drop(own.records.pop()),
        }
    }

    /// All that the writer was answered is durable at this point.
    pub fn flushed(&self, writer: u32, mark: usize) {
        let mut own = self.writer(writer);
        let count = own.records.iter().filter(|record| record.answered.is_some()).count();
        own.flushed.push((count, mark));
    }

    /// How many promises had been made at this point of the trace, of whatever kind.
    #[must_use]
    pub fn promises(&self, mark: usize) -> u64 {
        let of = |writer: &Writer| {
            let answers = writer.records.iter().filter(|r| r.answered.is_some_and(|at| at <= mark)).count();
            let flushes = writer.flushed.iter().filter(|(_, at)| *at <= mark).count();
            (answers + flushes) as u64
        };
        self.writers().map(|writer| of(&self.writer(writer))).sum()
    }

    /// Steps that were answered.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        let count = |writer| self.writer(writer).records.iter().filter(|r| r.answered.is_some()).count();
        self.writers().map(|writer| count(writer) as u64).sum()
    }

    /// Compares a client that was opened after a crash at this point of the trace. An answer was a promise of
    /// durability only if `answers_are_durable`; else a flush is.
    ///
    /// # Errors
    /// The promise that was not kept.
    pub fn check(&self, client: &Client, mark: usize, answers_are_durable: bool) -> Result<Found, Violation> {
        let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in client.scan("").map_err(|error| unusable("scan", &error))? {
            let (key, value) = (entry.key.to_string(), entry.value.to_vec());
            let got = client.get(&key).map_err(|error| unusable("get", &error))?;
            if got != *value {
                return Err(Violation::of(Promise::Consistent, format!("{key}: get and scan differ")));
            }
            entries.insert(key, value);
        }
        if client.size() != entries.len() {
            let found = format!("size is {}, a scan has {} entries", client.size(), entries.len());
            return Err(Violation::of(Promise::Consistent, found));
        }
        let mut found = Found::default();
        for writer in self.writers() {
            let own = self.writer(writer);
            let is_own = |key: &str| key.starts_with(&prefix(writer));
            let mine: BTreeMap<&str, &[u8]> = entries
                .iter()
                .filter(|(key, _)| is_own(key))
                .map(|(key, value)| (&**key, &**value))
                .collect();
            let (kept, state) = own.find(&mine, mark, answers_are_durable, writer)?;
            found.keys += state.len() as u64;
            found.kept.push(kept);
            found.states.push(state);
        }
        self.check_totals(client, &entries, &found)?;
        Ok(found)
    }

    /// No keys but the writers', and every key that was ever written is in the outbox: there is no peer.
    fn check_totals(
        &self,
        client: &Client,
        entries: &BTreeMap<String, Vec<u8>>,
        found: &Found,
    ) -> Result<(), Violation> {
        let is_known = |key: &str| self.writers().any(|writer| key.starts_with(&prefix(writer)));
        if let Some(key) = entries.keys().find(|key| !is_known(key)) {
            return Err(Violation::of(Promise::NothingInvented, format!("{key} was never written")));
        }
        let state = client.sync_state().map_err(|error| unusable("sync_state", &error))?;
        if state.outbox_size != found.keys {
            let what = format!("{} keys were written, the outbox has {}", found.keys, state.outbox_size);
            return Err(Violation::of(Promise::Consistent, what));
        }
        Ok(())
    }

    /// A writer's next step is the one after those that were kept: for writers that can only be told where to begin.
    pub fn go_on_after(&self, writer: u32, kept: usize) {
        let mut own = self.writer(writer);
        let lost = own.records.len() - kept.min(own.records.len());
        own.next -= lost as u64;
    }

    /// Goes on from what was found: what was on its way is decided.
    pub fn settle(&self, found: &Found) {
        for (writer, state) in self.writers().zip(&found.states) {
            let mut own = self.writer(writer);
            own.before.clone_from(state);
            own.records.clear();
            own.flushed.clear();
        }
    }
}

/// What a file was found to hold.
#[derive(Debug, Default)]
pub struct Found {
    /// Per writer: how many of this life's steps.
    pub kept: Vec<usize>,
    /// Keys that were ever written, removed ones among them.
    pub keys: u64,
    states: Vec<State>,
}

impl Writer {
    /// How many of the steps are there, which have to be the first ones: all that were promised, none that was not
    /// submitted.
    fn find(
        &self,
        found: &BTreeMap<&str, &[u8]>,
        mark: usize,
        answers_are_durable: bool,
        writer: u32,
    ) -> Result<(usize, State), Violation> {
        let submitted = self.records.iter().take_while(|record| record.submitted <= mark).count();
        let is_answered = |record: &Record| record.answered.is_some_and(|answered| answered <= mark);
        let promised = if answers_are_durable {
            self.records.iter().rposition(is_answered).map_or(0, |last| last + 1)
        } else {
            self.flushed.iter().filter(|(_, at)| *at <= mark).map(|(count, _)| *count).max().unwrap_or(0)
        };
        let mut state = self.before.clone();
        let mut lost = None;
        for kept in 0..=submitted.max(promised) {
            if is_seen(&state, found) {
                if kept >= promised {
                    return Ok((kept, state));
                }
                lost = Some(kept);
            }
            if let Some(record) = self.records.get(kept) {
                record.step.apply(&mut state);
            }
        }
        if let Some(kept) = lost {
            let what = format!("writer {writer} has {kept} steps, of {promised} that were promised");
            return Err(Violation::of(Promise::NothingLost, what));
        }
        Err(self.explain(found, promised, submitted, writer))
    }

    /// What is wrong with contents that no number of steps leads to.
    fn explain(
        &self,
        found: &BTreeMap<&str, &[u8]>,
        promised: usize,
        submitted: usize,
        writer: u32,
    ) -> Violation {
        let was_written = |key: &str, value: &[u8]| {
            let of_before = self.before.iter();
            let of_steps = self.records.iter().flat_map(|record| &record.step.writes).map(|(k, v)| (k, v));
            of_before.chain(of_steps).any(|(k, v)| k == key && v.as_deref() == Some(value))
        };
        if let Some((key, _)) = found.iter().find(|(key, value)| !was_written(key, value)) {
            return Violation::of(Promise::NothingGarbled, format!("{key} has a value that was never put"));
        }
        let what =
            format!("writer {writer}: no number of steps from {promised} to {submitted} leads to this");
        Violation::of(Promise::AllOrNothing, what)
    }
}

fn is_seen(state: &State, found: &BTreeMap<&str, &[u8]>) -> bool {
    let visible = state.iter().filter_map(|(key, value)| Some((&**key, value.as_deref()?)));
    visible.eq(found.iter().map(|(key, value)| (*key, *value)))
}

/// A call that should have worked.
pub(crate) fn unusable(call: &str, error: &Error) -> Violation {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Violation::of(Promise::Usable, format!("{call}: {error}{cause}"))
}
