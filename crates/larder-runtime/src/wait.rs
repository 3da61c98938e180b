//! Driving a future on a plain thread.

use std::{
    future::{Future, IntoFuture},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Drives a future to its end on this thread, without an executor.
///
/// ```
/// assert_eq!(larder_runtime::wait(async { 1 + 1 }), 2);
/// ```
pub fn wait<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    // Much of what is waited on is there already, and then nobody need be told when it is.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return output;
    }
    let waker = unpark();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

/// As [`wait`], but no longer than `timeout`: `None` if the future was not done by then.
///
/// ```
/// use std::{future, time::Duration};
///
/// let never = future::pending::<()>();
/// assert_eq!(larder_runtime::wait_timeout(never, Duration::from_millis(1)), None);
/// ```
#[expect(clippy::disallowed_methods, reason = "a thread's own patience is not the store's time")]
pub fn wait_timeout<F: Future + Unpin>(mut future: F, timeout: Duration) -> Option<F::Output> {
    let waker = unpark();
    let mut context = Context::from_waker(&waker);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return Some(output);
        }
        let left = timeout.checked_sub(start.elapsed())?;
        thread::park_timeout(left);
    }
}

thread_local! {
    /// Made once for each thread. What is left of an earlier wait may wake this one, which then only looks again.
    static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// A waker of this thread, also while the thread comes to its end.
fn unpark() -> Waker {
    let own = UNPARK.try_with(Waker::clone);
    own.unwrap_or_else(|_| Waker::from(Arc::new(Unpark(thread::current()))))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
