//! Where a store lives and how, from a URL, the environment, or code.

use std::{
    env,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Clock, SystemClock},
    codec::Codec,
    error::{Error, Result},
    limits::Limits,
};

/// What an answer to a write promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk before the answer: survives a crash of the machine. The default.
    #[default]
    Flushed,
    /// Handed to the operating system before the answer: survives a crash of the process.
    Buffered,
}

/// Everything that opening a store needs to know.
///
/// ```
/// use larder::{Config, Durability};
///
/// let config: Config = "sqlite:./data/shop.db?durability=buffered".parse()?;
/// assert_eq!(config.to_string(), "sqlite (./data/shop.db)");
/// let same = Config::sqlite("./data/shop.db").durability(Durability::Buffered);
/// assert_eq!(same.backend, config.backend);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The engine and its place.
    pub backend: BackendConfig,
    /// How large things may be.
    pub limits: Limits,
    /// Where the store reads the time.
    pub clock: Arc<dyn Clock>,
    /// How snapshots are stored, and how many are kept.
    pub snapshots: SnapshotOptions,
}

/// How snapshots are stored, and how many are kept, unless a call says otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// How their states are stored, and the keys to read them.
    pub codec: Codec,
    /// How many of a subject are kept: the newest ones. 0 keeps all. Default 3.
    pub keep: u64,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { codec: Codec::default(), keep: 3 }
    }
}

/// The engine of a store, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendConfig {
    /// In memory: gone when the last handle is.
    Memory,
    /// A SQLite file.
    Sqlite(SqliteConfig),
}

/// A SQLite file, and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqliteConfig {
    /// The file. Its parent directory is created.
    pub path: PathBuf,
    /// Wipes the store at every open.
    pub reset_on_start: bool,
    /// What an answer to a write promises.
    pub durability: Durability,
    /// How long a write waits for other processes. Default 5 s.
    pub busy_timeout: Duration,
    /// Opens for reading only, and never creates the file.
    pub read_only: bool,
    /// How often live subscriptions look for what other processes wrote. Default 250 ms.
    pub poll_interval: Duration,
    /// How many index entries (one for each tag and type of an event) of a log gather in memory before they are
    /// merged into the file. Default 262,144.
    pub merge_at: usize,
    /// Reads through a map of the file into memory instead of copying pages, on 64-bit systems. Default true.
    ///
    /// It makes reading from a large store about 1.6 times as fast. In exchange, a disk that fails to read a
    /// page, or somebody who truncates the open file, ends the process with a signal instead of an error.
    pub map_file: bool,
    /// The SQLite VFS to use, by name; for tests of durability.
    pub vfs: Option<String>,
}

impl Config {
    /// A store in memory.
    #[must_use]
    pub fn memory() -> Self {
        Self::new(BackendConfig::Memory)
    }

    /// A store in a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::new(BackendConfig::Sqlite(SqliteConfig::new(path.into())))
    }

    fn new(backend: BackendConfig) -> Self {
        let (limits, snapshots) = (Limits::default(), SnapshotOptions::default());
        Self { backend, limits, clock: Arc::new(SystemClock), snapshots }
    }

    /// From the environment variable `LARDER_BACKEND`, or `REVENTLESS_LOCAL_BACKEND` if that is unset. Unset,
    /// empty or `memory` means memory.
    ///
    /// # Errors
    /// `InvalidArgument` for anything that is not recognised.
    pub fn from_env() -> Result<Self> {
        let variable = |name| env::var_os(name).map(|value| (name, value));
        let Some((name, value)) = variable("LARDER_BACKEND").or_else(|| variable("REVENTLESS_LOCAL_BACKEND"))
        else {
            return Ok(Self::memory());
        };
        let url = value.to_str().ok_or_else(|| Error::invalid("backend URL", "not UTF-8"));
        url.and_then(|url| if url.is_empty() { Ok(Self::memory()) } else { url.parse() })
            .map_err(|error| error.with("environment variable", name))
    }

    /// Sets where the store reads the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how large things may be.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how states of snapshots are stored, and the keys to read them.
    #[must_use]
    pub fn snapshot_codec(mut self, codec: Codec) -> Self {
        self.snapshots.codec = codec;
        self
    }

    /// Sets how many snapshots of a subject are kept: the newest ones. 0 keeps all.
    #[must_use]
    pub fn keep_snapshots(mut self, snapshots: u64) -> Self {
        self.snapshots.keep = snapshots;
        self
    }

    /// Wipes a SQLite store at every open.
    #[must_use]
    pub fn reset_on_start(self, reset: bool) -> Self {
        self.with_sqlite(|sqlite| sqlite.reset_on_start = reset)
    }

    /// Sets what an answer to a write promises, on SQLite.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.with_sqlite(|sqlite| sqlite.durability = durability)
    }

    /// Sets how long a write waits for other processes, on SQLite.
    #[must_use]
    pub fn busy_timeout(self, timeout: Duration) -> Self {
        self.with_sqlite(|sqlite| sqlite.busy_timeout = timeout)
    }

    /// Opens a SQLite store for reading only; a missing file is `NotFound`, never created.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        self.with_sqlite(|sqlite| sqlite.read_only = read_only)
    }

    /// Sets how often live subscriptions look for what other processes wrote, on SQLite.
    #[must_use]
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.with_sqlite(|sqlite| sqlite.poll_interval = interval)
    }

    /// Sets how many index entries of a log gather in memory before they are merged into the file, on SQLite.
    #[must_use]
    pub fn merge_at(self, entries: usize) -> Self {
        self.with_sqlite(|sqlite| sqlite.merge_at = entries)
    }

    /// Sets whether to read through a map of the file into memory, on SQLite: see [`SqliteConfig::map_file`].
    #[must_use]
    pub fn map_file(self, map: bool) -> Self {
        self.with_sqlite(|sqlite| sqlite.map_file = map)
    }

    /// Uses another SQLite VFS, by name; for tests of durability.
    #[must_use]
    pub fn vfs(self, name: impl Into<String>) -> Self {
        self.with_sqlite(|sqlite| sqlite.vfs = Some(name.into()))
    }

    fn with_sqlite(mut self, change: impl FnOnce(&mut SqliteConfig)) -> Self {
        if let BackendConfig::Sqlite(sqlite) = &mut self.backend {
            change(sqlite);
        }
        self
    }
}

