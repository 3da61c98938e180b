//! Objects and dead letters, as they are read and listed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    backend::{Backend, BoxFuture, DeadTasksRead, ObjectRow, ObjectsRead, TriggerRow},
    error::{Error, ErrorKind, Result},
    event::Position,
    limits::Limits,
    page::{Page, PageOptions, Row, sealed::Sealed},
};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// It was put.
    ObjectCreated = 1,
    /// It was deleted.
    ObjectRemoved = 2,
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ObjectCreated => "ObjectCreated",
            Self::ObjectRemoved => "ObjectRemoved",
        })
    }
}

/// What is known of a task bucket.
///
/// ```
/// use larder::Store;
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::memory();
/// store.task_bucket("files")?.put("a.txt", "hello").without_trigger().wait()?;
/// assert_eq!(store.task_buckets().wait()?[0].bucket, "files");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskBucketInfo {
    /// Its name.
    pub bucket: String,
    /// The last number that it gave, as an object's version or as a trigger's number.
    pub counter: u64,
}

impl TaskBucketInfo {
    /// What is known of a task bucket, for backends.
    #[must_use]
    pub fn new(bucket: String, counter: u64) -> Self {
        Self { bucket, counter }
    }
}

/// An object without its bytes: what a listing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its version: versions rise through the whole bucket.
    pub version: u64,
    /// What kind of bytes they are, if that was said.
    pub content_type: Option<String>,
    /// When it was put, by the store's clock.
    pub recorded_at: SystemTime,
    /// How many bytes there are.
    pub length: u64,
}

impl From<ObjectRow> for ObjectInfo {
    fn from(row: ObjectRow) -> Self {
        let ObjectRow { key, version, content_type, recorded_at, length, .. } = row;
        Self { key, version, content_type, recorded_at: time(recorded_at), length }
    }
}

fn time(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

/// An object, and what is known of it.
///
/// ```
/// use larder::Store;
///
/// # fn main() -> larder::Result<()> {
/// let files = Store::memory().task_bucket("files")?;
/// files.put("a.txt", "hello").without_trigger().wait()?;
/// let object = files.get("a.txt").wait()?.expect("it was put");
/// assert_eq!((object.info.length, object.into_text()?), (5, "hello".to_owned()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// What is known of it.
    pub info: ObjectInfo,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Object {
    pub(crate) fn of(row: ObjectRow, bytes: Vec<u8>) -> Self {
        Self { info: row.into(), bytes }
    }

    /// Its bytes as text.
    ///
    /// # Errors
    /// `Decode` if they are not UTF-8.
    pub fn into_text(self) -> Result<String> {
        let key = self.info.key;
        String::from_utf8(self.bytes)
            .map_err(|error| Error::new(ErrorKind::Decode).with("key", key).caused_by(error))
    }
}

/// The bytes may be secret, and are many: they are not shown.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Refuses an object that is too large.
pub(crate) fn check_object_size(bytes: &[u8], limits: &Limits) -> Result<()> {
    let (limit, length) = (limits.object_bytes, bytes.len());
    if length > limit { Err(Error::too_large("object", limit as u64, length as u64)) } else { Ok(()) }
}

/// A trigger that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadTask {
    /// The trigger's number.
    pub trigger: u64,
    /// What had happened.
    pub kind: TaskKind,
    /// To which object.
    pub key: String,
    /// The object's version.
    pub version: u64,
    /// How often it was attempted.
    pub attempts: u32,
    /// What went wrong the last time.
    pub error: String,
    /// When it was given up, by the store's clock.
    pub failed_at: SystemTime,
}

impl DeadTask {
    pub(crate) fn of(row: TriggerRow) -> Self {
        let TriggerRow { trigger, kind, key, version, attempts, error, due_at, .. } = row;
        Self {
            trigger,
            kind,
            key,
            version,
            attempts,
            error: error.unwrap_or_default(),
            failed_at: time(due_at),
        }
    }
}

impl Sealed for ObjectInfo {}

impl Row for ObjectInfo {
    type After = String;
    type Request = ObjectsRead;

    fn read(backend: &dyn Backend, request: ObjectsRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.read_objects(request)
    }

    fn page_options(request: &mut ObjectsRead) -> PageOptions<'_, String> {
        let ObjectsRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}

impl Sealed for DeadTask {}

impl Row for DeadTask {
    type After = u64;
    type Request = DeadTasksRead;

    fn read(backend: &dyn Backend, request: DeadTasksRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.read_dead_tasks(request)
    }

    fn page_options(request: &mut DeadTasksRead) -> PageOptions<'_, u64> {
        let DeadTasksRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}

/// What a page of these goes on after.
pub(crate) trait Listed: Row {
    fn place(&self) -> Self::After;
}

impl Listed for ObjectInfo {
    fn place(&self) -> String {
        self.key.clone()
    }
}

impl Listed for DeadTask {
    fn place(&self) -> u64 {
        self.trigger
    }
}

/// Gathers a page, for backends.
pub(crate) fn page_of<T: Listed>(
    rows: impl IntoIterator<Item = Result<T>>,
    limit: Option<usize>,
    limits: &Limits,
) -> Result<Page<T>> {
    let (most, over_limit_is_an_error) = limits.page_rows(limit);
    let mut items: Vec<T> = Vec::new();
    for row in rows {
        let row = row?;
        if items.len() < most {
            items.push(row);
        } else if over_limit_is_an_error {
            return Err(Error::too_large("rows of a read", most as u64, most as u64 + 1)
                .with_hint("give a limit, or iterate with `each`"));
        } else {
            let next = items.last().map(Listed::place);
            return Ok(Page::new(items, next, Position::START));
        }
    }
    Ok(Page::new(items, None, Position::START))
}
