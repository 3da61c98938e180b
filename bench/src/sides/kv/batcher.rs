//! A batching thread in front of a store that only knows callers on threads: whatever waits is put as one batch.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use super::{Kv, Pair};

/// A store with its batching thread.
pub struct Batcher {
    queue: Arc<Queue>,
    leader: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    pairs: Vec<Pair>,
    callers: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Batcher {
    pub fn new(store: Arc<dyn Kv>) -> Self {
        let queue = Arc::new(Queue::default());
        let leader = thread::spawn({
            let queue = queue.clone();
            move || lead(&*store, &queue)
        });
        Self { queue, leader: Some(leader) }
    }

    /// Answers when the put is durable.
    pub async fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        let (caller, done) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.pairs.push((key, value));
            waiting.callers.push(caller);
        }
        self.queue.arrived.notify_one();
        done.await.context("the batching thread failed")
    }
}

fn lead(store: &dyn Kv, queue: &Queue) -> Result<()> {
    loop {
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.callers.is_empty() {
            if waiting.closed {
                return Ok(());
            }
            waiting = queue.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let pairs = std::mem::take(&mut waiting.pairs);
        let callers = std::mem::take(&mut waiting.callers);
        drop(waiting);
        store.put_all(pairs)?;
        for caller in callers {
            // A caller that has gone needs no answer.
            let _ = caller.send(());
        }
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.arrived.notify_one();
        if let Some(leader) = self.leader.take() {
            let _ = leader.join();
        }
    }
}
