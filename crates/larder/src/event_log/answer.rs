//! What an append takes and what writes, streams and logs answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{NewEvent, Position};

/// What a writer believes a stream's head to be.
///
/// ```
/// use larder::Expected;
///
/// assert_eq!(Expected::from(0), Expected::Exact(0)); // no events yet
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// This `seq_nr`; 0 means that the stream has never had an event.
    Exact(u64),
}

impl From<u64> for Expected {
    fn from(head: u64) -> Self {
        Self::Exact(head)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Exact(head) => head.fmt(f),
        }
    }
}

/// What an append answers. All zero if there was nothing to append.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Appended {
    /// The first event's place in its stream; 0 without a stream.
    pub first_seq_nr: u64,
    /// The last event's place in its stream; 0 without a stream.
    pub last_seq_nr: u64,
    /// The first event's place in the log.
    pub first_position: Position,
    /// The last event's place in the log.
    pub last_position: Position,
}

impl Appended {
    /// What an append of `count` events answers, for backends: `first_seq_nr` is 0 without a stream.
    #[must_use]
    pub fn new(first_seq_nr: u64, first_position: Position, count: u64) -> Self {
        let more = count.saturating_sub(1);
        let last_seq_nr = if first_seq_nr == 0 { 0 } else { first_seq_nr + more };
        let last_position = Position::new(first_position.get() + more);
        Self { first_seq_nr, last_seq_nr, first_position, last_position }
    }

    /// How many events it has written.
    #[must_use]
    pub fn count(&self) -> u64 {
        if self.last_position == Position::START {
            0
        } else {
            self.last_position.get() - self.first_position.get() + 1
        }
    }
}

/// What a compaction or a raised mark answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compacted {
    /// The last `seq_nr` of the stream that is hidden; 0 if none is.
    pub through: u64,
}

impl Compacted {
    /// The answer of a compaction, for backends.
    #[must_use]
    pub fn new(through: u64) -> Self {
        Self { through }
    }
}

/// What a trim answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trimmed {
    /// The last position of the log that is hidden; [`Position::START`] if none is.
    pub through: Position,
}

impl Trimmed {
    /// The answer of a trim, for backends.
    #[must_use]
    pub fn new(through: Position) -> Self {
        Self { through }
    }
}

/// What is known of a stream.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// log.append("order-1", 0, (0..5).map(|n| NewEvent::new("Counted", &n))).wait()?;
/// log.compact("order-1", 3).wait()?;
/// let page = log.streams().wait()?;
/// assert_eq!((page.items[0].head, page.items[0].compacted_through), (5, 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its id.
    pub stream: String,
    /// The highest `seq_nr` it ever had.
    pub head: u64,
    /// Through which `seq_nr` it was compacted; 0 if never.
    pub compacted_through: u64,
    /// The position of the last compacted event; [`Position::START`] if there is none.
    pub compacted_position: Position,
}

impl StreamInfo {
    /// What is known of a stream, for backends.
    #[must_use]
    pub fn new(stream: String, head: u64, compacted_through: u64, compacted_position: Position) -> Self {
        Self { stream, head, compacted_through, compacted_position }
    }

    /// Whether everything in it was compacted.
    #[must_use]
    pub fn is_compacted_empty(&self) -> bool {
        self.head == self.compacted_through
    }
}

/// What is known of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogInfo {
    /// Its name.
    pub log: String,
    /// The position of the last event it ever had.
    pub head: Position,
    /// The highest position of a hidden event; [`Position::START`] if nothing was compacted or trimmed.
    pub compacted_through: Position,
    /// Whether it keeps the conditions of appends for `verify`.
    pub audits_conditions: bool,
}

impl LogInfo {
    /// What is known of a log, for backends.
    #[must_use]
    pub fn new(log: String, head: Position, compacted_through: Position, audits_conditions: bool) -> Self {
        Self { log, head, compacted_through, audits_conditions }
    }
}

/// What a bulk load has committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// How many events.
    pub events: u64,
    /// The position of the last one.
    pub last_position: Position,
}

/// An event of a bulk load, with the stream it goes to, if any.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("readings")?;
/// let readings = (0..2_500_u32).map(|n| (format!("sensor-{}", n % 3), NewEvent::new("Measured", &n)));
/// let loaded = log.append_many(readings).wait()?; // a stream and an event, or an event alone
/// assert_eq!(loaded.events, 2_500);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct BulkEvent {
    /// The stream.
    pub stream: Option<String>,
    /// The event.
    pub event: NewEvent,
}

impl BulkEvent {
    /// An event, and its stream if it has one. Where that is known, `event` and `(stream, event)` do as well.
    #[must_use]
    pub fn new(stream: Option<String>, event: NewEvent) -> Self {
        Self { stream, event }
    }
}

impl From<NewEvent> for BulkEvent {
    fn from(event: NewEvent) -> Self {
        Self { stream: None, event }
    }
}

impl<S: Into<String>> From<(S, NewEvent)> for BulkEvent {
    fn from((stream, event): (S, NewEvent)) -> Self {
        Self { stream: Some(stream.into()), event }
    }
}
