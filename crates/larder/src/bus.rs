//! What has been committed, told to whoever listens.
//!
//! The bus carries no events: it wakes. A subscription reads by position, so a wake-up that comes too often
//! costs a look, and one that comes between its look and its sleep is not lost.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Announces commits to listeners, per log. Cheap to clone; clones are the same bus.
///
/// ```
/// use larder::Bus;
///
/// let bus = Bus::new();
/// let mut listener = bus.listen("orders");
/// listener.observe();
/// bus.publish("orders");
/// larder::wait(std::future::poll_fn(|cx| listener.poll_changed(cx)));
/// ```
#[derive(Clone, Default)]
pub struct Bus(Arc<Shared>);

type Hook = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Shared {
    channels: Mutex<HashMap<Arc<str>, Channel>>,
    /// How many listeners there are: a commit that nobody listens to takes no lock.
    listeners: AtomicUsize,
    on_listen: OnceLock<Hook>,
}

#[derive(Default)]
struct Channel {
    /// Counts the announcements.
    epoch: u64,
    listeners: usize,
    next_id: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Bus {
    /// A bus without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls back whenever somebody starts to listen, so that a backend can watch for other processes only
    /// while it matters. Can be set once.
    pub fn on_listen(&self, hook: impl Fn() + Send + Sync + 'static) {
        // A second hook is a mistake of the backend's author, and harmless.
        drop(self.0.on_listen.set(Box::new(hook)));
    }

    /// How many listeners there are.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.0.listeners.load(Ordering::SeqCst)
    }

    /// Whether somebody listens to this log, or to another channel.
    #[must_use]
    pub fn has_listeners(&self, log: &str) -> bool {
        self.listeners() > 0 && self.channels().contains_key(log)
    }

    /// Announces that something was committed to this log.
    pub fn publish(&self, log: &str) {
        if self.listeners() > 0 {
            let woken = self.channels().get_mut(log).map(Channel::announce);
            woken.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Announces that anything may have changed: another process committed, or the store closes.
    pub fn publish_all(&self) {
        let woken: Vec<Waker> = self.channels().values_mut().flat_map(Channel::announce).collect();
        woken.into_iter().for_each(Waker::wake);
    }

    /// Starts to listen to a log.
    #[must_use]
    pub fn listen(&self, log: &str) -> Listener {
        let log: Arc<str> = log.into();
        let (id, seen) = {
            let mut channels = self.channels();
            let channel = channels.entry(log.clone()).or_default();
            channel.listeners += 1;
            channel.next_id += 1;
            (channel.next_id, channel.epoch)
        };
        self.0.listeners.fetch_add(1, Ordering::SeqCst);
        if let Some(hook) = self.0.on_listen.get() {
            hook();
        }
        Listener { bus: self.clone(), log, id, seen }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    fn announce(&mut self) -> Vec<Waker> {
        self.epoch += 1;
        self.waiting.drain(..).map(|(_, waker)| waker).collect()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("listeners", &self.listeners()).finish_non_exhaustive()
    }
}

/// Listens to a log: observe, look, and if there was nothing to see, wait for a change since the observation.
#[derive(Debug)]
pub struct Listener {
    bus: Bus,
    log: Arc<str>,
    id: u64,
    seen: u64,
}

impl Listener {
    /// Remembers what has been announced by now; call it before looking.
    pub fn observe(&mut self) {
        if let Some(channel) = self.bus.channels().get(&self.log) {
            self.seen = channel.epoch;
        }
    }

    /// Ready once something was announced since the last observation.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut channels = self.bus.channels();
        let Some(channel) = channels.get_mut(&self.log) else { return Poll::Ready(()) };
        if channel.epoch != self.seen {
            return Poll::Ready(());
        }
        match channel.waiting.iter_mut().find(|(id, _)| *id == self.id) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => channel.waiting.push((self.id, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut channels = self.bus.channels();
        if let Some(channel) = channels.get_mut(&self.log) {
            channel.waiting.retain(|(id, _)| *id != self.id);
            channel.listeners -= 1;
            if channel.listeners == 0 {
                channels.remove(&self.log);
            }
        }
        drop(channels);
        self.bus.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}
