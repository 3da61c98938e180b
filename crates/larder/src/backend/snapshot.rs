//! What a backend is asked about snapshots.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::{
    clock::micros_since_epoch,
    codec::{Header, Place},
    error::{Error, ErrorKind, Result},
    limits::{Limits, check_key},
    snapshot::{SnapshotInfo, SnapshotPlace, SnapshotSaved, Subject, check_at},
};

/// A change of snapshots.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SnapshotOperation {
    /// Saves a snapshot, in place of the one at the same place if there is one, and then removes all but the newest
    /// `keep` of its subject (and itself); 0 keeps all. A failure to remove fails nothing.
    Save {
        /// What to save.
        snapshot: SnapshotData,
        /// How many of the subject to keep.
        keep: u64,
    },
    /// Deletes the snapshots of a subject through this place.
    Delete {
        /// The log.
        log: Arc<str>,
        /// The subject.
        subject: Subject,
        /// The last place.
        through: u64,
    },
    /// Puts another container in place of one, if that is still there as it was; `recorded_at` stays.
    Replace {
        /// The place.
        place: SnapshotPlace,
        /// The [`container_digest`] of the container that is there.
        digest: [u8; 16],
        /// The new container.
        container: Vec<u8>,
    },
    /// Writes a snapshot as it was elsewhere. `InvalidArgument` (`import`) if another one is at its place; the same
    /// one is fine.
    Restore(StoredSnapshot),
}

/// A snapshot to save. The store's clock says when it was recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotData {
    /// The log.
    pub log: Arc<str>,
    /// What it is of.
    pub subject: Subject,
    /// Of a stream a `seq_nr`, of a query a position.
    pub at: u64,
    /// What its state is written in.
    pub schema: Option<String>,
    /// The state's container: see `docs/formats/snapshot.md`. To a backend it is bytes.
    pub container: Vec<u8>,
}

impl SnapshotData {
    /// Checks what comes from elsewhere: names, place, the container's header.
    pub(crate) fn check(&self) -> Result<()> {
        self.subject.check()?;
        check_at(self.at)?;
        self.schema.as_deref().map_or(Ok(()), |schema| check_key("schema", schema))?;
        Header::parse(&self.container).map(drop)
    }

    /// Where it belongs.
    #[must_use]
    pub fn place(&self) -> SnapshotPlace {
        SnapshotPlace { log: self.log.clone(), subject: self.subject.clone(), at: self.at }
    }
}

/// The state may be secret, and is long: it is not shown.
impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotData")
            .field("log", &self.log)
            .field("subject", &self.subject)
            .field("at", &self.at)
            .field("schema", &self.schema)
            .field("container", &format_args!("{} bytes", self.container.len()))
            .finish()
    }
}

/// A snapshot as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// What was saved.
    pub data: SnapshotData,
    /// When, to the microsecond.
    pub recorded_at: SystemTime,
}

impl StoredSnapshot {
    /// CRC-32C over what it says and where it belongs: `docs/formats/snapshot.md` has the bytes. A backend keeps it
    /// and compares it at every read.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        let SnapshotData { log, subject, at, schema, container } = &self.data;
        let place = Place { log, subject, at: *at, schema: schema.as_deref() };
        checksum(&place, micros_since_epoch(self.recorded_at), container)
    }

    /// Compares the checksum.
    ///
    /// # Errors
    /// `Corrupted`, with the place.
    pub fn check(&self, checksum: u32) -> Result<()> {
        if self.checksum() == checksum {
            return Ok(());
        }
        let error = Error::corrupted("a snapshot whose checksum does not match");
        Err(self
            .data
            .place()
            .name_in(error)
            .with_hint("run `larder verify` to find everything that is damaged"))
    }
}

/// The same, of borrowed parts.
pub(crate) fn checksum(place: &Place<'_>, recorded_at: u64, container: &[u8]) -> u32 {
    let mut head = place.bytes();
    head.extend(recorded_at.to_le_bytes());
    head.extend((container.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), container)
}

/// A digest of a container, to tell whether it is still the same: SHA-256, cut to 16 bytes.
#[must_use]
pub fn container_digest(container: &[u8]) -> [u8; 16] {
    use sha2::{Digest, Sha256};
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(container)[..16]);
    digest
}

/// What an operation on snapshots answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotOutcome {
    /// To a save.
    Saved(SnapshotSaved),
    /// To a delete: how many there were.
    Deleted(u64),
    /// To a replacement: whether the container was the expected one.
    Replaced(bool),
}

/// A request for one snapshot of a subject: the newest that fits.
#[derive(Debug, Clone)]
pub struct SnapshotRead {
    /// The log.
    pub log: Arc<str>,
    /// The subject.
    pub subject: Subject,
    /// Only those strictly below this place.
    pub before: Option<u64>,
    /// Only those of this schema.
    pub schema: Option<String>,
}

/// Which snapshots to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotSource {
    /// All of the store.
    Store,
    /// Those of a log.
    Log(Arc<str>),
    /// Those of a subject.
    Subject(Arc<str>, Subject),
}

impl SnapshotSource {
    /// Whether a place is in it.
    #[must_use]
    pub fn holds(&self, place: &SnapshotPlace) -> bool {
        match self {
            Self::Store => true,
            Self::Log(log) => *log == place.log,
            Self::Subject(log, subject) => *log == place.log && *subject == place.subject,
        }
    }
}

