//! What a backend is asked about projections.

use std::sync::Arc;

use crate::{
    error::{Error, ErrorKind, Result},
    event::Position,
    projection::{DeadLetter, ProjectionFailure},
    query::Query,
};

/// A change of a projection's record.
///
/// A batch that sets a projection's checkpoint (or that of its rebuild) may write the QueryDbs that the projection owns, in the
/// operations after it; nobody else may: `InvalidArgument`, naming the owner.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProjectionOperation {
    /// Records what a projection reads and which QueryDbs it owns, which come to be if they are not there. Another log
    /// than before is `InvalidArgument`, and so is a QueryDb of another owner.
    Register {
        /// The projection.
        projection: Arc<str>,
        /// The log that it reads: compaction beyond its checkpoint is refused from now on.
        log: Arc<str>,
        /// The events that it reads.
        query: Query,
        /// The QueryDbs that it alone writes.
        owns: Vec<String>,
    },
    /// Moves the checkpoint. `Conflict` if it is not where it is expected, or if a rebuild was finished since: what was loaded
    /// before is of another read model. A failure that was recorded is over.
    SetCheckpoint {
        /// The projection.
        projection: Arc<str>,
        /// Where it is believed to be, and after how many finished rebuilds; `None` moves it from anywhere.
        expected: Option<(Position, u64)>,
        /// Where it goes.
        position: Position,
    },
    /// Moves the checkpoint of a rebuild, as `SetCheckpoint`; `Conflict` also if none is under way.
    SetRebuildCheckpoint {
        /// The projection.
        projection: Arc<str>,
        /// Where it is believed to be.
        expected: Position,
        /// Where it goes.
        position: Position,
    },
    /// Records why a projection has stopped. A rebuild that was asked for is no longer: it would fail again.
    RecordFailure {
        /// The projection.
        projection: Arc<str>,
        /// Why.
        failure: ProjectionFailure,
    },
    /// Keeps an event that was passed over.
    AddDeadLetter {
        /// The projection.
        projection: Arc<str>,
        /// The event, and why.
        letter: DeadLetter,
    },
    /// Forgets a dead letter. One that is not there is fine.
    RemoveDeadLetter {
        /// The projection.
        projection: Arc<str>,
        /// The event's position.
        position: Position,
    },
    /// Asks whoever runs the projection to rebuild it, until a rebuild is finished or fails. `NotFound` if there is none; `InvalidArgument` if it owns no
    /// QueryDb.
    RequestRebuild {
        /// The projection.
        projection: Arc<str>,
    },
    /// Makes an empty copy, `NAME~rebuild`, of each QueryDb that the projection owns, in place of those of an earlier
    /// rebuild. Their versions begin above all of the originals'.
    BeginRebuild {
        /// The projection.
        projection: Arc<str>,
    },
    /// Puts the copies in place of the originals, with one `Replaced` change each, and takes the rebuild's checkpoint over.
    /// `Conflict` if either checkpoint is not where it is expected.
    FinishRebuild {
        /// The projection.
        projection: Arc<str>,
        /// The projection's checkpoint.
        expected: Position,
        /// The rebuild's.
        rebuilt: Position,
    },
    /// Gives a rebuild up: drops its copies. `Conflict` if none is under way, or its checkpoint is not where it is expected:
    /// then it is another's.
    AbandonRebuild {
        /// The projection.
        projection: Arc<str>,
        /// The rebuild's checkpoint.
        rebuilt: Position,
    },
    /// Removes the projection's record, and the copies of a rebuild that is under way: the QueryDbs stay, without an
    /// owner. An unknown one is fine.
    Drop {
        /// The projection.
        projection: Arc<str>,
    },
}

/// Fails with `Conflict` unless both are the same.
pub(crate) fn check_checkpoint(expected: Position, actual: Position) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict { expected: expected.get(), actual: actual.get() }))
}

/// The same for a checkpoint and the number of rebuilds that were finished.
pub(crate) fn check_checkpoint_and_rebuilds(
    expected: Option<(Position, u64)>,
    (checkpoint, rebuilds): (Position, u64),
) -> Result<()> {
    let Some((expected, seen)) = expected else { return Ok(()) };
    check_checkpoint(expected, checkpoint)?;
    if seen == rebuilds {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict { expected: seen, actual: rebuilds })
        .with("rebuilds", "one was finished meanwhile"))
}

/// How the copy of a QueryDb that a rebuild fills is called. Users cannot name one so.
pub const REBUILD_SUFFIX: &str = "~rebuild";

/// Versions of a rebuild's copies begin at the next multiple of this: the originals go on meanwhile.
pub(crate) const REBUILD_VERSIONS: u64 = 1 << 32;
