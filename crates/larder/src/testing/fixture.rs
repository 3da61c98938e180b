//! What the suite needs to know of a backend: how to open it, its clock, whether it keeps things.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::clock::ManualClock;
use crate::{config::Config, error::Result, limits::Limits, store::Store};

/// One place for a store, empty at first, made anew for each case.
pub trait Fixture: fmt::Debug + Send + Sync {
    /// The backend's name, as the suite reports it.
    fn name(&self) -> &str;

    /// The clock of every store that this fixture opens.
    fn clock(&self) -> &Arc<ManualClock>;

    /// Opens the store. A durable backend opens the same one each time; any other may open an empty one.
    ///
    /// Of the limits, [`read_events`](Limits::read_events) is the backend's to heed.
    ///
    /// # Errors
    /// Those of opening.
    fn open(&self, limits: Limits) -> Result<Store>;

    /// What opens this fixture's store by [`Store::open`]. Only the backends of this crate have that.
    fn config(&self) -> Option<Config> {
        None
    }
}

impl dyn Fixture + '_ {
    /// Opens the store with default limits.
    ///
    /// # Errors
    /// Those of opening.
    pub fn store(&self) -> Result<Store> {
        self.open(Limits::default())
    }

    /// Closes the store and opens it again.
    ///
    /// # Errors
    /// Those of closing and opening.
    #[expect(clippy::needless_pass_by_value, reason = "nobody should go on with the closed store")]
    pub fn reopen(&self, store: Store) -> Result<Store> {
        store.close().wait()?;
        self.store()
    }
}

/// The in-memory backend's fixture.
#[derive(Debug, Default)]
pub struct MemoryFixture {
    clock: Arc<ManualClock>,
}

impl Fixture for MemoryFixture {
    fn name(&self) -> &str {
        "memory"
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    fn open(&self, limits: Limits) -> Result<Store> {
        Store::open(Config::memory().clock(self.clock.clone()).limits(limits)).wait()
    }

    fn config(&self) -> Option<Config> {
        Some(Config::memory().clock(self.clock.clone()))
    }
}

/// The SQLite backend's fixture: a file in a directory of its own, which goes when the fixture does.
#[cfg(feature = "sqlite")]
#[derive(Debug)]
pub struct SqliteFixture {
    clock: Arc<ManualClock>,
    dir: ScratchDir,
}

#[cfg(feature = "sqlite")]
impl SqliteFixture {
    /// A fixture without a file yet.
    ///
    /// # Panics
    /// If there can be no directory.
    #[must_use]
    pub fn new() -> Self {
        let dir = ScratchDir::new().expect("the system's temporary directory is writable");
        Self { clock: Arc::default(), dir }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("store.db")
    }
}

#[cfg(feature = "sqlite")]
impl Default for SqliteFixture {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "sqlite")]
impl Fixture for SqliteFixture {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }

    fn open(&self, limits: Limits) -> Result<Store> {
        Store::open(Config::sqlite(self.path()).clock(self.clock.clone()).limits(limits)).wait()
    }

    fn config(&self) -> Option<Config> {
        Some(Config::sqlite(self.path()).clock(self.clock.clone()))
    }
}

/// A new directory for a test's files, removed when dropped.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// A directory under the system's temporary one.
    ///
    /// # Errors
    /// Those of creating it.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("larder-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                // Left behind by a killed process that had this id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of what is in it, sorted.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names =
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What a failed removal leaves behind is the temporary directory's business.
        let _ = fs::remove_dir_all(&self.path);
    }
}
