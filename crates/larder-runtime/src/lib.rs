//! What Larder's libraries stand on: calls that can be awaited or waited on, and the clock.
//!
//! Nothing here is tied to an executor: a [`Call`] is a lazy future that anything can poll, and that a plain thread
//! can [wait](Call::wait) on. Time is asked of a [`Clock`], so that tests control it.

mod call;
mod clock;
#[cfg(any(test, feature = "testing"))]
mod manual_clock;
mod owned;
mod stopwatch;
mod wait;

pub use call::{BoxFuture, Call};
pub use clock::{Clock, SystemClock, micros_since_epoch};
#[cfg(any(test, feature = "testing"))]
pub use manual_clock::ManualClock;
pub use owned::Owned;
pub use stopwatch::Stopwatch;
pub use wait::{wait, wait_timeout};
