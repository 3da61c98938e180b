//! Cases of task buckets: tb_01 to tb_04.

pub(super) mod leases;
pub(super) mod objects;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
pub(super) mod work;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    backend::{
        Backend, Claimed, CommitRequest, Lease, Operation, Outcome, TaskBucketOperation, TaskBucketOutcome,
    },
    error::{BoxError, Result},
    operation::wait,
    store::Store,
    task_bucket::{TaskBucket, WorkOptions},
};

/// The bucket that most cases use.
fn bucket(store: &Store) -> Result<TaskBucket> {
    store.task_bucket("mails")
}

/// Works until nothing is due.
fn once() -> WorkOptions {
    WorkOptions { once: true, seed: Some(1), ..WorkOptions::default() }
}

/// Commits one operation, beneath the handles.
fn commit(backend: &Arc<dyn Backend>, operation: TaskBucketOperation) -> Result<Outcome> {
    let operations = vec![Operation::TaskBucket(operation)];
    let reply = wait(backend.commit(CommitRequest { id: None, operations, on_callers_thread: true }))?;
    Ok(reply.outcomes.into_iter().next().expect("one outcome for one operation"))
}

/// Claims as a worker with leases of ten seconds and three attempts does.
fn claim(backend: &Arc<dyn Backend>, limit: usize) -> Result<Vec<Claimed>> {
    let claim =
        TaskBucketOperation::Claim { bucket: "mails".into(), limit, lease: 10_000_000, max_attempts: 3 };
    match commit(backend, claim)? {
        Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) => Ok(claimed),
        other => panic!("a claim answered {other:?}"),
    }
}

fn acknowledge(backend: &Arc<dyn Backend>, lease: Lease) -> Result<Outcome> {
    commit(backend, TaskBucketOperation::Acknowledge { bucket: "mails".into(), lease })
}

fn keys(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|claimed| claimed.key.as_str()).collect()
}

/// What handlers were given, as lines.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn tell(&self, line: impl Into<String>) {
        self.0.lock().expect("nobody panics with it").push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

/// Works on a thread of its own.
fn on_a_thread(
    work: impl Future<Output = Result<()>> + Send + 'static,
) -> std::thread::JoinHandle<Result<()>> {
    std::thread::spawn(move || wait(work))
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) -> std::result::Result<(), BoxError> {
    for _ in 0..6_000 {
        if holds() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("it never came: {what}").into())
}
