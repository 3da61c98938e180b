//! A clock that stands still until it is told otherwise.

pub use larder_runtime::ManualClock;
