//! The thread that commits what callers enqueue.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    queue::{Job, Linger, Next},
    shared::Shared,
};
use crate::error::{Error, ErrorKind, Result};

/// How long a close waits for readers that are in the middle of a page.
const READERS_PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let shared = shared.clone();
    let spawned = thread::Builder::new().name("larder-writer".into()).spawn(move || run(&shared));
    spawned
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::Io).with("thread", "larder-writer").caused_by(error))
}

/// Ends the instance if the writer's thread panics: what it was at is unknown, and nobody may wait for it.
struct OnPanic<'a>(&'a Shared);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison();
            self.0.queue.stop();
            // What was under way is unknown; what still waited was not begun.
            let mut jobs = Vec::new();
            while !self.0.queue.is_empty() {
                self.0.queue.take(&mut jobs);
            }
            for job in jobs {
                if let Err(poisoned) = self.0.check_sound() {
                    // A caller that no longer waits has dropped its operation.
                    let _ = job.answer.send(Err(poisoned));
                }
            }
            self.0.has_ended();
        }
    }
}

fn run(shared: &Arc<Shared>) {
    let _on_panic = OnPanic(shared);
    let mut linger = Linger::default();
    loop {
        match shared.queue.wait(linger) {
            Next::Commit => linger = commit(shared),
            Next::Chores => chores(shared),
            Next::Stop => break,
        }
    }
    shared.pool.close(READERS_PATIENCE);
    // The last connection to close checkpoints and removes the write-ahead log.
    drop(shared.lock_writer().take());
    shared.has_ended();
}

/// Commits the group that waits, and tells how to wait for the next.
#[expect(clippy::disallowed_methods, reason = "how long a group took decides how long the next may gather")]
fn commit(shared: &Shared) -> Linger {
    let mut group: Vec<Job> = Vec::new();
    let mut writer = shared.lock_writer();
    let start = Instant::now();
    shared.queue.take(&mut group);
    let callers = group.len();
    let Some(writer) = writer.as_mut() else { return Linger::default() };
    writer.commit_group(shared, group);
    Linger::after_group(callers, start.elapsed())
}

fn chores(shared: &Shared) {
    if let Some(writer) = shared.lock_writer().as_mut() {
        writer.do_chores(shared);
    }
}
