//! Time, through one seam, so that tests control it.

use std::{fmt, time::SystemTime};

/// Where a store reads the time: stamps, recorded-at, expiry, backoff.
///
/// ```
/// use larder_runtime::{Clock, SystemClock};
///
/// assert!(SystemClock.now() > std::time::SystemTime::UNIX_EPOCH);
/// ```
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// Whether the time passes only when somebody sets it: whoever waits for a time then looks again and again.
    fn is_set_by_hand(&self) -> bool {
        false
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask the operating system")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Microseconds since 1970-01-01 UTC; times before are 0.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let time = SystemTime::UNIX_EPOCH + Duration::from_millis(2);
/// assert_eq!(larder_runtime::micros_since_epoch(time), 2_000);
/// ```
#[must_use]
pub fn micros_since_epoch(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
