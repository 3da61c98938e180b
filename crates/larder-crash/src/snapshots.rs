//! Snapshots that batches save beside their events, each by its own name, and the check that both came together.

use std::collections::{BTreeMap, BTreeSet};

use larder::{EventLog, SaveSnapshot, Snapshot, Subject, Write};

use crate::{
    check::Contents,
    ledger::{Fate, Record},
    step::StepId,
    violation::{OrUnusable, Promise, Violation},
};

/// The snapshot of a batch's step: its writer is the stream, its number the place.
pub(crate) fn save(log: &EventLog, step: StepId) -> Write<SaveSnapshot> {
    let place = u64::from(step.index) + 1;
    log.snapshots().save(stream(step.writer), place, &state(step)).schema("step").keep(0)
}

fn stream(writer: u32) -> String {
    format!("writer-{writer}")
}

/// Short, long enough to be compressed, or longer than pages.
fn state(step: StepId) -> String {
    let noise =
        (0..step.index * 61 % 2_500).map(|n| char::from(b'a' + u8::try_from(n * n % 23).unwrap_or(0)));
    noise.chain(step.to_string().chars()).collect()
}

/// The step whose snapshot this is, if it says what was saved.
pub(crate) fn step_of(snapshot: &Snapshot) -> Option<StepId> {
    let Subject::Stream(stream) = &snapshot.subject else { return None };
    let writer = stream.strip_prefix("writer-")?.parse().ok()?;
    let step = StepId { writer, index: u32::try_from(snapshot.at.checked_sub(1)?).ok()? };
    let is_it = snapshot.schema.as_deref() == Some("step")
        && snapshot.decode::<String>().is_ok_and(|found| found == state(step));
    is_it.then_some(step)
}

/// Every snapshot of a log, by listing them and reading each.
pub(crate) fn read_all(log: &EventLog) -> larder::Result<Vec<Snapshot>> {
    let (snapshots, mut found) = (log.snapshots(), Vec::new());
    for info in snapshots.all().wait()? {
        found.extend(snapshots.before(&info.subject, info.at + 1).wait()?);
    }
    Ok(found)
}

/// A batch's snapshot is there if its events are, and only then.
///
/// # Errors
/// The first one that is lost, invented or garbled.
pub(crate) fn check(
    log: &EventLog,
    contents: &Contents,
    records: &BTreeMap<StepId, Record>,
    point: usize,
) -> Result<(), Violation> {
    let mut there = BTreeSet::new();
    for snapshot in read_all(log).or_unusable("read snapshots")? {
        let garbled =
            || Violation::of(Promise::NothingGarbled, format!("{snapshot:?} is not what was saved"));
        there.insert(step_of(&snapshot).ok_or_else(garbled)?);
    }
    let batches = records.values().filter(|record| record.step.is_batch());
    for record in batches {
        let step = record.step.id;
        let found = there.remove(&step);
        let has_events = contents.holds(&record.step);
        match record.fate(point) {
            Fate::Must(_) if !found => {
                return Err(Violation::of(Promise::NothingLost, format!("the snapshot of {step} is gone")));
            }
            Fate::Never if found => {
                let what = format!("the snapshot of {step} was refused or never submitted");
                return Err(Violation::of(Promise::NothingInvented, what));
            }
            _ if found != has_events => {
                let what = format!("{step}: its snapshot is there: {found}, its events: {has_events}");
                return Err(Violation::of(Promise::AllOrNothing, what));
            }
            _ => {}
        }
    }
    match there.first() {
        None => Ok(()),
        Some(step) => {
            Err(Violation::of(Promise::NothingInvented, format!("nobody saved a snapshot of {step}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder::Store;

    use super::*;
    use crate::step::{LOG, Step};

    /// The check can fail: a snapshot without its events, one that says something else, and one of nobody.
    #[test]
    fn what_did_not_come_together_is_found() {
        let log = Store::memory().event_log(LOG).unwrap();
        let ids = (0..).map(|index| StepId { writer: 0, index });
        let batch = ids.map(|id| Step::of(1, id)).find(Step::is_batch).unwrap();
        let id = batch.id;
        let record = Record { step: Arc::new(batch), submitted_at: 0, target: 0, answer: None };
        let records = BTreeMap::from([(id, record)]);
        let contents = Contents { events: Vec::new(), by_name: std::collections::HashMap::new() };
        let promise = |log: &EventLog, records: &BTreeMap<StepId, Record>| {
            check(log, &contents, records, 0).err().map(|violation| violation.promise)
        };
        assert_eq!(promise(&log, &records), None);
        save(&log, id).wait().unwrap();
        assert_eq!(promise(&log, &records), Some(Promise::AllOrNothing));
        assert_eq!(promise(&log, &BTreeMap::new()), Some(Promise::NothingInvented));
        log.snapshots().save(stream(0), u64::from(id.index) + 1, "another").schema("step").wait().unwrap();
        assert_eq!(promise(&log, &records), Some(Promise::NothingGarbled));
    }
}
