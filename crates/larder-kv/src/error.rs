//! What went wrong, in the caller's terms.

use std::{borrow::Cow, error::Error as StdError, fmt, io};

/// The result of a call on a client.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on. It alone decides whether to retry, the HTTP status and the exit code.
///
/// ```
/// use larder_kv::{Client, ClientOptions, ErrorKind};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// match client.get("app/missing") {
///     Err(error) if *error.kind() == ErrorKind::NotFound => {
///         assert_eq!(error.to_string(), "key not found: app/missing");
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, key or value that cannot be accepted; nothing was done.
    InvalidArgument {
        /// The argument or option, named as in the documentation.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is over its limit; nothing was done.
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// The largest size that is accepted, in bytes.
        limit: u64,
        /// What was given, in bytes.
        actual: u64,
    },
    /// There is no value under the key.
    NotFound,
    /// Another client holds the file; nothing was written.
    Locked {
        /// The process that holds it, where that is known.
        pid: Option<u32>,
    },
    /// The disk is full; nothing was written, and writing works again once there is space.
    Full,
    /// The client was closed.
    Closed,
    /// What is stored is not what was written. It is reported, never returned as data.
    Corrupted {
        /// Where in the file, in bytes from its start.
        offset: u64,
    },
    /// The write may or may not be on disk. Open the client again and look.
    CommitUnknown,
    /// An earlier write failed, so this client no longer writes; reads go on. Open it again.
    Poisoned,
    /// The file is not a write-ahead log of Larder's, of another node, or of a version that this build does not know.
    Incompatible,
    /// The operating system failed; nothing was written.
    Io,
}

impl ErrorKind {
    /// The kind's name, in the words of the documentation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidArgument { .. } => "InvalidArgument",
            Self::TooLarge { .. } => "TooLarge",
            Self::NotFound => "NotFound",
            Self::Locked { .. } => "Locked",
            Self::Full => "Full",
            Self::Closed => "Closed",
            Self::Corrupted { .. } => "Corrupted",
            Self::CommitUnknown => "CommitUnknown",
            Self::Poisoned => "Poisoned",
            Self::Incompatible => "Incompatible",
            Self::Io => "Io",
        }
    }

    /// Whether the same call may succeed later without a change by the caller.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Full)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument { field, reason } => write!(f, "invalid {field}: {reason}"),
            Self::TooLarge { field, limit, actual } => {
                write!(f, "{field} too large: {actual} bytes, the limit is {limit}")
            }
            Self::NotFound => f.write_str("key not found"),
            Self::Locked { pid: Some(pid) } => write!(f, "locked by process {pid}"),
            Self::Locked { pid: None } => f.write_str("locked by another process"),
            Self::Full => f.write_str("the disk is full, nothing was written"),
            Self::Closed => f.write_str("the client is closed"),
            Self::Corrupted { offset } => write!(f, "the wal is corrupted at byte {offset}"),
            Self::CommitUnknown => f.write_str("it is unknown whether the write is on disk"),
            Self::Poisoned => f.write_str("an earlier write failed, so this client no longer writes"),
            Self::Incompatible => f.write_str("not a wal that this client can open"),
            Self::Io => f.write_str("input/output failed"),
        }
    }
}

/// An error: its [kind](Error::kind), what it concerned, and the cause.
///
/// ```
/// use larder_kv::{Client, ClientOptions, ErrorKind};
///
/// let error = Client::open(ClientOptions::persistent("node-a", "")).wait().unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "wal_path", .. }));
/// ```
///
/// Its `Debug` form is for people, since that is what a `main` that returns it prints; `{:#?}` shows the parts.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    context: Vec<(&'static str, String)>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, context: Vec::new(), hint: None, source: None }))
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument { field, reason: reason.into() })
    }

    pub(crate) fn too_large(field: &'static str, limit: u64, actual: u64) -> Self {
        Self::new(ErrorKind::TooLarge { field, limit, actual })
    }

    pub(crate) fn corrupted(offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted { offset }).with("found", what)
    }

    pub(crate) fn incompatible(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Incompatible).with("found", what)
    }

    /// What the operating system refused before anything was changed.
    pub(crate) fn io(source: io::Error) -> Self {
        let is_full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Self::new(if is_full { ErrorKind::Full } else { ErrorKind::Io }).caused_by(source)
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same failure for another caller of the same group: a source cannot be cloned, so it becomes text.
    pub(crate) fn duplicate(&self) -> Self {
        let Inner { kind, context, hint, source } = &*self.0;
        let source = source.as_ref().map(|source| source.to_string().into());
        Self(Box::new(Inner { kind: kind.clone(), context: context.clone(), hint: hint.clone(), source }))
    }

    /// What went wrong, to match on.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What it concerned, as name and value.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What the caller can do about it, where there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether the same call may succeed later: see [`ErrorKind::is_retryable`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        if let (ErrorKind::NotFound, [("key", key)]) = (&self.0.kind, &*self.0.context) {
            return write!(f, ": {key}");
        }
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
