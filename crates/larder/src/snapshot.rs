//! Snapshots: saved states of streams and of named queries, so that recovery need not begin at the first event.

mod answer;
mod kind;
mod recovery;
mod reencrypt;
mod subject;

use std::sync::Arc;

use serde::Serialize;

pub(crate) use self::subject::check_at;
pub use self::{
    answer::{Snapshot, SnapshotInfo, SnapshotPlace},
    kind::{DeleteSnapshots, SaveSnapshot, SnapshotSaved},
    recovery::Recovered,
    reencrypt::Reencrypted,
    subject::{IntoSubject, NamedQuery, Subject},
};
use crate::{
    backend::{Operation, SnapshotData, SnapshotOperation, SnapshotRead, SnapshotSource, SnapshotsRead},
    codec::{Codec, Place, seal},
    error::{Error, Result},
    limits::check_key,
    operation::{Call, Read, Write},
    store::Store,
};

/// The snapshots of a log. Cheap to clone.
///
/// A stream is named by its id, and the place in it is a `seq_nr`; a query of the log is named by
/// [`Subject::query`], and the place is a [`Position`](crate::Position). Every method takes either.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("counters")?;
/// log.append("clicks", 0, (1..=5_u64).map(|n| NewEvent::new("Added", &n))).wait()?;
/// let snapshots = log.snapshots();
/// snapshots.save("clicks", 3, &6_u64).wait()?; // the sum of the first three
///
/// let add = |sum: u64, event: &larder::Event| Ok(sum + event.decode::<u64>()?);
/// let recovered = snapshots.recover("clicks", None, || 0, add).wait()?;
/// assert_eq!((recovered.state, recovered.at, recovered.snapshot_at), (15, 5, Some(3)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    log: Arc<str>,
    codec: Codec,
    keep: u64,
}

impl Snapshots {
    pub(crate) fn new(store: Store, log: Arc<str>) -> Self {
        let options = store.snapshot_options().clone();
        Self { store, log, codec: options.codec, keep: options.keep }
    }

    /// Uses another codec than the store's, and its keys.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Keeps so many snapshots of a subject when one is saved: the newest ones. 0 keeps all. The store's default is 3.
    #[must_use]
    pub fn keep(mut self, snapshots: u64) -> Self {
        self.keep = snapshots;
        self
    }

    /// Saves a state as JSON, in place of the one at the same place if there is one. Then older ones of the subject
    /// are removed: see [`keep`](Self::keep). That never fails the save.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name or place, or a state that cannot be written as JSON; `TooLarge` beyond
    /// [`Limits::snapshot_bytes`](crate::Limits::snapshot_bytes); those of any commit.
    pub fn save<S: IntoSubject>(
        &self,
        subject: S,
        at: S::At,
        state: &(impl Serialize + ?Sized),
    ) -> Write<SaveSnapshot> {
        let json = serde_json::to_vec(state)
            .map_err(|error| Error::invalid("state", "it cannot be written as JSON").caused_by(error));
        self.save_state(subject.into_subject(), at.into(), true, json)
    }

    /// Saves a state that is not JSON. Otherwise as [`save`](Self::save).
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_bytes<S: IntoSubject>(
        &self,
        subject: S,
        at: S::At,
        state: impl Into<Vec<u8>>,
    ) -> Write<SaveSnapshot> {
        self.save_state(subject.into_subject(), at.into(), false, Ok(state.into()))
    }

    fn save_state(
        &self,
        subject: Subject,
        at: u64,
        is_json: bool,
        state: Result<Vec<u8>>,
    ) -> Write<SaveSnapshot> {
        let (log, limit, keep) = (self.log.clone(), self.store.limits().snapshot_bytes, self.keep);
        let checked = subject.check().and_then(|()| check_at(at)).and(state).and_then(|state| {
            if state.len() > limit {
                return Err(Error::too_large("snapshot state", limit as u64, state.len() as u64));
            }
            Ok(state)
        });
        let operation = checked.map(|state| {
            let snapshot = SnapshotData { log, subject, at, schema: None, container: state };
            Operation::Snapshot(SnapshotOperation::Save { snapshot, keep })
        });
        let codec = self.codec.clone();
        // Sealed last: the schema is part of what a container is bound to.
        Write::new(self.store.clone(), operation).finished_by(move |operation| {
            change_save(operation, |snapshot, _| {
                let SnapshotData { log, subject, at, schema, container } = &*snapshot;
                let place = Place { log, subject, at: *at, schema: schema.as_deref() };
                snapshot.container = seal(&codec, &place, is_json, container)?;
                Ok(())
            })
        })
    }

    /// The newest snapshot of a subject.
    ///
    /// # Errors
    /// `InvalidArgument`; `WrongKey` if it is encrypted with a key that is not at hand; `TooLarge` if it was saved under
    /// a higher limit; `Corrupted`, `Incompatible`, `Closed`, `Io`.
    pub fn latest(&self, subject: impl IntoSubject) -> Call<Option<Snapshot>> {
        self.read(subject.into_subject(), None, None)
    }

