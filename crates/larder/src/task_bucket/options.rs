//! How a worker works.

use std::time::Duration;

use crate::error::{Error, Result};

/// How a worker works: see [`TaskBucket::work`](crate::TaskBucket::work).
///
/// ```
/// use larder::WorkOptions;
///
/// let mut options = WorkOptions::default();
/// options.concurrency = 16;
/// assert_eq!(options.max_attempts, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkOptions {
    /// How many handlers run at a time, 1 to 1,024. Default 8.
    pub concurrency: usize,
    /// How long a trigger is held without a sign of life, at least a millisecond. It is renewed three times in that
    /// time. Default 30 seconds.
    pub lease: Duration,
    /// After how many failed attempts a trigger becomes a dead letter, at least 1. Default 5.
    pub max_attempts: u32,
    /// The longest wait before the second attempt; it doubles with each further one. The wait is drawn evenly between
    /// nothing and the longest. Default one second.
    pub backoff: Duration,
    /// What the longest wait grows to. Default five minutes.
    pub max_backoff: Duration,
    /// Ends the call when no trigger is left, neither due nor waiting, rather than with the store. Default false.
    pub until_empty: bool,
    /// Ends the call when no trigger is due now: those that wait for their time, a repetition, or another worker's
    /// lease are left. Default false.
    pub once: bool,
    /// What the waits are drawn from, so that a test can repeat them. Default `None`: the system's randomness.
    pub seed: Option<u64>,
}

impl Default for WorkOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            lease: Duration::from_secs(30),
            max_attempts: 5,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(300),
            until_empty: false,
            once: false,
            seed: None,
        }
    }
}

impl WorkOptions {
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=1_024).contains(&self.concurrency) {
            return Err(Error::invalid("concurrency", format!("{} is not 1 to 1,024", self.concurrency)));
        }
        if self.lease < Duration::from_millis(1) {
            return Err(Error::invalid("lease", format!("{:?} is not at least a millisecond", self.lease)));
        }
        if self.max_attempts == 0 {
            return Err(Error::invalid("max attempts", "0 is not at least 1"));
        }
        Ok(())
    }

    /// The longest wait after this attempt.
    pub(super) fn longest_wait(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.backoff.saturating_mul(doubled).min(self.max_backoff)
    }
}

/// Where waits are drawn from (SplitMix64).
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: Option<u64>) -> Self {
        let random = || {
            let mut bytes = [0; 8];
            // Without randomness the waits are still apart from each other, only not from another worker's.
            let _ = getrandom::fill(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        Self(seed.unwrap_or_else(random))
    }

    /// Evenly between nothing and this, in microseconds.
    pub(super) fn below(&mut self, longest: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let scaled = (u128::from(z) * (u128::from(longest) + 1)) >> 64;
        u64::try_from(scaled).unwrap_or(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_repeat_with_the_seed() {
        let options = WorkOptions::default();
        let waits: Vec<_> = [1, 2, 3, 9, 10, 99].map(|n| options.longest_wait(n).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
        let draw = |seed| {
            let mut jitter = Jitter::new(Some(seed));
            (0..1_000).map(|_| jitter.below(1_000)).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        assert!(drawn.iter().all(|wait| *wait <= 1_000));
        assert!(drawn.iter().any(|wait| *wait < 100) && drawn.iter().any(|wait| *wait > 900));
        assert_eq!(Jitter::new(None).below(0), 0);
    }
}
