//! Following changes.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;

use crate::{
    client::Shared,
    value::{Key, Value},
};

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Its value as of now; none if it was removed.
    pub value: Option<Value>,
}

/// The changes of all keys with a prefix, from when this was made.
///
/// Each change is announced once it is done. A key that changes again before its change was taken is announced once,
/// with its latest value: a slow reader holds at most one change per key, and never up the writers. It ends (`None`)
/// when the client is closed and everything was taken.
///
/// A [`Stream`]; or [`try_next`](Self::try_next), which can also be waited on by a plain thread.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// let mut changes = client.watch("settings/")?;
/// client.put("settings/theme", "dark").wait()?;
/// let change = changes.try_next().wait().unwrap();
/// assert_eq!(change.value.unwrap(), "dark");
/// client.close().wait()?;
/// assert!(changes.try_next().wait().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a watch announces nothing until it is asked for the next change"]
pub struct Watch {
    shared: Arc<Shared>,
    pending: Arc<Mutex<Pending>>,
}

/// Keys whose change was not taken yet.
#[derive(Debug, Default)]
struct Pending {
    prefix: Vec<u8>,
    order: VecDeque<Key>,
    keys: HashSet<Key>,
    waker: Option<Waker>,
    ended: bool,
}

/// Everybody who follows a client's changes.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    all: Mutex<All>,
    /// How many there are, so that a write need not ask further if there is none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct All {
    watches: Vec<Weak<Mutex<Pending>>>,
    /// The client is closed: who comes now comes to the end at once.
    ended: bool,
}

impl Watchers {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(crate) fn watch(&self, shared: Arc<Shared>, prefix: &[u8]) -> Watch {
        let mut all = lock(&self.all);
        let pending = Pending { prefix: prefix.to_vec(), ended: all.ended, ..Pending::default() };
        let pending = Arc::new(Mutex::new(pending));
        all.watches.retain(|watch| watch.strong_count() > 0);
        all.watches.push(Arc::downgrade(&pending));
        self.count.fetch_add(1, Ordering::Release);
        drop(all);
        Watch { shared, pending }
    }

    /// Takes note of changes, while the store is still held: so that a close comes after them.
    pub(crate) fn note<'a>(&self, keys: &(impl Iterator<Item = &'a Key> + Clone)) {
        for watch in lock(&self.all).watches.iter().filter_map(Weak::upgrade) {
            let mut pending = lock(&watch);
            for key in keys.clone() {
                if key.starts_with(&pending.prefix) && !pending.keys.contains(key) {
                    pending.keys.insert(key.clone());
                    pending.order.push_back(key.clone());
                }
            }
        }
    }

    /// Wakes those who wait for what was noted; to be called without a lock, as they may come back at once.
    pub(crate) fn wake(&self) {
        let all: Vec<_> = lock(&self.all).watches.iter().filter_map(Weak::upgrade).collect();
        for watch in all {
            let mut pending = lock(&watch);
            let waker = if pending.order.is_empty() { None } else { pending.waker.take() };
            drop(pending);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Lets everybody come to the end.
    pub(crate) fn end(&self) {
        let watches = {
            let mut all = lock(&self.all);
            all.ended = true;
            std::mem::take(&mut all.watches)
        };
        for watch in watches.iter().filter_map(Weak::upgrade) {
            let mut pending = lock(&watch);
            pending.ended = true;
            let waker = pending.waker.take();
            drop(pending);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.core.watchers.count.fetch_sub(1, Ordering::Release);
        // Or it might be dropped by a commit, which holds locks that whoever is behind it may want.
        let waker = lock(&self.pending).waker.take();
        drop(waker);
    }
}

impl Watch {
    /// The next change, waiting for one if there is none yet; `None` once the client is closed.
    pub fn try_next(&mut self) -> Next<'_> {
        Next { watch: self }
    }
}

impl Stream for Watch {
    type Item = Change;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        let mut pending = lock(&self.pending);
        let Some(key) = pending.order.pop_front() else {
            if pending.ended {
                return Poll::Ready(None);
            }
            pending.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        pending.keys.remove(&key);
        drop(pending);
        let value = self.shared.core.store().get(&key);
        Poll::Ready(Some(Change { key, value }))
    }
}

/// A [`Watch`]'s next change: await it, or wait on it. Dropping it loses nothing.
#[derive(Debug)]
#[must_use = "it does nothing until it is awaited or waited on"]
pub struct Next<'a> {
    watch: &'a mut Watch,
}

impl Next<'_> {
    /// Waits on this thread.
    #[must_use]
    pub fn wait(self) -> Option<Change> {
        larder_runtime::wait(self)
    }

    /// Waits on this thread, but no longer than this; `None` if there was nothing by then.
    #[must_use]
    pub fn wait_timeout(self, timeout: Duration) -> Option<Option<Change>> {
        larder_runtime::wait_timeout(self, timeout)
    }
}

impl Future for Next<'_> {
    type Output = Option<Change>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        Pin::new(&mut *self.watch).poll_next(context)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