    /// The newest snapshot of a subject in this schema; those in another one are passed over.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub fn latest_for(&self, subject: impl IntoSubject, schema: impl Into<String>) -> Call<Option<Snapshot>> {
        self.read(subject.into_subject(), None, Some(schema.into()))
    }

    /// The newest snapshot of a subject strictly below a place.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub fn before<S: IntoSubject>(&self, subject: S, at: S::At) -> Call<Option<Snapshot>> {
        self.read(subject.into_subject(), Some(at.into()), None)
    }

    fn read(&self, subject: Subject, before: Option<u64>, schema: Option<String>) -> Call<Option<Snapshot>> {
        let snapshots = self.clone();
        Call::new(async move { snapshots.find(subject, before, schema).await })
    }

    async fn find(
        &self,
        subject: Subject,
        before: Option<u64>,
        schema: Option<String>,
    ) -> Result<Option<Snapshot>> {
        subject.check()?;
        let request = SnapshotRead { log: self.log.clone(), subject, before, schema };
        let found = self.store.backend().await?.read_snapshot(request).await?;
        let limit = self.store.limits().snapshot_bytes;
        found.map(|stored| Snapshot::of(stored, &self.codec, limit)).transpose()
    }

    /// Deletes the snapshots of a subject through this place, inclusive, and answers how many there were.
    ///
    /// # Errors
    /// `InvalidArgument`, and those of any commit.
    pub fn delete<S: IntoSubject>(&self, subject: S, through: S::At) -> Write<DeleteSnapshots> {
        let (log, subject, through) = (self.log.clone(), subject.into_subject(), through.into());
        let operation = subject
            .check()
            .map(|()| Operation::Snapshot(SnapshotOperation::Delete { log, subject, through }));
        Write::new(self.store.clone(), operation)
    }

    /// The snapshots of a subject, ascending by their places, without their states. Each is read and checked; a damaged one
    /// says so, by [`SnapshotInfo::damage`].
    ///
    /// # Errors
    /// `InvalidArgument`; `TooLarge` beyond [`Limits::read_events`](crate::Limits::read_events) without a limit;
    /// `Corrupted`, `Closed`, `Io`.
    pub fn list(&self, subject: impl IntoSubject) -> Read<SnapshotInfo> {
        let subject = subject.into_subject();
        let checked = subject.check();
        let source = SnapshotSource::Subject(self.log.clone(), subject);
        Read::new(self.store.clone(), checked.map(|()| listing(source)))
    }

    /// The snapshots of the log, by subject and place, without their states.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn all(&self) -> Read<SnapshotInfo> {
        Read::new(self.store.clone(), Ok(listing(SnapshotSource::Log(self.log.clone()))))
    }
}

impl Store {
    /// Every snapshot of the store, by log, subject and place, without their states; otherwise as
    /// [`Snapshots::list`].
    ///
    /// # Errors
    /// `TooLarge` beyond [`Limits::read_events`](crate::Limits::read_events) without a limit; `Corrupted`, `Closed`,
    /// `Io`.
    pub fn snapshots(&self) -> Read<SnapshotInfo> {
        Read::new(self.clone(), Ok(listing(SnapshotSource::Store)))
    }
}

fn listing(source: SnapshotSource) -> SnapshotsRead {
    SnapshotsRead {
        source,
        after: None,
        limit: None,
        max_bytes: None,
        descending: false,
        pass_over_damaged: false,
    }
}

impl Write<SaveSnapshot> {
    /// Says what the state is written in, for [`Snapshots::latest_for`]: 1 to 1,024 bytes of text without control
    /// characters.
    pub fn schema(self, schema: impl Into<String>) -> Self {
        let schema = schema.into();
        self.map(|operation| {
            check_key("schema", &schema)?;
            change_save(operation, |snapshot, _| {
                snapshot.schema = Some(schema);
                Ok(())
            })
        })
    }

    /// Keeps so many snapshots of the subject, this time: see [`Snapshots::keep`].
    pub fn keep(self, snapshots: u64) -> Self {
        self.map(|operation| {
            change_save(operation, |_, keep| {
                *keep = snapshots;
                Ok(())
            })
        })
    }
}

fn change_save(
    operation: Operation,
    change: impl FnOnce(&mut SnapshotData, &mut u64) -> Result<()>,
) -> Result<Operation> {
    let Operation::Snapshot(SnapshotOperation::Save { mut snapshot, mut keep }) = operation else {
        unreachable!("it saves a snapshot")
    };
    change(&mut snapshot, &mut keep)?;
    Ok(Operation::Snapshot(SnapshotOperation::Save { snapshot, keep }))
}
