//! The conformance suite: what every backend must do, as named cases.
//!
//! A backend proves itself by running every case of the groups that concern it. The built-in backends do so in
//! `tests/conformance.rs`; a backend of one's own does the same with a [`Fixture`] and [`conformance!`]:
//!
//! ```
//! use std::sync::Arc;
//!
//! use larder::{
//!     Config, Limits, Result, Store,
//!     backend::memory::MemoryBackend,
//!     testing::{Fixture, ManualClock},
//! };
//!
//! /// Where the suite finds the backend.
//! #[derive(Debug, Default)]
//! struct MyFixture {
//!     clock: Arc<ManualClock>,
//! }
//!
//! impl Fixture for MyFixture {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!     fn clock(&self) -> &Arc<ManualClock> {
//!         &self.clock
//!     }
//!     fn open(&self, limits: Limits) -> Result<Store> {
//!         let config = Config::memory().clock(self.clock.clone()).limits(limits.clone());
//!         Ok(Store::with_backend_and_limits(Arc::new(MemoryBackend::new(&config)), limits))
//!     }
//! }
//!
//! mod mine {
//!     larder::conformance!(super::MyFixture::default(), [all]);
//! }
//! # fn main() {}
//! ```
//!
//! Each case becomes a `#[test]` of its own, named after the rule it checks: `mine::el_07_head_never_goes_back`.
//!
//! | group | for |
//! |---|---|
//! | `all` | every backend |
//! | `durable` | backends that keep what was written when the store is closed and opened again |
//! | `builtin`, `memory`, `sqlite` | the backends of this crate, opened by URL |
//!
//! A case works on one fresh [`Fixture`], waits on its own thread, and uses nothing but this crate.

mod batch;
mod cases;
mod clock;
mod config;
mod decider;
mod event_log;
mod failures;
mod fixture;
mod given;
mod history;
mod inventory;
mod lists;
mod process;
mod projection;
mod query_db;
mod snapshot;
mod support;
mod task_bucket;
mod transfer;
mod watched;
mod wrapper;

pub use cases::{Case, Group, cases};
pub use clock::ManualClock;
#[cfg(feature = "sqlite")]
pub use fixture::SqliteFixture;
pub use fixture::{Fixture, MemoryFixture, ScratchDir};
pub use given::{Given, Then, When, given};
pub use inventory::{Inventory, run};
pub use wrapper::Wrapper;

pub use crate::conformance;
