//! A promise that was not kept.

use std::fmt;

/// Which promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Promise {
    /// What was acknowledged is there, in its place.
    NothingLost,
    /// What was not submitted, or was refused, is not there; nothing is there twice.
    NothingInvented,
    /// What is there is what was submitted.
    NothingGarbled,
    /// An append is there as a whole or not at all.
    AllOrNothing,
    /// Streams are without holes, positions rise, queries and streams agree, conditions held.
    Consistent,
    /// The store opens, verifies and takes writes.
    Usable,
    /// Errors say what happened.
    Truthful,
}

/// A promise that was not kept, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// How it shows.
    pub found: String,
}

impl Violation {
    /// A violation of this promise.
    pub fn of(promise: Promise, found: impl Into<String>) -> Self {
        Self { promise, found: found.into() }
    }

    /// A call that should have worked.
    #[must_use]
    pub fn unusable(call: &str, error: &larder::Error) -> Self {
        let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        Self::of(Promise::Usable, format!("{call}: {error}{cause}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.found)
    }
}

impl std::error::Error for Violation {}

/// Names the call whose error is a violation.
pub trait OrUnusable<T> {
    /// The value, or a violation that names the call.
    ///
    /// # Errors
    /// The violation.
    fn or_unusable(self, call: &str) -> Result<T, Violation>;
}

impl<T> OrUnusable<T> for larder::Result<T> {
    fn or_unusable(self, call: &str) -> Result<T, Violation> {
        self.map_err(|error| Violation::unusable(call, &error))
    }
}