impl SqliteConfig {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            reset_on_start: false,
            durability: Durability::default(),
            busy_timeout: Duration::from_secs(5),
            read_only: false,
            poll_interval: Duration::from_millis(250),
            merge_at: 1 << 18,
            map_file: true,
            vfs: None,
        }
    }

    fn set_flag(&mut self, flag: &str) -> Result<()> {
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("reset", None) => self.reset_on_start = true,
            ("durability", Some("flushed")) => self.durability = Durability::Flushed,
            ("durability", Some("buffered")) => self.durability = Durability::Buffered,
            ("mode", Some("ro")) => self.read_only = true,
            ("busy_timeout", Some(ms)) => {
                let ms: u32 = ms.parse().map_err(|_| unrecognised(&format!("flag `{flag}`")))?;
                self.busy_timeout = Duration::from_millis(ms.into());
            }
            ("reset" | "durability" | "mode", _) => return Err(unrecognised(&format!("flag `{flag}`"))),
            // Its value may be a password.
            _ => return Err(unrecognised(&format!("flag `{name}`"))),
        }
        if self.read_only && self.reset_on_start {
            return Err(unrecognised("`reset` together with `mode=ro`"));
        }
        Ok(())
    }
}

/// The error for a URL that is not recognised, listing what is.
fn unrecognised(what: &str) -> Error {
    let mut reason = format!("{what} is not recognised; recognised are ");
    let forms = ["memory", "sqlite:<path>", "sqlite:<path>?reset"];
    let flags = ["durability=flushed|buffered", "busy_timeout=<ms>", "mode=ro"];
    let _ = write!(
        reason,
        "`{}`, and after `?`, joined by `&`, also `{}`",
        forms.join("`, `"),
        flags.join("`, `")
    );
    Error::invalid("backend URL", reason)
}

/// As much of a URL as may be shown: anything after its scheme may be, or hold, a password.
fn scheme(url: &str) -> String {
    match url.find([':', '?', '@']) {
        Some(end) => format!("{}…", &url[..=end]),
        None => url.to_owned(),
    }
}

impl FromStr for Config {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        if url == "memory" || url == "memory:" {
            return Ok(Self::memory());
        }
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return Err(unrecognised(&format!("`{}`", scheme(url))));
        };
        let (path, flags) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err(unrecognised("`sqlite:` without a path"));
        }
        let mut sqlite = SqliteConfig::new(path.into());
        flags.split('&').filter(|flag| !flag.is_empty()).try_for_each(|flag| sqlite.set_flag(flag))?;
        Ok(Self::new(BackendConfig::Sqlite(sqlite)))
    }
}

impl TryFrom<&str> for Config {
    type Error = Error;

    fn try_from(url: &str) -> Result<Self> {
        url.parse()
    }
}

impl TryFrom<String> for Config {
    type Error = Error;

    fn try_from(url: String) -> Result<Self> {
        url.parse()
    }
}

impl TryFrom<&String> for Config {
    type Error = Error;

    fn try_from(url: &String) -> Result<Self> {
        url.parse()
    }
}

/// As the line at opening names it: `memory`, `sqlite (./x/local.db)`, `sqlite (./x/local.db, resetOnStart)`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            BackendConfig::Memory => f.write_str("memory"),
            BackendConfig::Sqlite(sqlite) => {
                let reset = if sqlite.reset_on_start { ", resetOnStart" } else { "" };
                write!(f, "sqlite ({}{reset})", Path::display(&sqlite.path))
            }
        }
    }
}
