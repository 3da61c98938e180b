//! The engines under test, and the clock that they share.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use larder::{
    Clock, Config, Limits,
    backend::{Backend, memory::MemoryBackend},
    wait,
};

use crate::mutant::{Fault, Mutant};

/// An engine to compare with memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Engine {
    Memory,
    Broken(Fault),
    /// With so many index entries in memory.
    Sqlite {
        merge_at: usize,
    },
}

/// So few that an unlimited read of a busy log is too large.
const READ_EVENTS: usize = 12;

impl Engine {
    /// Opens a store, which is in this file if the engine has files.
    pub(crate) fn open(self, file: &Path, clock: &Arc<ManualClock>) -> Arc<dyn Backend> {
        let mut limits = Limits::default();
        limits.read_events = READ_EVENTS;
        let configured = |config: Config| config.limits(limits).clock(clock.clone());
        match self {
            Self::Memory => Arc::new(MemoryBackend::new(&configured(Config::memory()))),
            Self::Broken(fault) => Arc::new(Mutant::new(&configured(Config::memory()), fault)),
            Self::Sqlite { merge_at } => {
                let config = Config::sqlite(file).durability(larder::Durability::Buffered);
                let config = configured(config.merge_at(merge_at));
                let larder::BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!() };
                let opened = larder::backend::sqlite::SqliteBackend::open(&config, sqlite);
                Arc::new(opened.expect("the store opens"))
            }
        }
    }

    /// Closes and opens again, if the engine has files.
    pub(crate) fn reopen(
        self,
        backend: Arc<dyn Backend>,
        file: &Path,
        clock: &Arc<ManualClock>,
    ) -> Arc<dyn Backend> {
        match self {
            Self::Memory | Self::Broken(_) => backend,
            Self::Sqlite { .. } => {
                wait(backend.close()).expect("the store closes");
                drop(backend);
                self.open(file, clock)
            }
        }
    }
}

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(crate) struct ManualClock {
    nanos: AtomicU64,
}

impl ManualClock {
    /// Some day in 2026, between two microseconds.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { nanos: AtomicU64::new(1_774_000_000_123_456_789) })
    }

    pub(crate) fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).expect("no more than centuries");
        self.nanos.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanos.load(Ordering::SeqCst))
    }
}
