//! Snapshots in one ordered map, each with its checksum.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::state::{State, Transaction};
use crate::{
    backend::{
        Finding, Outcome, SnapshotData, SnapshotOperation, SnapshotOutcome, SnapshotPages, SnapshotRead,
        SnapshotSource, SnapshotStats, SnapshotsRead, StoredSnapshot, Taken, VerifyReport, container_digest,
    },
    error::{Error, Result},
    limits::Limits,
    snapshot::{SnapshotPlace, SnapshotSaved, Subject},
};

/// The snapshots of a store.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    rows: BTreeMap<SnapshotPlace, Kept>,
    /// What the batch under way has changed: a place, and what was there before.
    undo: Vec<(SnapshotPlace, Option<Kept>)>,
}

#[derive(Debug, Clone)]
struct Kept {
    snapshot: StoredSnapshot,
    checksum: u32,
}

impl Kept {
    fn checked(&self) -> Result<StoredSnapshot> {
        self.snapshot.check(self.checksum)?;
        Ok(self.snapshot.clone())
    }
}

impl Snapshots {
    fn set(&mut self, snapshot: StoredSnapshot) {
        let (place, checksum) = (snapshot.data.place(), snapshot.checksum());
        let was = self.rows.insert(place.clone(), Kept { snapshot, checksum });
        self.undo.push((place, was));
    }

    fn remove(&mut self, place: &SnapshotPlace) {
        let was = self.rows.remove(place);
        self.undo.push((place.clone(), was));
    }

    /// Removes those at these places, and says how many they were.
    fn remove_all(&mut self, places: &[SnapshotPlace]) -> u64 {
        places.iter().for_each(|place| self.remove(place));
        places.len() as u64
    }

    /// The places of a subject, ascending.
    fn of_subject(
        &self,
        log: &Arc<str>,
        subject: &Subject,
    ) -> impl DoubleEndedIterator<Item = (&SnapshotPlace, &Kept)> {
        let at = |at| SnapshotPlace { log: log.clone(), subject: subject.clone(), at };
        self.rows.range(at(0)..=at(u64::MAX))
    }

    /// All but the newest `keep` of a subject, and this one.
    fn prune(&mut self, saved: &SnapshotPlace, keep: u64) -> u64 {
        let Some(keep) = usize::try_from(keep).ok().filter(|keep| *keep > 0) else { return 0 };
        let places = self.of_subject(&saved.log, &saved.subject).map(|(place, _)| place);
        let old: Vec<_> = places.rev().skip(keep).filter(|place| *place != saved).cloned().collect();
        self.remove_all(&old)
    }

    pub(super) fn drop_log(&mut self, log: &Arc<str>) {
        let places: Vec<_> = self.rows.keys().filter(|place| place.log == *log).cloned().collect();
        self.remove_all(&places);
    }

    /// Makes the changes of the batch final.
    pub(super) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back everything since the last batch.
    pub(super) fn revert(&mut self) {
        while let Some((place, was)) = self.undo.pop() {
            match was {
                Some(was) => drop(self.rows.insert(place, was)),
                None => drop(self.rows.remove(&place)),
            }
        }
    }

    pub(super) fn stats(&self) -> SnapshotStats {
        let bytes = self.rows.values().map(|kept| kept.snapshot.data.container.len() as u64).sum();
        let mut subjects: Vec<_> = self.rows.keys().map(|place| (&place.log, &place.subject)).collect();
        subjects.dedup();
        SnapshotStats::new(self.rows.len() as u64, subjects.len() as u64, bytes)
    }

    pub(super) fn verify(&self, report: &mut VerifyReport) {
        for (place, kept) in &self.rows {
            report.snapshots += 1;
            let Kept { snapshot, checksum } = kept;
            let problem = match snapshot.check(*checksum) {
                Err(error) => error.to_string(),
                Ok(()) if snapshot.data.place() != *place => "a snapshot under another's place".into(),
                Ok(()) => continue,
            };
            report.find(Finding { log: Some(place.log.to_string()), position: None, problem });
        }
    }

