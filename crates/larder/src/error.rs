//! What went wrong, in the caller's terms.

use std::{borrow::Cow, convert::Infallible, error::Error as StdError, fmt};

use crate::event::Position;

/// The result of an operation on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as handlers return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An event that stood in the way of a conditional append.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatchingEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// Its tags.
    pub tags: Vec<String>,
}

impl MatchingEvent {
    /// An event that matched, for backends.
    #[must_use]
    pub fn new(position: Position, event_type: String, tags: Vec<String>) -> Self {
        Self { position, event_type, tags }
    }
}

/// What a caller can act on. It alone decides whether to retry, the HTTP status and the exit code.
///
/// ```
/// use larder::{ErrorKind, NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// let error = log.append("order-1", 3, [NewEvent::new("Paid", &1)]).wait().unwrap_err();
/// match error.kind() {
///     ErrorKind::Conflict { expected, actual } => assert_eq!((*expected, *actual), (3, 0)),
///     _ => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, number or text that cannot be accepted; nothing was done.
    InvalidArgument {
        /// The argument, named as in the documentation.
        field: &'static str,
        /// What is wrong with it, and the limit.
        reason: String,
    },
    /// Something is over its limit; nothing was done.
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// The largest size or number that is accepted.
        limit: u64,
        /// What was given or found (at least this much).
        actual: u64,
    },
    /// The stream is not where the writer believed it to be; nothing was written.
    Conflict {
        /// The head the writer expected (`seq_nr`).
        expected: u64,
        /// The stream's head (`seq_nr`).
        actual: u64,
    },
    /// Events match the append condition; nothing was written.
    ConditionFailed {
        /// The first ten of them, by position.
        matching: Vec<MatchingEvent>,
    },
    /// The id was used before, for something else; nothing was written.
    AlreadyExists,
    /// There is no such thing.
    NotFound,
    /// A subscription starts below history that was compacted or trimmed.
    HistoryCompacted {
        /// The highest position with an event that is no longer readable.
        through: Position,
    },
    /// The changes after the given version are no longer kept; reading can go on with the oldest that is.
    ChangesTruncated {
        /// The version of the oldest change that is kept, or the next one if none is.
        oldest: u64,
    },
    /// A projection's projector failed at this event; the cause is the error's source.
    Projector {
        /// The event's position.
        position: Position,
    },
    /// The log is still to be read by a projection; nothing was hidden. It can be forced.
    ProjectionBehind {
        /// The projection.
        projection: String,
        /// The position through which it has read.
        checkpoint: Position,
    },
    /// A payload does not decode into the type that was asked for.
    Decode,
    /// Another process holds the store, beyond the busy timeout; nothing was written.
    Locked,
    /// The disk is full; nothing was written, and writing works again once there is space.
    Full,
    /// The store was opened for reading only; nothing was written.
    ReadOnly,
    /// The store was closed.
    Closed,
    /// What is stored is not what was written. It is reported, never returned as data.
    Corrupted,
    /// A snapshot is encrypted with a key that is not at hand, or with another one of that id.
    WrongKey {
        /// The id of the key that it was encrypted with.
        key: String,
    },
    /// The lease on a trigger has run out, or the trigger is gone; nothing was written.
    LeaseLost,
    /// The commit may or may not have happened. Open the store again, and retry it under the same event ids or batch
    /// id: if it happened, the retry answers as the first time would have.
    CommitUnknown,
    /// An earlier commit failed, so this instance no longer writes; reads go on. Open the store again.
    Poisoned,
    /// The file is not a Larder store, or of a version that this build does not know.
    Incompatible,
    /// This backend cannot do that.
    Unsupported,
    /// The operating system or the database engine failed; nothing was written.
    Io,
}

