//! A disk in memory, for tests: nothing is lost, and any call can be made to fail.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use super::{Disk, DiskFile, DiskLock, Locking, OpenFile};

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: HashMap<PathBuf, Arc<Mutex<Vec<u8>>>>,
    locks: HashSet<PathBuf>,
    /// Calls until the one that fails.
    fail_in: Option<(usize, io::ErrorKind)>,
    syncs: usize,
    /// Where was written, and how much.
    writes: Vec<(u64, usize)>,
}

impl MemoryDisk {
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        self.file(path).lock().unwrap().clone()
    }

    pub(crate) fn set_bytes(&self, path: &str, bytes: &[u8]) {
        let file = Arc::new(Mutex::new(bytes.to_vec()));
        self.0.lock().unwrap().files.insert(path.into(), file);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.0.lock().unwrap().files.keys().map(|path| path.display().to_string()).collect();
        names.sort();
        names
    }

    /// Lets the call after so many others fail, once.
    pub(crate) fn fail_in(&self, calls: usize, kind: io::ErrorKind) {
        self.0.lock().unwrap().fail_in = Some((calls, kind));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().unwrap().fail_in.is_none()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    pub(crate) fn writes(&self) -> Vec<(u64, usize)> {
        self.0.lock().unwrap().writes.clone()
    }

    fn file(&self, path: &str) -> Arc<Mutex<Vec<u8>>> {
        self.0.lock().unwrap().files[Path::new(path)].clone()
    }

    fn count(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match &mut state.fail_in {
            Some((0, kind)) => {
                let kind = *kind;
                state.fail_in = None;
                Err(kind.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>> {
        self.count()?;
        let mut state = self.0.lock().unwrap();
        if how == OpenFile::Empty {
            state.files.insert(path.into(), Arc::default());
        }
        let bytes = state.files.get(path).ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Arc::new(MemoryFile { disk: self.clone(), bytes }))
    }

    fn create_directories(&self, _: &Path) -> io::Result<()> {
        self.count()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        let mut state = self.0.lock().unwrap();
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count()?;
        self.0.lock().unwrap().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.count()
    }

    fn try_lock(&self, path: &Path) -> io::Result<Locking> {
        self.count()?;
        if self.0.lock().unwrap().locks.insert(path.into()) {
            return Ok(Locking::Locked(Box::new(MemoryLock { disk: self.clone(), path: path.into() })));
        }
        Ok(Locking::Taken { pid: None })
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl DiskLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.0.lock().unwrap().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.count()?;
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.count()?;
        let bytes = self.bytes.lock().unwrap();
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        self.disk.count()?;
        self.disk.0.lock().unwrap().writes.push((offset, new.len()));
        let offset = usize::try_from(offset).unwrap();
        let mut bytes = self.bytes.lock().unwrap();
        let length = bytes.len().max(offset + new.len());
        bytes.resize(length, 0);
        bytes[offset..offset + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.count()?;
        self.disk.0.lock().unwrap().syncs += 1;
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.count()?;
        self.bytes.lock().unwrap().resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }
}
