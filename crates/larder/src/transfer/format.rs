//! The lines of an export: see `docs/formats/export.md`.

mod event;
mod hex;
mod log;
mod projection;
mod query_db;
mod task_bucket;

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

pub(super) use self::{
    event::EventLine, hex::Hex, log::position_of, projection::ProjectionRow, task_bucket::TriggerPlace,
};
use crate::{
    backend::{HistoryRow, ItemData, StoredSnapshot, TaskBucketRow},
    error::{Error, Result},
    event::Position,
    limits::check_number,
    projection::{DeadLetter, ProjectionFailure},
    query::{AppendCondition, Query},
    query_db::QueryDbSpec,
    task_bucket::TaskKind,
};

/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;

/// What a line within a section says, checked as what a caller gives is checked.
#[derive(Debug)]
pub(super) enum Row {
    History(HistoryRow),
    Snapshot(StoredSnapshot),
    /// A QueryDb starts.
    QueryDb(QueryDbSpec),
    Item(ItemData),
    TaskBucket(TaskBucketRow),
    /// A projection starts.
    Projection(Box<ProjectionRow>),
    DeadLetter(DeadLetter),
    /// A QueryDb or a projection ends.
    End,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    /// The first line.
    LarderExport { version: u32, written_by: Cow<'a, str> },
    /// Starts a log.
    Log { name: Cow<'a, str> },
    /// A snapshot of a stream or of a named query.
    Snapshot {
        kind: Cow<'a, str>,
        subject: Cow<'a, str>,
        at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<Cow<'a, str>>,
        recorded_at_us: u64,
        container_hex: Hex<'a>,
    },
    /// A stream's mark.
    Stream { stream: Cow<'a, str>, compacted_through: u64, compacted_position: u64 },
    /// A visible event.
    Event(#[serde(borrow)] Box<EventLine<'a>>),
    /// What conditions still see of a hidden event.
    Trace {
        position: u64,
        #[serde(rename = "type")]
        event_type: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
    },
    /// An id given by a caller.
    Id {
        id: Uuid,
        first_seq_nr: u64,
        last_seq_nr: u64,
        first_position: u64,
        last_position: u64,
        digest: Hex<'a>,
    },
    /// An audited condition.
    Condition { position: u64, condition: AppendCondition },
    /// Ends a log.
    LogEnd { head: u64, trimmed_through: u64, compacted_through: u64, audits_conditions: bool },
    /// Starts a QueryDb.
    QueryDb { name: Cow<'a, str>, spec: QueryDbSpec },
    /// An item, of whose forms one is there.
    Item {
        partition: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
        item: Option<&'a RawValue>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_text: Option<Cow<'a, str>>,
    },
    /// Ends a QueryDb.
    QueryDbEnd { items: u64 },
    /// Starts a task bucket.
    TaskBucket { name: Cow<'a, str>, counter: u64 },
    /// An object.
    Object {
        key: Cow<'a, str>,
        version: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<Cow<'a, str>>,
        recorded_at_us: u64,
        bytes_hex: Hex<'a>,
    },
    /// A trigger or a dead letter.
    Trigger {
        trigger: u64,
        kind: TaskKind,
        key: Cow<'a, str>,
        version: u64,
        state: TriggerPlace,
        due_at_us: u64,
        attempts: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Cow<'a, str>>,
    },
    /// Ends a task bucket.
    TaskBucketEnd { objects: u64, triggers: u64 },
    /// Starts a projection.
    Projection {
        name: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
        query: Option<Query>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owns: Vec<String>,
        checkpoint: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<ProjectionFailure>,
        #[serde(default, skip_serializing_if = "is_false")]
        rebuild: bool,
    },
    /// An event that a projection passed over.
    DeadLetter {
        position: u64,
        #[serde(rename = "type")]
        event_type: Cow<'a, str>,
        error: Cow<'a, str>,
        failed_at_us: u64,
    },
    /// Ends a projection.
    ProjectionEnd { dead_letters: u64 },
    /// The last line.
    End { rows: u64, crc32c: Cow<'a, str> },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(whether: &bool) -> bool {
    !whether
}

/// Something that is there, and may be `null`.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Text that can stand in a line as it is: JSON on one line, with nothing around it.
fn embedded(json: &str) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_str(json).ok()?;
    (raw.get().len() == json.len() && !json.contains(['\n', '\r'])).then_some(raw)
}

fn time(micros: u64) -> Result<SystemTime> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .ok_or_else(|| bad("a time is out of range"))
}

/// A position, which is not 0.
fn checked_position(number: u64) -> Result<Position> {
    check_number("position", number)?;
    if number == 0 { Err(bad("position 0")) } else { Ok(Position::new(number)) }
}

pub(super) fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("export", reason)
}
