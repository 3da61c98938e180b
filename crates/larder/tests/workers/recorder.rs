//! Writes down every commit of a bucket, and what handlers say.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use larder::{
    Clock, Error, ErrorKind, Expected, Payload, Result, SystemClock,
    backend::{
        AppendOperation, Backend, BoxFuture, Claimed, CommitReply, CommitRequest, Due, EventData, Lease,
        Operation, Outcome, TaskBucketOperation, TaskBucketOutcome,
    },
    testing::Wrapper,
    wait,
};
use serde::{Deserialize, Serialize};

use crate::NOTES;

/// What was asked of the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Asked {
    Put { key: String, after: u64 },
    Claim { lease: u64, most: u32 },
    Renew { lease: Lease, duration: u64 },
    Acknowledge { lease: Lease },
    Fail { lease: Lease, error: String, retry_after: Option<u64> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Put {
        version: u64,
    },
    Claimed(Vec<Claimed>),
    Done,
    LeaseLost,
    /// Another process held the file for too long.
    Locked,
    Other(String),
}

/// What a handler said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It was called.
    Begins,
    /// It has succeeded, or is just about to acknowledge by itself.
    Succeeds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A commit, whose note has this name; and the time of the answer, in microseconds since 1970.
    Commit { note: String, asked: Asked, answer: Answer, at: u64 },
    /// A handler of this attempt at this trigger.
    Handler { trigger: u64, attempt: u32, version: u64, said: Said },
}

#[derive(Debug)]
pub(crate) struct Recorder {
    inner: Arc<dyn Backend>,
    process: String,
    count: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Backend>, process: &str) -> Self {
        Self { inner, process: process.to_owned(), count: AtomicU64::new(0), entries: Mutex::default() }
    }

    pub(crate) fn enter(&self, entry: Entry) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, mut request: CommitRequest, asked: Asked) -> Result<CommitReply> {
        let note = format!("{}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed));
        let place = request.operations.iter().position(is_of_a_bucket).unwrap_or_default();
        request.operations.push(write_down(&note));
        // On this thread to the end: a worker that is given up must not take the answer with it.
        let mut reply = wait(self.inner.commit(request));
        let answer = match &mut reply {
            Ok(reply) => {
                reply.outcomes.pop();
                answered(&reply.outcomes[place])
            }
            Err(error) => refused(error),
        };
        let at = SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros();
        self.enter(Entry::Commit { note, asked, answer, at: u64::try_from(at).unwrap_or(u64::MAX) });
        reply
    }
}

fn is_of_a_bucket(operation: &Operation) -> bool {
    matches!(operation, Operation::TaskBucket(_))
}

fn asked(operation: &TaskBucketOperation) -> Option<Asked> {
    Some(match operation.clone() {
        TaskBucketOperation::Put { object, trigger: Some(Due::After(after)), .. } => {
            Asked::Put { key: object.key, after }
        }
        TaskBucketOperation::Claim { lease, max_attempts: most, .. } => Asked::Claim { lease, most },
        TaskBucketOperation::Renew { lease, duration, .. } => Asked::Renew { lease, duration },
        TaskBucketOperation::Acknowledge { lease, .. } => Asked::Acknowledge { lease },
        TaskBucketOperation::Fail { lease, error, retry_after, .. } => {
            Asked::Fail { lease, error, retry_after }
        }
        _ => return None,
    })
}

fn answered(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::TaskBucket(TaskBucketOutcome::Put(put)) => Answer::Put { version: put.version },
        Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) => Answer::Claimed(claimed.clone()),
        Outcome::Done => Answer::Done,
        other => Answer::Other(format!("{other:?}")),
    }
}

fn refused(error: &Error) -> Answer {
    match error.kind() {
        ErrorKind::LeaseLost => Answer::LeaseLost,
        ErrorKind::Locked => Answer::Locked,
        _ => Answer::Other(error.to_string()),
    }
}

fn write_down(note: &str) -> Operation {
    let payload = Payload::Json(format!("\"{note}\""));
    let event = EventData { event_type: "Note".into(), payload, metadata: None, tags: Vec::new(), id: None };
    Operation::Append(AppendOperation {
        log: NOTES.into(),
        stream: None,
        expected: Expected::Any,
        condition: None,
        events: vec![event],
    })
}

impl Wrapper for Recorder {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        let of_a_bucket = request.operations.iter().find_map(|operation| match operation {
            Operation::TaskBucket(operation) => asked(operation),
            _ => None,
        });
        match of_a_bucket {
            Some(asked) => Box::pin(async move { self.record(request, asked) }),
            None => self.inner.commit(request),
        }
    }
}
