//! Harnesses that try to make a Larder store lose or garble what it acknowledged.
mod random;
pub mod image;
pub mod trace;
pub mod vfs;
pub use random::{Random, fresh_seed};

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