    /// Changes what is stored behind the back of its checksum, for tests.
    #[cfg(test)]
    pub(super) fn damage(&mut self, damage: impl Fn(&mut StoredSnapshot)) {
        self.rows.values_mut().for_each(|kept| damage(&mut kept.snapshot));
    }
}

impl Transaction<'_> {
    pub(super) fn change_snapshots(&mut self, operation: SnapshotOperation) -> Result<Outcome> {
        let recorded_at = SystemTime::UNIX_EPOCH + Duration::from_micros(self.now);
        let snapshots = &mut *self.snapshots;
        let outcome = match operation {
            SnapshotOperation::Save { snapshot: data, keep } => {
                let place = data.place();
                snapshots.set(StoredSnapshot { data, recorded_at });
                SnapshotOutcome::Saved(SnapshotSaved::new(snapshots.prune(&place, keep)))
            }
            SnapshotOperation::Delete { log, subject, through } => {
                let places = snapshots.of_subject(&log, &subject).map(|(place, _)| place);
                let places: Vec<_> = places.take_while(|place| place.at <= through).cloned().collect();
                SnapshotOutcome::Deleted(snapshots.remove_all(&places))
            }
            SnapshotOperation::Replace { place, digest, container } => {
                let kept = snapshots.rows.get(&place).map(Kept::checked).transpose()?;
                let same = kept.filter(|kept| container_digest(&kept.data.container) == digest);
                let is_there = same.is_some();
                if let Some(StoredSnapshot { data, recorded_at }) = same {
                    snapshots.set(StoredSnapshot { data: SnapshotData { container, ..data }, recorded_at });
                }
                SnapshotOutcome::Replaced(is_there)
            }
            SnapshotOperation::Restore(snapshot) => {
                let place = snapshot.data.place();
                match snapshots.rows.get(&place).map(Kept::checked).transpose()? {
                    Some(kept) if kept == snapshot => {}
                    Some(_) => {
                        return Err(place.name_in(Error::invalid("import", "a snapshot is there already")));
                    }
                    None => snapshots.set(snapshot),
                }
                return Ok(Outcome::Done);
            }
        };
        Ok(Outcome::Snapshot(outcome))
    }
}

/// The newest snapshot that fits.
pub(super) fn find(state: &State, request: &SnapshotRead) -> Result<Option<StoredSnapshot>> {
    let SnapshotRead { log, subject, before, schema } = request;
    let mut newest_first = state.snapshots.of_subject(log, subject).rev();
    let found = newest_first.find(|(place, kept)| {
        before.is_none_or(|before| place.at < before)
            && schema.as_ref().is_none_or(|schema| kept.snapshot.data.schema.as_ref() == Some(schema))
    });
    found.map(|(_, kept)| kept.checked()).transpose()
}

/// A page of snapshots.
pub(super) fn page<T: Taken>(
    state: &State,
    request: &SnapshotsRead,
    limits: &Limits,
) -> Result<(Vec<T>, Option<SnapshotPlace>, Vec<Finding>)> {
    let rows = &state.snapshots.rows;
    let start = match &request.source {
        SnapshotSource::Store => None,
        SnapshotSource::Log(log) => Some((log, Subject::Query(String::new()))),
        SnapshotSource::Subject(log, subject) => Some((log, subject.clone())),
    };
    let start = start.map(|(log, subject)| SnapshotPlace { log: log.clone(), subject, at: 0 });
    let after = request.after.clone();
    let range: Box<dyn Iterator<Item = _>> = if request.descending {
        let end = after.map_or(Bound::Unbounded, Bound::Excluded);
        Box::new(
            rows.range((Bound::Unbounded, end)).rev().skip_while(|(place, _)| !request.source.holds(place)),
        )
    } else {
        let first = match after.max(start.clone()) {
            Some(first) if Some(&first) == start.as_ref() => Bound::Included(first),
            Some(after) => Bound::Excluded(after),
            None => Bound::Unbounded,
        };
        Box::new(rows.range((first, Bound::Unbounded)))
    };
    let mut pages = SnapshotPages::new(request, limits);
    for (place, kept) in range {
        if !request.source.holds(place) || !pages.has_room()? {
            break;
        }
        pages.push(Some(place.clone()), kept.checked())?;
    }
    Ok(pages.into_parts())
}
