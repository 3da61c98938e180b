//! What each write of snapshots answers, and how they are listed in pages.

use serde::{Deserialize, Serialize};

use super::{SnapshotInfo, SnapshotPlace};
use crate::{
    backend::{Backend, BoxFuture, Outcome, SnapshotOutcome, SnapshotsRead},
    error::Result,
    page::{Page, PageOptions, Row, sealed::Sealed},
    write_kind::write_kind,
};

/// What saving a snapshot answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotSaved {
    /// How many older ones of the subject were removed.
    pub pruned: u64,
}

impl SnapshotSaved {
    /// What a save answers, for backends.
    #[must_use]
    pub fn new(pruned: u64) -> Self {
        Self { pruned }
    }
}

write_kind! {
    /// The kind of a saved snapshot: answers [`SnapshotSaved`].
    SaveSnapshot => SnapshotSaved, Outcome::Snapshot(SnapshotOutcome::Saved(saved)) => saved;
    /// The kind of a deletion of snapshots: answers how many there were.
    DeleteSnapshots => u64, Outcome::Snapshot(SnapshotOutcome::Deleted(count)) => count;
}

impl Sealed for SnapshotInfo {}

impl Row for SnapshotInfo {
    type After = SnapshotPlace;
    type Request = SnapshotsRead;

    fn read(backend: &dyn Backend, request: SnapshotsRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.list_snapshots(request)
    }

    fn page_options(request: &mut SnapshotsRead) -> PageOptions<'_, SnapshotPlace> {
        let SnapshotsRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}
