//! A snapshot as it is read, and as it is listed.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::Deserialize;

use super::Subject;
use crate::{
    backend::StoredSnapshot,
    codec::{Codec, Header, Place, open},
    error::{Error, ErrorKind, Result},
    event::Payload,
};

/// The saved state of a stream, or of a query, and what it is of.
///
/// ```
/// use larder::Store;
///
/// # fn main() -> larder::Result<()> {
/// let snapshots = Store::memory().event_log("orders")?.snapshots();
/// snapshots.save("order-1", 42, &("open", 3)).schema("v2").wait()?;
/// let snapshot = snapshots.latest("order-1").wait()?.expect("it was saved");
/// assert_eq!((snapshot.at, snapshot.schema.as_deref()), (42, Some("v2")));
/// assert_eq!(snapshot.decode::<(String, u32)>()?, ("open".to_owned(), 3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The log.
    pub log: Arc<str>,
    /// What it is of.
    pub subject: Subject,
    /// The last event that is in the state: of a stream its `seq_nr`, of a query its position.
    pub at: u64,
    /// What the state is written in, if that was said.
    pub schema: Option<String>,
    /// When it was saved, by the store's clock.
    pub recorded_at: SystemTime,
    /// The state, decompressed and decrypted.
    pub state: Payload,
}

impl Snapshot {
    pub(super) fn of(stored: StoredSnapshot, codec: &Codec, limit: usize) -> Result<Self> {
        let StoredSnapshot { data, recorded_at } = stored;
        let place =
            Place { log: &data.log, subject: &data.subject, at: data.at, schema: data.schema.as_deref() };
        let state = open(codec, &place, &data.container, limit)
            .map_err(|error| data.place().name_in(error).during("read snapshot"))?;
        let crate::backend::SnapshotData { log, subject, at, schema, .. } = data;
        Ok(Self { log, subject, at, schema, recorded_at, state })
    }

    /// The state as a type of one's own; it may borrow from the snapshot.
    ///
    /// # Errors
    /// `Decode` if the state is not JSON, or not of this type.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        let json =
            self.state.as_json().ok_or_else(|| self.undecodable("the state was saved as bytes".into()))?;
        serde_json::from_str(json).map_err(|error| self.undecodable(error.into()))
    }

    fn undecodable(&self, why: crate::BoxError) -> Error {
        let mut error = self.place().name_in(Error::new(ErrorKind::Decode).during("decode snapshot"));
        if let Some(schema) = &self.schema {
            error = error.with("schema", schema.clone());
        }
        error.caused_by(why)
    }

    fn place(&self) -> SnapshotPlace {
        SnapshotPlace { log: self.log.clone(), subject: self.subject.clone(), at: self.at }
    }
}

/// A state may be secret: its length is shown.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("log", &self.log)
            .field("subject", &self.subject)
            .field("at", &self.at)
            .field("schema", &self.schema)
            .field("recorded_at", &self.recorded_at)
            .field("state", &format_args!("{} bytes", self.state.as_bytes().len()))
            .finish()
    }
}

/// Where a snapshot belongs, in a store. They are ordered by log, subject and `at`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotPlace {
    /// The log.
    pub log: Arc<str>,
    /// What it is of.
    pub subject: Subject,
    /// Of a stream a `seq_nr`, of a query a position.
    pub at: u64,
}

impl SnapshotPlace {
    pub(crate) fn name_in(&self, error: Error) -> Error {
        error
            .with("log", &*self.log)
            .with(self.subject.kind(), self.subject.name())
            .with("snapshot at", self.at.to_string())
    }
}

/// A snapshot without its state: what a listing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// The log.
    pub log: Arc<str>,
    /// What it is of.
    pub subject: Subject,
    /// Of a stream a `seq_nr`, of a query a position.
    pub at: u64,
    /// What the state is written in, if that was said.
    pub schema: Option<String>,
    /// When it was saved.
    pub recorded_at: SystemTime,
    /// The length of the state, in bytes.
    pub state_bytes: u64,
    /// What is stored of it, in bytes.
    pub stored_bytes: u64,
    /// Whether the state is JSON, or bytes.
    pub is_json: bool,
    /// Whether it is compressed.
    pub is_compressed: bool,
    /// The id of the key with which it is encrypted, if it is.
    pub key: Option<String>,
    /// What is wrong with it, if it is damaged: then nothing but its place is known, and it cannot be read. It can be
    /// deleted, or saved anew.
    pub damage: Option<String>,
}

impl SnapshotInfo {
    /// What a listing shows of a snapshot, for backends.
    ///
    /// # Errors
    /// `Corrupted` or `Incompatible` if its container has no header that can be read.
    pub fn of(stored: &StoredSnapshot) -> Result<Self> {
        let StoredSnapshot { data, recorded_at } = stored;
        let (header, _) = Header::parse(&data.container).map_err(|error| data.place().name_in(error))?;
        Ok(Self {
            log: data.log.clone(),
            subject: data.subject.clone(),
            at: data.at,
            schema: data.schema.clone(),
            recorded_at: *recorded_at,
            state_bytes: header.state_bytes,
            stored_bytes: data.container.len() as u64,
            is_json: header.is_json,
            is_compressed: header.is_compressed,
            key: header.encryption.map(|encryption| encryption.key_id),
            damage: None,
        })
    }

    /// What a listing shows of a damaged snapshot, for backends.
    #[must_use]
    pub fn damaged_at(place: SnapshotPlace, damage: String) -> Self {
        let SnapshotPlace { log, subject, at } = place;
        Self {
            log,
            subject,
            at,
            schema: None,
            recorded_at: SystemTime::UNIX_EPOCH,
            state_bytes: 0,
            stored_bytes: 0,
            is_json: false,
            is_compressed: false,
            key: None,
            damage: Some(damage),
        }
    }
}
