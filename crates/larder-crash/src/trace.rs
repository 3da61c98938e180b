//! The recorder: everything that SQLite did to its files, in order.

use std::{
    collections::HashMap,
    ffi::c_int,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::ffi::SQLITE_OK;

use crate::vfs::{Action, DiskCall, Observer};

/// One thing that happened to a file; files are numbered as they are met.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The file was opened.
    Open {
        /// Which.
        file: usize,
        /// It came into being.
        creates: bool,
        /// The next sync of the file also syncs the directory.
        syncs_directory: bool,
    },
    /// Bytes were written.
    Write {
        /// Which.
        file: usize,
        /// Where.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// The size was set.
    Truncate {
        /// Which.
        file: usize,
        /// To this many bytes.
        size: u64,
    },
    /// What was done to the file before entry `through` is on the disk.
    Sync {
        /// Which.
        file: usize,
        /// Exclusive.
        through: usize,
    },
    /// The sync failed: nobody knows what of it is on the disk, and no later sync will write it.
    SyncFailed {
        /// Which.
        file: usize,
    },
    /// The file went away.
    Delete {
        /// Which.
        file: usize,
        /// And the directory was synced.
        syncs_directory: bool,
    },
    /// The file took another one's name, and its place.
    Rename {
        /// Which.
        file: usize,
        /// The one whose name it took.
        to: usize,
    },
    /// The names of all files are on the disk.
    SyncDirectory,
}

/// A recorded history: the names of the files, and what happened to them.
#[derive(Debug, Default)]
pub struct Trace {
    /// The files' names (paths), by number.
    pub files: Vec<String>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

impl Trace {
    fn file(&mut self, path: &str, numbers: &mut HashMap<String, usize>) -> usize {
        *numbers.entry(path.to_owned()).or_insert_with(|| {
            self.files.push(path.to_owned());
            self.files.len() - 1
        })
    }
}

/// How a recorder treats syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Recorded. They need not be performed: what matters is where they stand in the trace.
    Recorded,
    /// Reported as done, but not done: a disk that lies, or `synchronous=OFF`.
    Swallowed,
}

/// Records what SQLite does to its files.
#[derive(Debug)]
pub struct Recorder {
    state: Mutex<(Trace, HashMap<String, usize>)>,
    syncs: Syncs,
}

impl Recorder {
    /// A recorder of files that do not exist yet.
    #[must_use]
    pub fn new(syncs: Syncs) -> Self {
        Self { state: Mutex::default(), syncs }
    }

    /// How much has been recorded: a point in the trace.
    pub fn mark(&self) -> usize {
        self.lock().0.entries.len()
    }

    /// Takes what was recorded.
    pub fn take(&self) -> Trace {
        let mut state = self.lock();
        state.1.clear();
        std::mem::take(&mut state.0)
    }

    fn lock(&self) -> MutexGuard<'_, (Trace, HashMap<String, usize>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, path: &str, entry: impl FnOnce(usize) -> Entry) {
        let mut state = self.lock();
        let (trace, numbers) = &mut *state;
        let file = trace.file(path, numbers);
        trace.entries.push(entry(file));
    }

    /// A sync covers what was recorded before it began: what is written meanwhile may be too late for it.
    fn sync(&self, path: &str) -> c_int {
        if self.syncs == Syncs::Recorded {
            let through = self.mark();
            self.push(path, |file| Entry::Sync { file, through });
        }
        SQLITE_OK
    }

    /// Notes that a sync failed.
    pub fn sync_failed(&self, path: &str) {
        self.push(path, |file| Entry::SyncFailed { file });
    }
}

impl Observer for Recorder {
    fn call(&self, call: DiskCall<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int {
        let path = call.path;
        if let Action::Sync = call.action {
            return self.sync(path);
        }
        let code = perform();
        if code != SQLITE_OK {
            return code;
        }
        match call.action {
            Action::Open { creates, syncs_directory } if creates || syncs_directory => {
                self.push(path, |file| Entry::Open { file, creates, syncs_directory });
            }
            Action::Write { offset, data } => {
                self.push(path, |file| Entry::Write { file, offset, data: data.to_vec() });
            }
            Action::Truncate { size } => self.push(path, |file| Entry::Truncate { file, size }),
            Action::Delete { syncs_directory } => {
                self.push(path, |file| Entry::Delete { file, syncs_directory });
            }
            Action::Open { .. } | Action::Read | Action::Sync | Action::MapShared | Action::LockShared => {}
        }
        code
    }
}
