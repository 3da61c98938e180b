//! The bare log: one file, whatever is queued is written and synced together, no index. The floor below every
//! store that syncs.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

/// A file with a thread that writes and syncs everything that waits.
#[derive(Debug)]
pub struct BareLog {
    queue: Arc<Queue>,
    leader: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    callers: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl BareLog {
    pub fn create(dir: &Path) -> Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(dir.join("bare.log"))?;
        let queue = Arc::new(Queue::default());
        let leader = thread::spawn({
            let queue = queue.clone();
            move || lead(&file, &queue)
        });
        Ok(Self { queue, leader: Some(leader) })
    }

    /// Appends a record; answers when it is on disk.
    pub async fn append(&self, record: &[u8]) -> Result<()> {
        let (caller, synced) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let length = u32::try_from(record.len())?;
            waiting.bytes.extend_from_slice(&length.to_le_bytes());
            waiting.bytes.extend_from_slice(record);
            waiting.callers.push(caller);
        }
        self.queue.arrived.notify_one();
        synced.await.context("the bare log failed")
    }
}

fn lead(mut file: &File, queue: &Queue) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.callers.is_empty() {
            if waiting.closed {
                return Ok(());
            }
            waiting = queue.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut bytes, &mut waiting.bytes);
        let callers = std::mem::take(&mut waiting.callers);
        drop(waiting);
        file.write_all(&bytes)?;
        file.sync_data()?;
        bytes.clear();
        for caller in callers {
            // A caller that has gone needs no answer.
            let _ = caller.send(());
        }
    }
}

impl Drop for BareLog {
    fn drop(&mut self) {
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.queue.arrived.notify_one();
        if let Some(leader) = self.leader.take() {
            let _ = leader.join();
        }
    }
}
