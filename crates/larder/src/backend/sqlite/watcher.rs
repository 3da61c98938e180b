//! Watches for what other processes commit, while somebody listens.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use super::shared::Shared;
use crate::error::Result;

/// Has a thread watch whenever there are listeners. It ends when there are none, or with the instance.
pub(super) fn start(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let running = Arc::new(Mutex::new(false));
    shared.bus.on_listen(move || {
        let mut is_running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_running {
            let (weak, running) = (weak.clone(), running.clone());
            let spawned =
                thread::Builder::new().name("larder-watch".into()).spawn(move || watch(&weak, &running));
            // Without a thread, subscriptions see what this process commits, and the next listener tries again.
            *is_running = spawned.is_ok();
        }
    });
}

fn watch(weak: &Weak<Shared>, running: &Mutex<bool>) {
    let mut seen = None;
    loop {
        let Some(shared) = weak.upgrade() else { return };
        if shared.queue.is_stopped() {
            return;
        }
        let interval = shared.config.poll_interval;
        {
            let mut is_running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if shared.bus.listeners() == 0 {
                *is_running = false;
                return;
            }
        }
        // What cannot be read just now is looked at again after the interval.
        if let Ok(now) = heads(&shared) {
            // The first look counts too: a listener may have read before it, and somebody appended in between.
            if seen != Some(now) {
                shared.bus.publish_all();
            }
            seen = Some(now);
        }
        drop(shared);
        thread::sleep(interval);
    }
}

/// A number that is another after every append to any log, every change of a QueryDb or of a projection's record, and every
/// put into a task bucket.
fn heads(shared: &Shared) -> Result<f64> {
    shared.pool.read(|connection| {
        let sql = "SELECT (SELECT total(head) FROM log) + (SELECT total(version) FROM query_db)
                     + (SELECT total(counter) FROM task_bucket)
                     + (SELECT total(checksum) FROM projection)";
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row([], |row| row.get(0))?)
    })
}
