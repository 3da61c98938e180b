//! What is known of a projection.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{backend::shortened, event::Position, query::Query};

/// What is known of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionInfo {
    /// Its name.
    pub projection: String,
    /// The log that it reads, once it has run.
    pub log: Option<String>,
    /// The events that it reads, once it has run.
    pub query: Option<Query>,
    /// The position through which events have taken effect.
    pub checkpoint: Position,
    /// The QueryDbs that it alone writes.
    pub owns: Vec<String>,
    /// Why it has stopped, unless it has gone on since.
    pub failure: Option<ProjectionFailure>,
    /// Whether a rebuild was asked for, and none has been finished since.
    pub rebuild_requested: bool,
    /// How far a rebuild that is under way has come.
    pub rebuild: Option<Position>,
    /// How many rebuilds were finished.
    pub rebuilds: u64,
    /// How many events were passed over.
    pub dead_letters: u64,
}

impl ProjectionInfo {
    /// A projection of which nothing but the name is known, for backends.
    #[must_use]
    pub fn new(projection: impl Into<String>) -> Self {
        Self {
            projection: projection.into(),
            log: None,
            query: None,
            checkpoint: Position::START,
            owns: Vec::new(),
            failure: None,
            rebuild_requested: false,
            rebuild: None,
            rebuilds: 0,
            dead_letters: 0,
        }
    }
}

/// Why a projection has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProjectionFailure {
    /// The event that it could not take.
    pub position: Position,
    /// What the projector said, the first 4 KiB of it.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl ProjectionFailure {
    /// A failure, for backends; of a longer text it keeps the first 4 KiB.
    pub fn new(position: Position, error: impl Into<String>, attempts: u32) -> Self {
        Self { position, error: shortened(&error.into()), attempts }
    }
}

/// An event that a projection passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event's position.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// What the projector said, the first 4 KiB of it.
    pub error: String,
    /// When, in microseconds since 1970.
    pub failed_at: u64,
}

impl DeadLetter {
    /// A dead letter, for backends; of a longer text it keeps the first 4 KiB.
    pub fn new(
        position: Position,
        event_type: impl Into<String>,
        error: impl Into<String>,
        failed_at: u64,
    ) -> Self {
        Self { position, event_type: event_type.into(), error: shortened(&error.into()), failed_at }
    }
}

/// What a projection does when its projector fails. What came before the event is committed in any case.
///
/// ```
/// use std::time::Duration;
/// use larder::{FailurePolicy, Store};
///
/// # fn main() -> larder::Result<()> {
/// let policy = FailurePolicy::Retry { attempts: 5, backoff: Duration::from_millis(100) };
/// let projection = Store::memory().projection("totals")?.on_failure(policy);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It stops before the event.
    #[default]
    Stop,
    /// It tries so often altogether, waiting longer each time, then stops.
    Retry {
        /// The most attempts.
        attempts: u32,
        /// The wait before the second attempt; it doubles with each further one, up to a minute.
        backoff: Duration,
    },
    /// It keeps the event as a dead letter, and goes on with the next.
    Skip,
}
