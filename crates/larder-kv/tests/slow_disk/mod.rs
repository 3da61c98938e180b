//! A disk that is slow to sync.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use larder_kv::io::{Disk, DiskFile, Locking, OpenFile, OsDisk};

/// A disk that counts syncs, each of which takes its time.
#[derive(Debug, Default)]
pub(crate) struct SlowDisk {
    pub(crate) syncs: Arc<AtomicUsize>,
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SlowFile { file: OsDisk.open(path, how)?, syncs: self.syncs.clone() }))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_directories(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_directory(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Locking> {
        OsDisk.try_lock(path)
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn DiskFile>,
    syncs: Arc<AtomicUsize>,
}

impl DiskFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
        self.file.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }
}
