//! How long something takes.

use std::time::{Duration, Instant};

/// Measures how long this machine takes for something, to decide how to go on. It is not the time of day, which is asked of
/// a [`Clock`](crate::Clock).
///
/// ```
/// use std::time::Duration;
/// use larder_runtime::Stopwatch;
///
/// let stopwatch = Stopwatch::start();
/// std::thread::sleep(Duration::from_millis(1));
/// assert!(stopwatch.elapsed() >= Duration::from_millis(1));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "what a machine needs for something is not the store's time"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since it was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
