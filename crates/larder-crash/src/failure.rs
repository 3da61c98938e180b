//! Why a harness stopped.

use std::{error::Error, fmt, io};

use crate::violation::Violation;

/// Why a harness stopped: a promise was not kept, or the harness itself could not go on.
#[derive(Debug)]
pub enum Failure {
    /// A promise was not kept.
    Violated {
        /// Which, and how it shows.
        violation: Violation,
        /// Seed and place, to look at it again.
        place: String,
    },
    /// The harness could not go on.
    Setup(String),
}

impl Failure {
    /// A violation, with the way back to it.
    pub fn violated(violation: Violation, place: impl Into<String>) -> Self {
        Self::Violated { violation, place: place.into() }
    }

    /// The harness could not go on.
    pub fn setup(reason: impl Into<String>) -> Self {
        Self::Setup(reason.into())
    }

    /// A thread of the harness, or of the store, panicked.
    #[must_use]
    pub fn panicked() -> Self {
        Self::setup("a thread panicked; see above")
    }

    /// Adds where it was, if that is not known yet.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        match self {
            Self::Violated { violation, place: known } if known.is_empty() => {
                Self::violated(violation, place)
            }
            Self::Setup(reason) => Self::Setup(format!("{reason} ({place})")),
            known @ Self::Violated { .. } => known,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violated { violation, place } => write!(f, "{violation} ({place})"),
            Self::Setup(reason) => write!(f, "the harness failed: {reason}"),
        }
    }
}

impl Error for Failure {}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::violated(violation, "")
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::setup(error.to_string())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::setup(format!("SQLite: {error}"))
    }
}
