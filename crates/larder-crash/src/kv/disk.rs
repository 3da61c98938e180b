//! A disk in memory that records what the key-value client does to it, and fails on demand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use larder_kv::io::{Disk, DiskFile, DiskLock, Locking, OpenFile};

use crate::trace::{Entry, Syncs};

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How many calls go well before.
    pub after: u64,
    /// Whether all later calls fail as well, until the disk is mended.
    pub sticky: bool,
    /// A full disk fails only what needs space; otherwise the call fails whatever it is.
    pub full: bool,
}

/// The disk; clones are the same one.
#[derive(Debug, Clone)]
pub struct RecordingDisk {
    state: Arc<Mutex<State>>,
    syncs: Syncs,
    /// How long a sync takes, so that writes can overlap with it.
    sync_takes: Duration,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// Files by name; a number stands for each name.
    names: HashMap<PathBuf, usize>,
    paths: Vec<PathBuf>,
    numbers: HashMap<PathBuf, usize>,
    inodes: Vec<Vec<u8>>,
    locks: HashSet<PathBuf>,
    calls: u64,
    fault: Option<Fault>,
    has_failed: bool,
}

/// What a call does, as far as faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    TakesSpace,
    Syncs,
    Other,
}

impl RecordingDisk {
    /// A disk with these files on it, all durable.
    #[must_use]
    pub fn new(syncs: Syncs, files: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let disk = Self { state: Arc::default(), syncs, sync_takes: Duration::ZERO };
        let mut state = disk.lock();
        for (path, content) in files {
            let file = state.create(path);
            let inode = state.names[path];
            state.inodes[inode].clone_from(content);
            state.entries.push(Entry::Write { file, offset: 0, data: content.clone() });
            let through = state.entries.len();
            state.entries.push(Entry::Sync { file, through });
        }
        state.entries.push(Entry::SyncDirectory);
        drop(state);
        disk
    }

    /// The same disk, whose syncs take this long.
    #[must_use]
    pub fn with_slow_syncs(self, sync_takes: Duration) -> Self {
        Self { sync_takes, ..self }
    }

    /// Lets calls fail from now on.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.lock();
        (state.calls, state.fault, state.has_failed) = (0, fault, false);
    }

    /// Mends the disk; answers whether anything had failed.
    pub fn mend(&self) -> bool {
        let mut state = self.lock();
        state.fault = None;
        state.has_failed
    }

    /// Whether a call has failed since the fault was set.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Calls since the fault was set.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// How much has been recorded: a point in the trace.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().entries.len()
    }

    /// What was recorded, and the name that each number stands for.
    #[must_use]
    pub fn trace(&self) -> (Vec<Entry>, Vec<PathBuf>) {
        let state = self.lock();
        (state.entries.clone(), state.paths.clone())
    }

    /// The files as they read now.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        state.names.iter().map(|(path, inode)| (path.clone(), state.inodes[*inode].clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.count(call)?;
        Ok(state)
    }
}

impl State {
    fn count(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        let Some(fault) = self.fault else { return Ok(()) };
        let is_due = if fault.sticky || fault.full {
            self.calls > fault.after && (fault.sticky || !self.has_failed)
        } else {
            self.calls == fault.after + 1
        };
        if !is_due || (fault.full && call != Call::TakesSpace) {
            return Ok(());
        }
        self.has_failed = true;
        let kind = if fault.full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Err(io::Error::new(kind, "by order of the harness"))
    }

    fn number(&mut self, path: &Path) -> usize {
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        self.paths.push(path.to_owned());
        self.numbers.insert(path.to_owned(), self.paths.len() - 1);
        self.paths.len() - 1
    }

    /// Creates an empty file and answers its number.
    fn create(&mut self, path: &Path) -> usize {
        self.inodes.push(Vec::new());
        self.names.insert(path.to_owned(), self.inodes.len() - 1);
        let file = self.number(path);
        self.entries.push(Entry::Open { file, creates: true, syncs_directory: false });
        file
    }

    /// Records what was done to a file that still has a name.
    fn record(&mut self, inode: usize, entry: impl FnOnce(usize) -> Entry) {
        let path = self.names.iter().find(|(_, named)| **named == inode).map(|(path, _)| path.clone());
        if let Some(path) = path {
            let file = self.number(&path);
            self.entries.push(entry(file));
        }
    }
}

impl Disk for RecordingDisk {
    fn open(&self, path: &Path, how: OpenFile) -> io::Result<Arc<dyn DiskFile>> {
        let call = if how == OpenFile::Empty { Call::TakesSpace } else { Call::Other };
        let mut state = self.count(call)?;
        match (state.names.get(path).copied(), how) {
            (None, OpenFile::Existing | OpenFile::Reading) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenFile::Empty) => {
                state.create(path);
            }
            (Some(inode), OpenFile::Empty) => {
                state.inodes[inode].clear();
                state.record(inode, |file| Entry::Truncate { file, size: 0 });
            }
            (Some(_), OpenFile::Existing | OpenFile::Reading) => {}
        }
        let inode = state.names[path];
        Ok(Arc::new(RecordingFile { disk: self.clone(), inode }))
    }

    fn create_directories(&self, _: &Path) -> io::Result<()> {
        self.count(Call::Other).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.count(Call::Other)?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        let (file, to) = (state.number(from), state.number(to));
        state.entries.push(Entry::Rename { file, to });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.count(Call::Other)?;
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        let file = state.number(path);
        state.entries.push(Entry::Delete { file, syncs_directory: false });
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.count(Call::Syncs)?;
        if self.syncs == Syncs::Recorded {
            state.entries.push(Entry::SyncDirectory);
        }
        Ok(())
    }

    fn try_lock(&self, path: &Path) -> io::Result<Locking> {
        let mut state = self.count(Call::Other)?;
        if state.locks.insert(path.to_owned()) {
            return Ok(Locking::Locked(Box::new(Lock { disk: self.clone(), path: path.to_owned() })));
        }
        Ok(Locking::Taken { pid: None })
    }
}

#[derive(Debug)]
struct Lock {
    disk: RecordingDisk,
    path: PathBuf,
}

impl DiskLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct RecordingFile {
    disk: RecordingDisk,
    inode: usize,
}

impl DiskFile for RecordingFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.count(Call::Other)?;
        Ok(state.inodes[self.inode].len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.count(Call::Other)?;
        let rest = state.inodes[self.inode].get(place(offset)..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    /// A failed write has written its first half.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let counted = state.count(Call::TakesSpace);
        let written = if counted.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let (start, end) = (place(offset), place(offset) + written.len());
        let content = &mut state.inodes[self.inode];
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(written);
        state.record(self.inode, |file| Entry::Write { file, offset, data: written.to_vec() });
        counted
    }

    /// Covers what was recorded before it began. What a failed one was to write may be lost for good.
    fn sync(&self) -> io::Result<()> {
        let through = self.disk.mark();
        if !self.disk.sync_takes.is_zero() {
            thread::sleep(self.disk.sync_takes);
        }
        let mut state = self.disk.lock();
        let counted = state.count(Call::Syncs);
        match (&counted, self.disk.syncs) {
            (Err(_), _) => state.record(self.inode, |file| Entry::SyncFailed { file }),
            (Ok(()), Syncs::Recorded) => state.record(self.inode, |file| Entry::Sync { file, through }),
            (Ok(()), Syncs::Swallowed) => {}
        }
        counted
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.count(Call::Other)?;
        state.inodes[self.inode].resize(place(length), 0);
        state.record(self.inode, |file| Entry::Truncate { file, size: length });
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("files here fit into memory")
}
