//! Backends with a fault each, to prove that the checker sees it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use larder::{
    ErrorKind, Result,
    backend::{
        Backend, BoxFuture, CommitReply, CommitRequest, Due, Operation, Outcome, TaskBucketOperation,
        TaskBucketOutcome,
    },
    testing::Wrapper,
};

/// What a broken backend does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A lease has run out as soon as it begins.
    ForgetsLeases,
    /// Each put has a key of its own.
    ForgetsKeys,
    /// A put leaves no trigger, now and then.
    LosesTriggers,
    /// An acknowledged trigger is there again, now and then.
    ForgetsAcknowledgements,
    /// What comes too late is answered as if it had not.
    AnswersLateAcknowledgements,
    /// Attempts are not counted.
    RetriesForEver,
    /// A failed attempt is the last.
    GivesUpEarly,
    /// What becomes a dead letter is gone.
    DropsDeadLetters,
    /// What is to wait is due at once.
    DoesNotWait,
    /// A lease that is to be renewed is given back.
    TakesLeasesAway,
}

/// So many commits are enough for a fault that would keep the run from ending.
const ENOUGH: u64 = 300;

/// A backend over a sound one.
#[derive(Debug)]
pub(crate) struct Broken {
    inner: Arc<dyn Backend>,
    fault: Fault,
    commits: AtomicU64,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn Backend>, fault: Fault) -> Self {
        Self { inner, fault, commits: AtomicU64::new(0) }
    }

    async fn faulty(&self, mut request: CommitRequest) -> Result<CommitReply> {
        let number = self.commits.fetch_add(1, Ordering::Relaxed);
        for operation in &mut request.operations {
            if let Operation::TaskBucket(operation) = operation {
                self.change(operation, number);
            }
        }
        let acknowledges = request.operations.iter().any(|operation| {
            matches!(operation, Operation::TaskBucket(TaskBucketOperation::Acknowledge { .. }))
        });
        let outcomes = vec![Outcome::Done; request.operations.len()];
        match self.inner.commit(request).await {
            Err(error)
                if self.fault == Fault::AnswersLateAcknowledgements
                    && acknowledges
                    && *error.kind() == ErrorKind::LeaseLost =>
            {
                Ok(CommitReply { outcomes })
            }
            reply => reply.map(|reply| self.with_known_keys(reply)),
        }
    }

    fn change(&self, operation: &mut TaskBucketOperation, number: u64) {
        use TaskBucketOperation as O;
        let now_and_then = number % 4 == 3;
        match (self.fault, &mut *operation) {
            (Fault::ForgetsLeases, O::Claim { lease, .. }) => *lease = 1,
            (Fault::ForgetsKeys, O::Put { object, .. }) => object.key = format!("{}#{number}", object.key),
            (Fault::LosesTriggers, O::Put { trigger, .. }) if now_and_then => *trigger = None,
            (Fault::ForgetsAcknowledgements, O::Acknowledge { bucket, lease })
                if now_and_then && number < ENOUGH =>
            {
                let (bucket, lease) = (bucket.clone(), *lease);
                *operation = O::Fail { bucket, lease, error: String::new(), retry_after: Some(0) };
            }
            (Fault::RetriesForEver, O::Claim { max_attempts, .. }) if number < ENOUGH => {
                *max_attempts = u32::MAX;
            }
            (Fault::RetriesForEver, O::Fail { retry_after: again @ None, .. }) if number < ENOUGH => {
                *again = Some(0);
            }
            (Fault::GivesUpEarly, O::Fail { retry_after, .. }) => *retry_after = None,
            (Fault::DropsDeadLetters, O::Fail { bucket, lease, retry_after: None, .. }) => {
                *operation = O::Acknowledge { bucket: bucket.clone(), lease: *lease };
            }
            (Fault::DoesNotWait, O::Fail { retry_after: Some(time), .. }) => *time = 0,
            (Fault::DoesNotWait, O::Put { trigger: Some(due), .. }) => *due = Due::After(0),
            (Fault::TakesLeasesAway, O::Renew { duration, .. }) => *duration = 0,
            _ => {}
        }
    }

    fn with_known_keys(&self, mut reply: CommitReply) -> CommitReply {
        if self.fault == Fault::ForgetsKeys {
            for outcome in &mut reply.outcomes {
                if let Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) = outcome {
                    for claimed in claimed {
                        let length = claimed.key.find('#').unwrap_or(claimed.key.len());
                        claimed.key.truncate(length);
                    }
                }
            }
        }
        reply
    }
}

impl Wrapper for Broken {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(self.faulty(request))
    }
}
