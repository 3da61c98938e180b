//! The seam between a client and the disk, so that tests can drop, tear, reorder and fail what goes through it.
//!
//! Everything that a client does with files goes through the [`Disk`] in its options. A harness brings one of its own:
//!
//! - **Crash images.** Keep, per file, what is durable and what was written since its last [`sync`](DiskFile::sync).
//!   At any call, freeze: take the durable bytes, and any subset of the unsynced writes, whole or torn at 512-byte
//!   sectors, in any order; names as of the last [`sync_directory`](Disk::sync_directory), or any of the later
//!   renames and creations. Open a new client on the image and compare it with what was acknowledged.
//! - **Failures.** Answer any call with an error, once or for good. A failed sync may have written anything.
//! - **Proof.** A disk whose `sync` does nothing must make the harness fail.
//!
//! A client never overlaps two calls of `sync` on one file, and never writes two ranges that overlap at the same
//! time; it does write while a sync runs. A write that has returned before a `sync` was called is covered by that
//! sync.

#[cfg(test)]
pub(crate) mod memory;
mod os;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use os::OsDisk;

/// The files that a client works on.
///
/// | method | what it has to do |
/// |---|---|
/// | `resolve` | find the file that a name leads to |
/// | `open` | open for reading and writing |
/// | `rename` | replace `to` by `from`, atomically |
/// | `sync_directory` | make creations, renames and removals in a folder durable |
/// | `try_lock` | let one client at a time have the lock |
pub trait Disk: fmt::Debug + Send + Sync {
    /// The file that this name leads to, through links, so that one file has one lock, and a file that takes its place
    /// takes the file's and not the link's. A file need not exist. A disk without links has nothing to do.
    ///
    /// # Errors
    /// Whatever the operating system says; links that lead in a circle.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if the file has to exist and does not, and whatever the operating system says.
    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a folder with all that are missing above it, and makes that durable.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_directories(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, atomically replacing the file that had it.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if there is none, and whatever the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a folder durable.
    ///
    /// # Errors
    /// Whatever the operating system says. It is never called again to make up for a failure.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock that this file stands for, creating the file, without waiting.
    ///
    /// # Errors
    /// Whatever the operating system says. That somebody else has it is no error.
    fn try_lock(&self, path: &Path) -> io::Result<Locking>;
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFile {
    /// It has to exist.
    Existing,
    /// It has to exist, and is only read.
    Reading,
    /// It is created, or emptied if it exists.
    Empty,
}

/// What came of trying to lock.
#[derive(Debug)]
pub enum Locking {
    /// It is locked until this is dropped.
    Locked(Box<dyn DiskLock>),
    /// Somebody else has it.
    Taken {
        /// The process that has it, where that is known.
        pid: Option<u32>,
    },
}

/// A lock that is given back when it is dropped.
pub trait DiskLock: fmt::Debug + Send + Sync {}

/// An open file.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Keeps clients away that open the file by another name (a hard link), for as long as this is open. False if one
    /// has it already. A disk where a file has one name has nothing to do.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into the buffer from this offset, and answers how many bytes there were: fewer than asked for at the end
    /// of the file only.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at this offset, extending the file if need be.
    ///
    /// # Errors
    /// Whatever the operating system says; part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Extends the file by zeros, from its end through `length`, and makes sure that there is space for what is written
    /// over them. They are durable with the next sync.
    ///
    /// # Errors
    /// `StorageFull` if there is no space for it, and whatever the operating system says; part of it may have been done.
    fn allocate(&self, end: u64, length: u64) -> io::Result<()> {
        write_zeros(self, end, length)
    }

    /// Makes everything durable that was written before this call, and the file's length.
    ///
    /// # Errors
    /// Whatever the operating system says. It is never called again to make up for a failure.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn set_len(&self, length: u64) -> io::Result<()>;
}

/// Writes zeros from one place of a file to another.
pub(crate) fn write_zeros<F: DiskFile + ?Sized>(file: &F, start: u64, end: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_at(at, &ZEROS[..length])?;
        at += length as u64;
    }
    Ok(())
}