impl ErrorKind {
    /// The kind's name, in the words of the documentation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidArgument { .. } => "InvalidArgument",
            Self::TooLarge { .. } => "TooLarge",
            Self::Conflict { .. } => "Conflict",
            Self::ConditionFailed { .. } => "ConditionFailed",
            Self::AlreadyExists => "AlreadyExists",
            Self::NotFound => "NotFound",
            Self::HistoryCompacted { .. } => "HistoryCompacted",
            Self::ChangesTruncated { .. } => "ChangesTruncated",
            Self::Projector { .. } => "Projector",
            Self::ProjectionBehind { .. } => "ProjectionBehind",
            Self::Decode => "Decode",
            Self::Locked => "Locked",
            Self::Full => "Full",
            Self::ReadOnly => "ReadOnly",
            Self::Closed => "Closed",
            Self::Corrupted => "Corrupted",
            Self::WrongKey { .. } => "WrongKey",
            Self::LeaseLost => "LeaseLost",
            Self::CommitUnknown => "CommitUnknown",
            Self::Poisoned => "Poisoned",
            Self::Incompatible => "Incompatible",
            Self::Unsupported => "Unsupported",
            Self::Io => "Io",
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    ///
    /// A [`Conflict`](Self::Conflict) is not: the caller has to look at what changed first. Neither is
    /// [`CommitUnknown`](Self::CommitUnknown): the caller has to open the store again, and to have given ids, lest
    /// it is written twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Locked | Self::Full)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument { field, reason } => write!(f, "invalid {field}: {reason}"),
            Self::TooLarge { field, limit, actual } => {
                write!(f, "{field} too large: {actual}, the limit is {limit}")
            }
            Self::Conflict { expected, actual } => {
                write!(f, "conflict: expected the stream at {expected}, it is at {actual}")
            }
            Self::ConditionFailed { matching } => {
                f.write_str("condition failed: matching events at ")?;
                for (n, event) in matching.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{} ({})", event.position, event.event_type)?;
                }
                Ok(())
            }
            Self::AlreadyExists => f.write_str("already exists"),
            Self::NotFound => f.write_str("not found"),
            Self::HistoryCompacted { through } => {
                write!(
                    f,
                    "history was compacted: events through position {through} are no longer all readable"
                )
            }
            Self::ChangesTruncated { oldest } => {
                write!(f, "changes were truncated: the oldest that is kept has version {oldest}")
            }
            Self::Projector { position } => write!(f, "the projector failed at position {position}"),
            Self::ProjectionBehind { projection, checkpoint } => write!(
                f,
                "projection `{projection}` has read through position {checkpoint} only, and would miss what is hidden"
            ),
            Self::Decode => f.write_str("cannot be decoded"),
            Self::Locked => f.write_str("locked by another process"),
            Self::Full => f.write_str("the disk is full, nothing was written"),
            Self::ReadOnly => f.write_str("the store is open for reading only"),
            Self::Closed => f.write_str("the store is closed"),
            Self::Corrupted => f.write_str("stored data is corrupted"),
            Self::WrongKey { key } => write!(f, "encrypted with the key `{key}`, which is not at hand"),
            Self::LeaseLost => f.write_str("the lease on the trigger is no longer held"),
            Self::CommitUnknown => f.write_str("it is unknown whether the commit happened"),
            Self::Poisoned => f.write_str("an earlier commit failed, so this instance no longer writes"),
            Self::Incompatible => f.write_str("not a store that this build can open"),
            Self::Unsupported => f.write_str("not supported by this backend"),
            Self::Io => f.write_str("input/output failed"),
        }
    }
}

/// An error: its [kind](Error::kind), the operation, what it concerned, and the cause.
///
/// ```
/// use larder::{ErrorKind, Store};
///
/// let error = Store::memory().event_log("no spaces please").unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "log", .. }));
/// ```
///
/// Its `Debug` form is for people, since that is what a `main` that returns it prints; `{:#?}` shows the parts.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    context: Vec<(&'static str, String)>,
    hint: Option<Cow<'static, str>>,
    index: Option<usize>,
    source: Option<BoxError>,
}

impl Error {
    /// An error of this kind. Backends add an operation and context.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        let inner = Inner { kind, operation: "", context: Vec::new(), hint: None, index: None, source: None };
        Self(Box::new(inner))
    }

    /// An argument that cannot be accepted.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument { field, reason: reason.into() })
    }

    /// Something over its limit.
    #[must_use]
    pub fn too_large(field: &'static str, limit: u64, actual: u64) -> Self {
        Self::new(ErrorKind::TooLarge { field, limit, actual })
    }

    /// Stored data that is not what was written.
    pub fn corrupted(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted).with("found", what)
    }

    /// Names the operation that failed, unless an inner one is already named.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        if self.0.operation.is_empty() {
            self.0.operation = operation;
        }
        self
    }

    /// Adds what the operation concerned.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the operation of the batch that failed, by its index.
    #[must_use]
    pub fn at_index(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// What went wrong, to match on.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The failed operation of a batch, by its index; compare with [`Slot::index`](crate::Slot::index).
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }

    /// What the operation concerned, as key and value.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What the caller can do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether another writer was first: [`Conflict`](ErrorKind::Conflict) or
    /// [`ConditionFailed`](ErrorKind::ConditionFailed). Read again, decide again, retry.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Conflict { .. } | ErrorKind::ConditionFailed { .. })
    }

    /// Whether the same call may succeed later: see [`ErrorKind::is_retryable`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// The same failure for another caller of the same group: a source cannot be cloned, so it becomes text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let Inner { kind, operation, context, hint, index, source } = &*self.0;
        Self(Box::new(Inner {
            kind: kind.clone(),
            operation,
            context: context.clone(),
            hint: hint.clone(),
            index: *index,
            source: source.as_ref().map(|source| source.to_string().into()),
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.operation.is_empty() {
            write!(f, "{}: ", self.0.operation)?;
        }
        write!(f, "{}", self.0.kind)?;
        for (n, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if n == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.context.is_empty() { "" } else { ")" })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.debug_tuple("Error").field(&self.0).finish();
        }
        write!(f, "{self}")?;
        if let Some(hint) = self.hint() {
            write!(f, "\n\nhint: {hint}")?;
        }
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, "\n\ncaused by: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_for_people_and_its_alternate_form_for_parts() {
        let error = Error::new(ErrorKind::Locked).during("open store").with("path", "x.db").with_hint("wait");
        let error = error.caused_by("SQLITE_BUSY");
        let told =
            "open store: locked by another process (path: x.db)\n\nhint: wait\n\ncaused by: SQLITE_BUSY";
        assert_eq!(format!("{error:?}"), told);
        assert!(format!("{error:#?}").contains("kind: Locked"));
    }

    #[test]
    fn only_what_passes_by_itself_is_retryable() {
        assert!(ErrorKind::Locked.is_retryable() && ErrorKind::Full.is_retryable());
        assert!(!ErrorKind::CommitUnknown.is_retryable() && !ErrorKind::Poisoned.is_retryable());
    }
}
