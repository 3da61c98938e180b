//! Waiting for a time of the store's clock: for backoff and leases.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
};

/// How often a clock that is set by hand is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Wakes futures at a time of a clock. One thread for all of them, which starts with the first and ends with the timer.
/// Cheap to clone; clones are the same timer.
#[derive(Clone)]
pub(crate) struct Timer(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The earliest first.
    alarms: BinaryHeap<Reverse<Alarm>>,
    has_thread: bool,
}

struct Alarm {
    at: SystemTime,
    slot: Arc<Slot>,
}

/// What a sleeper and the thread share.
#[derive(Default)]
struct Slot {
    rang: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Timer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { clock, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Now, by the timer's clock.
    pub(crate) fn now(&self) -> SystemTime {
        self.0.clock.now()
    }

    /// Ready at this time, or when there can be no thread to wait for it.
    pub(crate) fn sleep_until(&self, at: SystemTime) -> Sleep {
        Sleep { timer: self.clone(), at, slot: None }
    }

    /// Ready after this time.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        let far = Duration::from_secs(100 * 365 * 86_400);
        self.sleep_until(self.now() + duration.min(far))
    }

    fn set(&self, at: SystemTime, slot: &Arc<Slot>) -> Result<()> {
        let mut state = self.0.lock();
        if !state.has_thread {
            let shared = Arc::downgrade(&self.0);
            let thread = thread::Builder::new().name("larder-timer".into());
            thread
                .spawn(move || run(&shared))
                .map_err(|error| Error::new(ErrorKind::Io).with("thread", "larder-timer").caused_by(error))?;
            state.has_thread = true;
        }
        state.alarms.push(Reverse(Alarm { at, slot: slot.clone() }));
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rings what is due, then waits for the next: it looks up now and then, to end when nobody holds the timer any more.
///
/// It rings without the lock, since a waker is foreign code: it may poll at once and set the next alarm, or panic.
fn run(shared: &Weak<Shared>) {
    const LONGEST: Duration = Duration::from_millis(500);
    while let Some(shared) = shared.upgrade() {
        let now = shared.clock.now();
        let mut state = shared.lock();
        let due = state.take_due(now);
        if !due.is_empty() {
            drop(state);
            due.iter().for_each(|slot| ring(slot));
            continue;
        }
        let Some(Reverse(next)) = state.alarms.peek() else {
            // Whoever sets the next alarm starts another thread.
            state.has_thread = false;
            return;
        };
        let left = next.at.duration_since(now).unwrap_or_default();
        let patience = if shared.clock.is_set_by_hand() { LOOK } else { left.min(LONGEST) };
        drop(shared.changed.wait_timeout(state, patience));
    }
}

/// Rings one; a waker that panics silences none of the others.
fn ring(slot: &Slot) {
    if catch_unwind(AssertUnwindSafe(|| slot.ring())).is_err() {
        tracing::error!("a waker panicked");
    }
}

impl State {
    /// Takes out what is due, and what nobody waits for any more, down to the first that has to wait.
    fn take_due(&mut self, now: SystemTime) -> Vec<Arc<Slot>> {
        let mut due = Vec::new();
        while let Some(Reverse(alarm)) = self.alarms.peek()
            && (alarm.at <= now || Arc::strong_count(&alarm.slot) == 1)
        {
            due.extend(self.alarms.pop().map(|Reverse(alarm)| alarm.slot));
        }
        due
    }
}

impl Slot {
    fn ring(&self) {
        self.rang.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A future that waits for a time.
#[must_use = "it waits only while it is polled"]
pub(crate) struct Sleep {
    timer: Timer,
    at: SystemTime,
    slot: Option<Arc<Slot>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.now() >= self.at {
            return Poll::Ready(());
        }
        let slot = self.slot.get_or_insert_with(Arc::default).clone();
        let is_new = Arc::strong_count(&slot) == 2;
        *slot.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        // It may have rung between the look at the clock and now.
        if slot.rang.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if is_new && let Err(error) = self.timer.set(self.at, &slot) {
            tracing::error!(%error, "a wait ends early");
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("at", &self.at).finish_non_exhaustive()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, task::Wake};

    use super::*;
    use crate::{clock::SystemClock, operation::wait, testing::ManualClock};

    #[test]
    fn a_sleep_ends_at_its_time() {
        let timer = Timer::new(Arc::new(SystemClock));
        let start = timer.now();
        wait(timer.sleep(Duration::from_millis(20)));
        assert!(timer.now() >= start + Duration::from_millis(20));
        wait(timer.sleep(Duration::ZERO));
    }

    #[test]
    fn moving_a_manual_clock_wakes_whoever_is_due() {
        let clock = Arc::new(ManualClock::default());
        let timer = Timer::new(clock.clone());
        let mut long = timer.sleep(Duration::from_secs(7_200));
        let short = timer.sleep(Duration::from_secs(3_600));
        assert!(Pin::new(&mut long).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let sleeper = thread::spawn(move || wait(short));
        thread::sleep(Duration::from_millis(20));
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(3_601));
        sleeper.join().expect("it wakes");
        assert!(Pin::new(&mut long).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    /// A waker that does something at once, on the thread that wakes.
    struct Inline<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Inline<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    /// Polls a sleep once with such a waker; the sleep must be kept until it rings.
    fn on_wake(sleep: &mut Sleep, act: impl Fn() + Send + Sync + 'static) {
        let waker = Waker::from(Arc::new(Inline(act)));
        assert!(Pin::new(sleep).poll(&mut Context::from_waker(&waker)).is_pending());
    }

    #[test]
    fn a_waker_may_set_the_next_alarm_at_once() {
        let clock = Arc::new(ManualClock::default());
        let timer = Timer::new(clock.clone());
        let (tell, told) = mpsc::channel();
        let mut first = timer.sleep(Duration::from_secs(1));
        let again = timer.clone();
        on_wake(&mut first, move || {
            let mut second = again.sleep(Duration::from_secs(1));
            let is_pending = Pin::new(&mut second).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            tell.send(is_pending).expect("the test waits");
        });
        clock.advance(Duration::from_secs(1));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true), "it deadlocks");
    }

    #[test]
    fn a_waker_that_panics_silences_no_other() {
        let clock = Arc::new(ManualClock::default());
        let timer = Timer::new(clock.clone());
        let (tell, told) = mpsc::channel();
        let (mut bad, mut good) = (timer.sleep(Duration::from_secs(1)), timer.sleep(Duration::from_secs(2)));
        on_wake(&mut bad, || panic!("on purpose"));
        on_wake(&mut good, move || tell.send(()).expect("the test waits"));
        for _ in 0..2 {
            clock.advance(Duration::from_secs(1));
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(()), "the timer's thread is gone");
    }
}
