//! Time, through one seam, so that tests control it.

pub(crate) use larder_runtime::micros_since_epoch;
pub use larder_runtime::{Clock, SystemClock};
