//! What each write of a task bucket answers.

use serde::{Deserialize, Serialize};

use crate::{
    backend::{Claimed, Outcome, TaskBucketOutcome},
    operation::WriteKind,
    page::sealed::Sealed,
    write_kind::write_kind,
};

/// What a put answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectPut {
    /// The object's version: versions rise through the whole bucket.
    pub version: u64,
    /// Whether there was an object under the key.
    pub replaced: bool,
}

impl ObjectPut {
    /// What a put answers, for backends.
    #[must_use]
    pub fn new(version: u64, replaced: bool) -> Self {
        Self { version, replaced }
    }
}

write_kind! {
    /// The kind of a put: answers [`ObjectPut`].
    Put => ObjectPut, Outcome::TaskBucket(TaskBucketOutcome::Put(put)) => put;
    /// The kind of a deletion: answers whether there was an object.
    DeleteObject => bool, Outcome::TaskBucket(TaskBucketOutcome::Deleted(was_there)) => was_there;
    /// The kind of a redrive: answers how many dead letters there were.
    RedriveDeadTasks => u64, Outcome::TaskBucket(TaskBucketOutcome::Moved(count)) => count;
    /// The kind of a discard: answers how many dead letters there were.
    DiscardDeadTasks => u64, Outcome::TaskBucket(TaskBucketOutcome::Moved(count)) => count;
    /// The kind of an acknowledgement, of a renewal, and of a failure.
    Acknowledge => (), Outcome::Done => &();
}

/// The kind of a claim, which only workers make.
#[derive(Debug)]
pub(super) enum Claim {}

impl Sealed for Claim {}

impl WriteKind for Claim {
    type Outcome = Vec<Claimed>;

    fn outcome(outcome: &Outcome) -> Option<&Vec<Claimed>> {
        match outcome {
            Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) => Some(claimed),
            _ => None,
        }
    }
}
