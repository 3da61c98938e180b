//! Objects and tasks that batches put, delete and acknowledge beside their events, and tasks that fail.
//!
//! Each writer has two buckets of its own, and its batches come one after the other; so what must be in them follows from
//! which batches are there, and which task each of them acknowledged.

mod ask;
mod check;

use std::{
    future::{Future, poll_fn, ready},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

pub(crate) use self::{
    ask::{ask, handle},
    check::{check, check_delivery},
};
use crate::step::StepId;
use larder::{Call, Store, Task, TaskBucket, WorkOptions, WriteBatch};
use larder_runtime::wait_timeout;

/// Keys of each writer's first bucket, which are put, deleted and handled over and over.
const KEYS: u32 = 4;
/// The lease of a task that a batch is going to acknowledge: no run takes longer.
const LEASE: Duration = Duration::from_secs(3_600);
/// The lease of a task that fails: if the process dies before, the next one need not wait long.
const SHORT_LEASE: Duration = Duration::from_millis(20);
/// More attempts than there are.
const ATTEMPTS: u32 = 1_000_000;
/// A worker waits for as long as the disk is full.
const PATIENCE: Duration = Duration::from_millis(150);
/// What a task says that fails.
const FAILED: &str = "told to fail";

/// The bucket whose tasks are acknowledged by batches.
fn handled(store: &Store, writer: u32) -> larder::Result<TaskBucket> {
    store.task_bucket(format!("crash.handled-{writer}"))
}

/// The bucket whose tasks fail.
fn failing(store: &Store, writer: u32) -> larder::Result<TaskBucket> {
    store.task_bucket(format!("crash.failing-{writer}"))
}

fn key(number: u32) -> String {
    format!("key/{number}")
}

fn number_of(key: &str) -> Option<u32> {
    key.strip_prefix("key/")?.parse().ok().filter(|number| *number < KEYS)
}

/// The key that a batch puts.
fn put_key(step: StepId) -> u32 {
    step.index % KEYS
}

/// The key that a batch deletes, if it does.
fn deleted_key(step: StepId) -> Option<u32> {
    step.index.is_multiple_of(3).then_some(step.index / 3 % KEYS)
}

/// Names its step; short, or longer than a page.
fn bytes(step: StepId) -> Vec<u8> {
    let length = if step.index.is_multiple_of(5) { 5_000 } else { step.index as usize * 37 % 900 };
    let noise = (0..length).map(|n| u8::try_from(n * n % 251).unwrap_or(0));
    step.to_string().bytes().chain(noise).collect()
}

fn content_type(step: StepId) -> Option<String> {
    step.index.is_multiple_of(2).then(|| format!("text/{}", step.index))
}

/// Which task a batch acknowledges, for the ledger: the first of its key.
pub(crate) fn target(task: Option<&Task>) -> u64 {
    task.and_then(|task| number_of(&task.key)).map_or(0, |number| u64::from(number) + 1)
}

/// Adds a batch's changes: an object with its task, a deletion with its task, an acknowledgement, an object whose task is
/// to fail.
pub(crate) fn add(
    batch: &mut WriteBatch,
    store: &Store,
    step: StepId,
    task: Option<&Task>,
) -> larder::Result<()> {
    let bucket = handled(store, step.writer)?;
    let put = bucket.put(key(put_key(step)), bytes(step));
    match content_type(step) {
        Some(content_type) => batch.add(put.content_type(content_type)),
        None => batch.add(put),
    };
    if let Some(number) = deleted_key(step) {
        batch.add(bucket.delete(key(number)).with_trigger());
    }
    match task {
        Some(task) => {
            batch.add(task.acknowledge());
        }
        // A batch is recognised again by as many operations.
        None => {
            batch.add(bucket.discard(0));
        }
    }
    batch.add(failing(store, step.writer)?.put(step.to_string(), bytes(step)));
    Ok(())
}

/// Claims the task that is due longest, if there is one, for a batch that is going to acknowledge it.
///
/// # Errors
/// What the store answers.
pub(crate) fn claim(store: &Store, writer: u32) -> larder::Result<Option<Task>> {
    let claimed = Arc::new(Mutex::new(None));
    let hand = claimed.clone();
    let mut options = WorkOptions::default();
    (options.once, options.concurrency) = (true, 1);
    (options.lease, options.max_attempts) = (LEASE, ATTEMPTS);
    let take = |slot: &Mutex<Option<Task>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut work = handled(store, writer)?.work(options, move |task| {
        *hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        // The worker is given up, the lease stays.
        std::future::pending()
    });
    let handed_out = poll_fn(|context| {
        let polled = Pin::new(&mut work).poll(context);
        match (take(&claimed), polled) {
            (Some(task), _) => Poll::Ready(Ok(Some(task))),
            (None, Poll::Ready(ended)) => Poll::Ready(ended.map(|()| None)),
            (None, Poll::Pending) => Poll::Pending,
        }
    });
    wait_timeout(Box::pin(handed_out), PATIENCE).unwrap_or(Ok(None))
}

/// Lets every task fail that is there; false if that takes too long.
///
/// # Errors
/// What the store answers.
pub(crate) fn fail_all(store: &Store, writer: u32) -> larder::Result<bool> {
    let mut options = WorkOptions::default();
    (options.until_empty, options.max_attempts, options.lease) = (true, 1, SHORT_LEASE);
    let work: Call<()> = failing(store, writer)?.work(options, |_| ready(Err(FAILED.into())));
    match wait_timeout(work, PATIENCE) {
        Some(ended) => ended.map(|()| true),
        None => Ok(false),
    }
}
