//! The operating system's files.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

#[cfg(target_os = "linux")]
use super::write_zeros;
use super::{Disk, DiskFile, DiskLock, Locking, OpenFile};

/// As many as the common systems follow.
const MOST_LINKS: usize = 40;

/// The operating system's disk.
///
/// ```
/// use std::sync::Arc;
/// use larder_kv::{ClientOptions, io::OsDisk};
///
/// let mut options = ClientOptions::persistent("node-a", "data/node-a.wal");
/// options.disk = Arc::new(OsDisk); // as it is unless a test brings its own
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => {
                    let target = fs::read_link(&path)?;
                    path = path.parent().unwrap_or(Path::new("")).join(target);
                }
                // The folders above may be links as well: whoever comes by them comes to the same names.
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
                // What is wrong with it is said when it is opened.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(path),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("links that lead in a circle"))
    }

    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = File::options();
        options.read(true).write(how != OpenFile::Reading);
        if how == OpenFile::Empty {
            options.create(true).truncate(true);
        }
        let file = options.open(path)?;
        // Some systems open a folder like a file, and fail at the first read.
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "not a file"));
        }
        Ok(Arc::new(OsFile(file)))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.create_directories(parent)?;
        match fs::create_dir(path) {
            Ok(()) => self.sync_directory(parent),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if !cfg!(unix) {
            // Elsewhere a folder cannot be opened, and renaming through the file system's log is durable by itself.
            return Ok(());
        }
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Locking> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // For messages only: a full disk must not keep anybody from reading what is on it.
                let noted = file.set_len(0);
                let _ = noted.and_then(|()| file.write_all(format!("{}\n", process::id()).as_bytes()));
                Ok(Locking::Locked(Box::new(OsLock(file))))
            }
            Err(TryLockError::WouldBlock) => Ok(Locking::Taken { pid: holder(&mut file) }),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The process that a lock file names; none while its holder is still writing it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

/// Holds the lock for as long as its file is open.
#[derive(Debug)]
struct OsLock(#[expect(dead_code, reason = "it is only kept open")] File);

impl DiskLock for OsLock {}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn try_lock(&self) -> io::Result<bool> {
        if !cfg!(unix) {
            // Elsewhere a lock keeps readers out as well.
            return Ok(true);
        }
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match read_some_at(&self.0, offset + done as u64, &mut buffer[done..]) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match write_some_at(&self.0, offset + done as u64, &bytes[done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reserves space without writing to it, where the file system can.
    #[cfg(target_os = "linux")]
    fn allocate(&self, end: u64, length: u64) -> io::Result<()> {
        use rustix::{fs, io::Errno};
        match fs::fallocate(&self.0, fs::FallocateFlags::empty(), end, length.saturating_sub(end)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, end, length),
            result => Ok(result?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[cfg(unix)]
fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(windows)]
fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}
