//! What executing a command answers.

use std::{error::Error as StdError, fmt};

use super::Decider;
use crate::{error::Error, event::Position};

/// A command that was followed.
#[non_exhaustive]
pub struct Executed<D: Decider> {
    /// The state after its events.
    pub state: D::State,
    /// What it led to, which may be nothing.
    pub events: Vec<D::Event>,
    /// The position of the last of its events; of the last event that it was decided on, if it led to none. Give it to
    /// [`Projection::wait_for`](crate::Projection::wait_for) to read your writes.
    pub position: Position,
    /// The stream's head after it; 0 outside of streams.
    pub seq_nr: u64,
}

impl<D: Decider> fmt::Debug for Executed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executed")
            .field("events", &self.events.len())
            .field("position", &self.position)
            .field("seq_nr", &self.seq_nr)
            .finish_non_exhaustive()
    }
}

/// Why a command was not followed. Nothing was written, unless it [failed](Self::Failed) with
/// [`CommitUnknown`](crate::ErrorKind::CommitUnknown).
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecuteError<R> {
    /// The decider said no.
    Rejected(R),
    /// The store failed, or other writers were first too often: then it is a
    /// [conflict](crate::Error::is_conflict).
    Failed(Error),
}

impl<R> From<Error> for ExecuteError<R> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<R: fmt::Display> fmt::Display for ExecuteError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<R: StdError + 'static> StdError for ExecuteError<R> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Failed(error) => error.source(),
        }
    }
}