/// A request for a page of snapshots, by log, subject and place.
#[derive(Debug, Clone)]
pub struct SnapshotsRead {
    /// Which.
    pub source: SnapshotSource,
    /// Exclusive: above it when ascending, below it when descending.
    pub after: Option<SnapshotPlace>,
    /// The most snapshots.
    pub limit: Option<usize>,
    /// Ends the page with the snapshot that reaches so many bytes of containers.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
    /// One that fails its checksum does not fail the read, but is found by [`SnapshotPage::damaged`].
    pub pass_over_damaged: bool,
}

/// A page of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The snapshots.
    pub snapshots: Vec<StoredSnapshot>,
    /// Where to go on; `None` at the end.
    pub next: Option<SnapshotPlace>,
    /// What was passed over.
    pub damaged: Vec<Finding>,
}

/// Gathers a page of snapshots, or of what is known of them: one after another until it is full.
#[derive(Debug)]
pub(crate) struct SnapshotPages<T> {
    limit: usize,
    over_limit_is_an_error: bool,
    max_bytes: Option<usize>,
    bytes: usize,
    found: Vec<T>,
    last: Option<SnapshotPlace>,
    has_more: bool,
    pass_over_damaged: bool,
    damaged: Vec<Finding>,
}

impl<T: Taken> SnapshotPages<T> {
    pub(crate) fn new(request: &SnapshotsRead, limits: &Limits) -> Self {
        let (limit, over_limit_is_an_error) = limits.page_rows(request.limit);
        let (max_bytes, found) = (request.max_bytes, Vec::new());
        Self {
            limit,
            over_limit_is_an_error,
            max_bytes,
            bytes: 0,
            found,
            last: None,
            has_more: false,
            pass_over_damaged: request.pass_over_damaged,
            damaged: Vec::new(),
        }
    }

    /// Whether it has room for another one; if not, the page ends here.
    pub(crate) fn has_room(&mut self) -> Result<bool> {
        let full = self.found.len() >= self.limit;
        if full && self.over_limit_is_an_error {
            let limit = self.limit as u64;
            return Err(Error::too_large("snapshots of a read", limit, limit + 1)
                .with_hint("give a limit, or iterate with `each`"));
        }
        let enough = self.max_bytes.is_some_and(|most| self.bytes >= most) && !self.found.is_empty();
        self.has_more = full || enough;
        Ok(!self.has_more)
    }

    /// Adds what is taken of a snapshot that was read. A damaged one is listed as such, or passed over, if that was asked
    /// for; otherwise it fails the read. If even its place cannot be read, it cannot be listed.
    pub(crate) fn push(&mut self, place: Option<SnapshotPlace>, read: Result<StoredSnapshot>) -> Result<()> {
        let taken = match read.and_then(T::of) {
            Ok(taken) => taken,
            Err(error) if *error.kind() != ErrorKind::Corrupted => return Err(error),
            Err(error) => match place.as_ref().and_then(|place| T::damaged(place, &error)) {
                Some(taken) => taken,
                None if self.pass_over_damaged => {
                    let log = place.map(|place| place.log.to_string());
                    self.damaged.push(Finding { log, position: None, problem: error.to_string() });
                    return Ok(());
                }
                None => return Err(error),
            },
        };
        self.last = place;
        self.bytes += taken.bytes();
        self.found.push(taken);
        Ok(())
    }

    /// What was found, where to go on, and what was passed over.
    pub(crate) fn into_parts(self) -> (Vec<T>, Option<SnapshotPlace>, Vec<Finding>) {
        (self.found, self.last.filter(|_| self.has_more), self.damaged)
    }
}

/// What a page takes of each snapshot.
pub(crate) trait Taken: Sized {
    fn of(snapshot: StoredSnapshot) -> Result<Self>;
    /// What there is to say of a damaged one, if anything.
    fn damaged(place: &SnapshotPlace, error: &Error) -> Option<Self>;
    /// How much of it counts against the bytes of a page.
    fn bytes(&self) -> usize;
}

impl Taken for StoredSnapshot {
    fn of(snapshot: StoredSnapshot) -> Result<Self> {
        Ok(snapshot)
    }

    fn damaged(_: &SnapshotPlace, _: &Error) -> Option<Self> {
        None
    }

    fn bytes(&self) -> usize {
        self.data.container.len()
    }
}

impl Taken for SnapshotInfo {
    fn of(snapshot: StoredSnapshot) -> Result<Self> {
        Self::of(&snapshot)
    }

    fn damaged(place: &SnapshotPlace, error: &Error) -> Option<Self> {
        Some(Self::damaged_at(place.clone(), error.to_string()))
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Numbers about the snapshots of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotStats {
    /// How many there are.
    pub snapshots: u64,
    /// How many streams and queries have one.
    pub subjects: u64,
    /// The bytes of their containers.
    pub bytes: u64,
}

impl SnapshotStats {
    /// The numbers, for backends.
    #[must_use]
    pub fn new(snapshots: u64, subjects: u64, bytes: u64) -> Self {
        Self { snapshots, subjects, bytes }
    }
}
