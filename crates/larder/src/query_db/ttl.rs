//! When an item expires.

use std::time::{Duration, SystemTime};

/// How long an item lives, or until when: stored as `expires_at`, in epoch seconds, rounded up.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use larder::Ttl;
///
/// let in_a_minute = Ttl::from(Duration::from_secs(60)); // after the commit, by the store's clock
/// let then = Ttl::from(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
/// # let _ = (in_a_minute, then);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// So long after the save.
    After(Duration),
    /// At this time; one in the past is accepted, and hides the item at once.
    At(SystemTime),
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

impl From<SystemTime> for Ttl {
    fn from(time: SystemTime) -> Self {
        Self::At(time)
    }
}

impl Ttl {
    /// The epoch second at which it expires, for a save at this time (microseconds since 1970).
    #[must_use]
    pub fn expires_at(self, now_micros: u64) -> u64 {
        const MICROS: u128 = 1_000_000;
        let micros = match self {
            Self::After(duration) => u128::from(now_micros) + duration.as_nanos().div_ceil(1_000),
            // Before 1970 is 1970: long past.
            Self::At(time) => time
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos().div_ceil(1_000)),
        };
        u64::try_from(micros.div_ceil(MICROS)).unwrap_or(u64::MAX).min(HIGHEST)
    }
}

/// The latest time that is stored, so that every backend can: the largest `i64`.
const HIGHEST: u64 = i64::MAX as u64;

/// The most items that one purge deletes: it is one transaction.
pub(crate) const PURGED_AT_ONCE: u64 = 10_000;

/// Whether an item that expires then is visible now (microseconds since 1970).
#[must_use]
pub(crate) fn is_visible(expires_at: Option<u64>, now_micros: u64) -> bool {
    expires_at.is_none_or(|at| u128::from(at) * 1_000_000 > u128::from(now_micros))
}
