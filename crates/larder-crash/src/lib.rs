//! Harnesses that try to make a Larder store lose or garble what it acknowledged.
mod after;
mod check;
mod failure;
mod random;
pub mod image;
pub mod images;
pub mod ledger;
pub mod step;
pub mod trace;
pub mod vfs;
mod violation;
mod writer;
pub use failure::Failure;
pub use random::{Random, fresh_seed};
pub use violation::{Promise, Violation};

/// A temporary directory; in memory where the platform has one, since the harnesses do not need the disk.
///
/// # Errors
/// Those of the file system.
pub fn scratch() -> std::io::Result<tempfile::TempDir> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("larder-crash-");
        builder
    };
    builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir())
}
