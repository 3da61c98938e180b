//! The two threads that commit for callers who cannot do it themselves.
//!
//! One syncs, group after group. While others wait for the next sync, the other one gives the answers, and writes what those
//! who were answered have brought along: so it is in the file already when its sync begins.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    thread::{self, JoinHandle},
};

use super::Synced;
use crate::{
    compaction,
    core::{Core, lock},
};

/// What the threads of the crew tell each other; under the lock of the queue.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    /// Whether the threads were started.
    exists: bool,
    /// Groups that wait for somebody to commit them.
    summoned: usize,
    /// Whether the one that syncs waits for a group.
    is_idle: bool,
    /// Groups whose callers wait for their answers.
    synced: VecDeque<Synced>,
    /// Nothing more comes from the one that syncs.
    has_ended: bool,
}

impl Core {
    /// Has the crew commit a group.
    pub(super) fn summon_crew(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        queue.crew.summoned += 1;
        let (exists, is_idle) = (queue.crew.exists, queue.crew.is_idle);
        queue.crew.exists = true;
        drop(queue);
        if !exists {
            self.start_crew();
        } else if is_idle {
            self.summons.notify_one();
        }
    }

    fn start_crew(self: &Arc<Self>) {
        lock(&self.queue).crew.has_ended = false;
        let started = self.start("larder-kv-answer", Self::answer_groups).and_then(|answers| {
            lock(&self.threads).push(answers);
            self.start("larder-kv-sync", Self::sync_groups)
        });
        match started {
            Ok(syncs) => lock(&self.threads).push(syncs),
            Err(error) => {
                tracing::warn!(%error, "a commit thread did not start");
                let mut queue = lock(&self.queue);
                queue.crew.has_ended = true;
                queue.crew.exists = false;
                queue.crew.summoned = 0;
                drop(queue);
                self.answered.notify_all();
                self.commit_group();
            }
        }
    }

    fn start(self: &Arc<Self>, name: &str, run: fn(&Arc<Self>)) -> std::io::Result<JoinHandle<()>> {
        let core = self.clone();
        thread::Builder::new().name(name.into()).spawn(move || run(&core))
    }

    /// Commits groups as long as it is summoned.
    fn sync_groups(self: &Arc<Self>) {
        let _ending = Ending(self);
        loop {
            let mut queue = lock(&self.queue);
            while queue.crew.summoned == 0 {
                if queue.stopped {
                    return;
                }
                queue.crew.is_idle = true;
                queue = self.summons.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.crew.is_idle = false;
            }
            queue.crew.summoned = 0;
            drop(queue);
            let synced = self.sync_group();
            let mut queue = lock(&self.queue);
            if queue.crew.summoned == 0 && queue.crew.synced.is_empty() {
                // Nobody waits for the next sync.
                drop(queue);
                self.answer(synced);
            } else {
                queue.crew.synced.push_back(synced);
                drop(queue);
                self.answered.notify_one();
            }
            compaction::if_due(self);
        }
    }

    /// Gives the answers.
    fn answer_groups(self: &Arc<Self>) {
        loop {
            let mut queue = lock(&self.queue);
            let synced = loop {
                if let Some(synced) = queue.crew.synced.pop_front() {
                    break synced;
                }
                if queue.crew.has_ended {
                    return;
                }
                queue = self.answered.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            self.answer(synced);
            self.write_ahead();
        }
    }
}

/// Tells the thread that answers that nothing more comes, also after a panic.
struct Ending<'a>(&'a Core);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).crew.has_ended = true;
        self.0.answered.notify_all();
    }
}
