//! Harnesses that try to make a Larder store lose or garble what it acknowledged.
//!
//! - [`images`]: power cuts, on a recorded trace of what SQLite did to its files
//! - [`kill`]: processes that are killed while they write
//! - [`projections`]: processes that are killed while they project
//! - [`faults`]: calls to the disk that fail
//! - [`flips`]: damage to a stored file
//!
//! All compare a reopened store with a [`ledger`] of what was submitted and answered; the workload ([`step`])
//! is derived from a seed. Each harness is proved by a store or a disk that it must catch. How to run them for
//! longer than the tests do is in docs/crash-testing.md.

mod after;
mod check;
mod early;
mod failure;
mod random;
mod violation;
mod writer;

pub mod child;
pub mod faults;
pub mod faulty;
pub mod flips;
pub mod image;
pub mod images;
mod items;
pub mod kill;
pub mod kv;
pub mod ledger;
mod letters;
pub mod projections;
mod snapshots;
pub mod split;
pub mod step;
mod tasks;
pub mod trace;
pub mod vfs;

pub use failure::Failure;
pub use random::{Random, fresh_seed};
pub use violation::{OrUnusable, Promise, Violation};

/// A temporary directory; in memory where the platform has one, since the harnesses do not need the disk.
///
/// # Errors
/// Those of the file system.
pub fn scratch() -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("larder-crash-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir())
}
