//! Everything that a log holds, as an export reads it.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    event::{Event, Position},
    event_log::Appended,
    query::AppendCondition,
};

/// A request for a page of a log's history.
#[derive(Debug, Clone)]
pub struct HistoryRead {
    /// The log.
    pub log: Arc<str>,
    /// Where the last page ended.
    pub after: Option<HistoryCursor>,
    /// The most rows.
    pub limit: usize,
}

/// A place in a log's history; only its backend knows what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCursor {
    /// Which kind of row.
    pub section: u8,
    /// The last row's position or number.
    pub number: u64,
    /// The last row's name.
    pub name: String,
}

/// A page of a log's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The rows.
    pub rows: Vec<HistoryRow>,
    /// Where to go on; `None` at the end.
    pub next: Option<HistoryCursor>,
}

/// One row of what a log holds, in this order: `Stream`s with a mark, `Event`s and `Trace`s by position,
/// `AppendId`s, `Condition`s, and at the end one `Log`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryRow {
    /// The compaction mark of a stream.
    Stream {
        /// The stream.
        stream: String,
        /// Its mark.
        compacted_through: u64,
        /// The position of the event at the mark.
        compacted_position: Position,
    },
    /// A visible event.
    Event(Event),
    /// What conditions still see of a hidden event.
    Trace {
        /// Its position.
        position: Position,
        /// Its type.
        event_type: String,
        /// Its tags.
        tags: Vec<String>,
    },
    /// An id given by a caller.
    AppendId(AppendId),
    /// A condition that was kept.
    Condition {
        /// The first position of the append that it guarded.
        position: Position,
        /// The condition.
        condition: AppendCondition,
    },
    /// The log itself.
    Log {
        /// Its head.
        head: Position,
        /// Through where it was trimmed.
        trimmed_through: Position,
        /// The highest hidden position.
        compacted_through: Position,
        /// Whether it keeps conditions.
        audits_conditions: bool,
    },
}

/// An id given by a caller, and what the append that carried it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendId {
    /// The event's id.
    pub id: Uuid,
    /// What its append answered.
    pub appended: Appended,
    /// A digest of the whole append: see [`append_digest`](super::append_digest).
    pub digest: [u8; 16],
}
