//! Hybrid logical clocks: time of day where clocks agree, order where they do not.

use std::fmt;

const COUNTER_BITS: u32 = 16;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
const MAX_MILLIS: u64 = u64::MAX >> COUNTER_BITS;

/// A hybrid logical time: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
///
/// Compared as a number. Two writes of one node never have the same.
///
/// ```
/// use larder_kv::Hlc;
///
/// let time = Hlc::new(1_700_000_000_000, 3);
/// assert_eq!((time.millis(), time.counter()), (1_700_000_000_000, 3));
/// assert!(time < Hlc::new(1_700_000_000_001, 0));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(u64);

impl Hlc {
    /// A time from its parts. Milliseconds beyond 48 bits are taken as the last that fits.
    #[must_use]
    pub fn new(millis: u64, counter: u16) -> Self {
        Self((millis.min(MAX_MILLIS) << COUNTER_BITS) | u64::from(counter))
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// Which of several at this millisecond.
    #[must_use]
    pub fn counter(self) -> u16 {
        (self.0 & COUNTER_MASK) as u16
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hlc({}+{})", self.millis(), self.counter())
    }
}

/// Gives out times, each above all that it gave out or saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct HybridClock {
    last: Hlc,
}

impl HybridClock {
    /// Takes note of a time that was given out before, by this node or another.
    pub(crate) fn observe(&mut self, seen: Hlc) {
        self.last = self.last.max(seen);
    }

    /// The next time, where the time of day is `now_millis`. A counter that is full moves on to the next millisecond.
    pub(crate) fn next(&mut self, now_millis: u64) -> Hlc {
        let after_last = Hlc(self.last.0.saturating_add(1));
        self.last = after_last.max(Hlc::new(now_millis, 0));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rise_while_the_clock_stands_still_or_goes_back() {
        let mut clock = HybridClock::default();
        let first = clock.next(1_000);
        assert_eq!(first, Hlc::new(1_000, 0));
        assert_eq!(clock.next(1_000), Hlc::new(1_000, 1));
        assert_eq!(clock.next(500), Hlc::new(1_000, 2));
        assert_eq!(clock.next(1_001), Hlc::new(1_001, 0));
    }

    #[test]
    fn a_full_counter_borrows_from_the_next_millisecond() {
        let mut clock = HybridClock::default();
        clock.observe(Hlc::new(1_000, u16::MAX));
        assert_eq!(clock.next(1_000), Hlc::new(1_001, 0));
    }

    #[test]
    fn what_was_seen_is_exceeded() {
        let mut clock = HybridClock::default();
        clock.observe(Hlc::new(2_000, 7));
        clock.observe(Hlc::new(1_500, 9));
        assert_eq!(clock.next(1_000), Hlc::new(2_000, 8));
    }

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let mut clock = HybridClock::default();
        clock.observe(Hlc::new(u64::MAX, u16::MAX));
        assert_eq!(clock.next(0), Hlc::new(u64::MAX, u16::MAX));
    }
}
