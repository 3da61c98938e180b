//! Whether a group waits for more company before it is synced.
//!
//! Who was just answered often has the next write ready at once. To wait for them saves syncs, as one then serves all of
//! them; but meanwhile nothing is on its way to the disk. It pays unless they take far longer to return than a sync takes: a
//! sync for some of them costs the others the next one, and wakes as many threads as one for all.

use std::time::Duration;

use larder_runtime::Stopwatch;

/// A group waits for its callers if they return within the time of so many syncs.
const SYNCS: u32 = 4;

/// The callers who were answered last, and what is known of how fast they, and the disk, are.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// How many were answered and have not returned.
    away: u32,
    answered: u32,
    /// Since they were answered; none once all have returned.
    since: Option<Stopwatch>,
    /// What a sync takes.
    sync: Average,
    /// What passes between an answer and the next write, for each caller of a group.
    turnaround: Average,
}

impl Company {
    /// Takes note of a group whose sync took this long, and whose callers are answered now.
    pub(crate) fn answered(&mut self, callers: usize, sync: Duration) {
        if let Some(since) = &self.since {
            self.turnaround.add(since.elapsed() / self.answered);
        }
        self.sync.add(sync);
        self.answered = u32::try_from(callers).unwrap_or(u32::MAX);
        self.away = self.answered;
        self.since = (callers > 0).then(Stopwatch::start);
    }

    /// Takes note of a write. True: now all have returned.
    pub(crate) fn returned(&mut self) -> bool {
        self.away = self.away.saturating_sub(1);
        if self.away > 0 {
            return false;
        }
        let Some(since) = self.since.take() else { return false };
        self.turnaround.add(since.elapsed() / self.answered);
        true
    }

    /// How long a group of so many should still wait; none if it should not.
    pub(crate) fn patience(&self, present: usize) -> Option<Duration> {
        let since = self.since.as_ref()?;
        let callers = u32::try_from(present).ok()?.checked_add(self.away)?;
        let most = self.sync.value * SYNCS;
        let pays = self.turnaround.value.saturating_mul(callers) < most;
        most.checked_sub(since.elapsed()).filter(|_| pays)
    }
}

/// A moving average.
#[derive(Debug, Default)]
struct Average {
    value: Duration,
}

impl Average {
    fn add(&mut self, sample: Duration) {
        self.value = if self.value.is_zero() { sample } else { (self.value * 7 + sample) / 8 };
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;

    const SLOW: Duration = Duration::from_secs(10);

    #[test]
    fn a_lone_caller_is_never_waited_for() {
        let mut company = Company::default();
        assert_eq!(company.patience(1), None, "nobody was answered");
        company.answered(1, SLOW);
        company.returned();
        assert_eq!(company.patience(1), None, "all have returned");
    }

    #[test]
    fn who_returns_fast_is_waited_for() {
        let mut company = Company::default();
        company.answered(2, SLOW);
        assert!(!company.returned() && company.returned() && !company.returned());
        company.answered(2, SLOW);
        assert!(company.patience(1).is_some_and(|patience| patience < SLOW * SYNCS));
        assert!(!company.returned() && company.returned());
        assert_eq!(company.patience(2), None);
    }

    #[test]
    fn who_stays_away_far_longer_than_a_sync_takes_is_not_waited_for() {
        let sync = Duration::from_micros(50);
        let mut company = Company::default();
        for _ in 0..3 {
            company.answered(2, sync);
            sleep(20 * sync);
        }
        company.answered(2, sync);
        assert_eq!(company.patience(1), None);
    }
}
