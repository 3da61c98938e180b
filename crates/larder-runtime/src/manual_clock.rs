//! A clock that stands still until it is told otherwise.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::clock::Clock;

/// A [`Clock`] that shows what it was set to. It starts at 2001-09-09 01:46:40 UTC, a billion seconds into the
/// epoch.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use larder_runtime::{Clock, ManualClock};
///
/// let clock = Arc::new(ManualClock::new()); // given to a store or client as its clock
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3_600));
/// assert_eq!(clock.now().duration_since(before).unwrap(), Duration::from_secs(3_600));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<SystemTime>,
}

impl ManualClock {
    /// A clock at its starting time.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    }

    /// A clock that shows this time.
    #[must_use]
    pub fn starting_at(now: SystemTime) -> Self {
        Self { now: Mutex::new(now) }
    }

    /// Shows this time from now on, also an earlier one.
    pub fn set(&self, now: SystemTime) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_set_by_hand(&self) -> bool {
        true
    }
}
