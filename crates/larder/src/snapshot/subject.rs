//! What a snapshot is of.

use std::fmt;

use crate::{
    error::Result,
    event::Position,
    limits::{check_key, check_number},
};

/// What a snapshot is of: a stream of a log, or a named query of a log.
///
/// Where one is asked for, a stream is given by its id alone; see [`IntoSubject`].
///
/// ```
/// use larder::{Position, Store, Subject};
///
/// # fn main() -> larder::Result<()> {
/// let snapshots = Store::memory().event_log("courses")?.snapshots();
/// snapshots.save("student-1", 42, &"of a stream, at its event 42").wait()?;
/// snapshots.save(Subject::query("course:c1"), Position::new(97), &"of a query, at a position").wait()?;
/// # Ok(())
/// # }
/// ```
// In the order of their names, which is that of listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A query, by a name that its user gave it.
    Query(String),
    /// A stream, by its id.
    Stream(String),
}

impl Subject {
    /// A query, by a name that stands for it: 1 to 1,024 bytes of text without control characters.
    pub fn query(name: impl Into<String>) -> NamedQuery {
        NamedQuery(name.into())
    }

    /// A stream, by its id.
    pub fn stream(id: impl Into<String>) -> Self {
        Self::Stream(id.into())
    }

    /// The stream's id, or the query's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Stream(name) | Self::Query(name) => name,
        }
    }

    /// `stream` or `query`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Query(_) => "query",
        }
    }

    /// The subject of a kind and a name, for backends.
    #[must_use]
    pub fn of_kind(kind: &str, name: String) -> Option<Self> {
        match kind {
            "stream" => Some(Self::Stream(name)),
            "query" => Some(Self::Query(name)),
            _ => None,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_key(self.kind(), self.name())
    }
}

/// `stream order-1`, `query course:c1`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// A query by its name: what [`Subject::query`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedQuery(String);

/// What names a subject: a stream's id, [`Subject::query`], or a [`Subject`]. Sealed.
///
/// It decides how a snapshot's place is given: by a `seq_nr` in a stream, by a [`Position`] for a query. A [`Subject`]
/// takes either as a number.
pub trait IntoSubject: crate::page::sealed::Sealed {
    /// How its places are given.
    type At: Into<u64>;

    /// The subject.
    fn into_subject(self) -> Subject;
}

macro_rules! subjects {
    ($($name:ty, $at:ty, $of:expr;)*) => {$(
        impl crate::page::sealed::Sealed for $name {}

        impl IntoSubject for $name {
            type At = $at;

            fn into_subject(self) -> Subject {
                let of: fn($name) -> Subject = $of;
                of(self)
            }
        }
    )*};
}

subjects! {
    &str, u64, |id| Subject::Stream(id.to_owned());
    &String, u64, |id| Subject::Stream(id.clone());
    String, u64, Subject::Stream;
    NamedQuery, Position, |query| Subject::Query(query.0);
    &NamedQuery, Position, |query| Subject::Query(query.0.clone());
    Subject, u64, |subject| subject;
    &Subject, u64, Clone::clone;
}

/// A place to save at: some event's.
pub(crate) fn check_at(at: u64) -> Result<()> {
    if at == 0 {
        return Err(crate::Error::invalid("at", "0; the first event is 1"));
    }
    check_number("at", at)
}
