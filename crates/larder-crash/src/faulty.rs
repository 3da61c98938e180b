//! A disk that fails on demand: one call of a kind, or that one and all after it.

use std::{
    ffi::c_int,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::ffi;

use crate::{
    trace::Recorder,
    vfs::{Action, DiskCall, Observer},
};

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Opening a file.
    Open,
    /// Writing.
    Write,
    /// Setting a file's size.
    Truncate,
    /// Syncing.
    Sync,
    /// Deleting a file.
    Delete,
    /// Mapping the shared-memory index.
    MapShared,
    /// Locking the shared-memory index.
    LockShared,
    /// Reading.
    Read,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Open,
        Self::Write,
        Self::Truncate,
        Self::Sync,
        Self::Delete,
        Self::MapShared,
        Self::LockShared,
        Self::Read,
    ];

    fn of(action: &Action<'_>) -> Self {
        match action {
            Action::Open { .. } => Self::Open,
            Action::Write { .. } => Self::Write,
            Action::Truncate { .. } => Self::Truncate,
            Action::Sync => Self::Sync,
            Action::Delete { .. } => Self::Delete,
            Action::MapShared => Self::MapShared,
            Action::LockShared => Self::LockShared,
            Action::Read => Self::Read,
        }
    }

    /// What SQLite's own VFS answers when the operating system fails.
    fn code(self) -> c_int {
        match self {
            Self::Open => ffi::SQLITE_CANTOPEN,
            Self::Write => ffi::SQLITE_IOERR_WRITE,
            Self::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Self::Sync => ffi::SQLITE_IOERR_FSYNC,
            Self::Delete => ffi::SQLITE_IOERR_DELETE,
            Self::MapShared => ffi::SQLITE_IOERR_SHMMAP,
            Self::LockShared => ffi::SQLITE_IOERR_SHMLOCK,
            Self::Read => ffi::SQLITE_IOERR_READ,
        }
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// This one only.
    Once,
    /// This one and every later one of its kind, until the disk is mended.
    Sticky,
    /// As sticky, and the reason is that the disk is full.
    Full,
    /// This one only, and the disk says that it was done: a disk that no store can live with.
    Pretended,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Of which kind.
    pub kind: Kind,
    /// The how-manieth call of the kind, from 0.
    pub nth: u64,
    /// How it fails.
    pub way: Way,
}

/// A disk with a fault, which records what was really done.
#[derive(Debug)]
pub struct FaultyDisk {
    recorder: Arc<Recorder>,
    fault: Option<Fault>,
    counts: [AtomicU64; Kind::ALL.len()],
    fired: AtomicBool,
    mended: AtomicBool,
}

impl FaultyDisk {
    /// A disk with this fault, or without one.
    #[must_use]
    pub fn new(recorder: Arc<Recorder>, fault: Option<Fault>) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { recorder, fault, counts, fired: AtomicBool::new(false), mended: AtomicBool::new(false) }
    }

    /// How many calls of each kind there were, in the order of [`Kind::ALL`].
    #[must_use]
    pub fn counts(&self) -> [u64; Kind::ALL.len()] {
        std::array::from_fn(|kind| self.counts[kind].load(Ordering::SeqCst))
    }

    /// Ends the fault.
    pub fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// Whether a call has failed.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }

    /// Counts the call; how it fails, if it does.
    fn fails(&self, kind: Kind) -> Option<Way> {
        let number = self.counts[kind as usize].fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.filter(|fault| fault.kind == kind)?;
        let hit = match fault.way {
            Way::Once | Way::Pretended => number == fault.nth,
            Way::Sticky | Way::Full => number >= fault.nth,
        };
        if !hit || self.mended.load(Ordering::SeqCst) {
            return None;
        }
        self.fired.store(true, Ordering::SeqCst);
        Some(fault.way)
    }
}

impl Observer for FaultyDisk {
    fn call(&self, call: DiskCall<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int {
        let kind = Kind::of(&call.action);
        match self.fails(kind) {
            None => self.recorder.call(call, perform),
            Some(Way::Pretended) => ffi::SQLITE_OK,
            Some(way) => {
                if kind == Kind::Sync {
                    self.recorder.sync_failed(call.path);
                }
                if way == Way::Full { ffi::SQLITE_FULL } else { kind.code() }
            }
        }
    }
}
