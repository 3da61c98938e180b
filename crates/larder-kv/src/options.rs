//! How a client is opened.

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_runtime::{Clock, SystemClock};

use crate::{
    error::{Error, Result},
    io::{Disk, OsDisk},
};

const NODE_ID_CHARS: usize = 128;

/// Options of a client: a preset, and then whatever is set on it.
///
/// ```
/// use larder_kv::ClientOptions;
///
/// let mut options = ClientOptions::local("node-a");
/// options.enable_wal = true;
/// options.wal_path = "data/node-a.wal".into();
/// options.auto_flush = true;
/// assert_eq!(options.wal_path, ClientOptions::persistent("node-a", "data/node-a.wal").wal_path);
/// ```
///
/// What does not go together is refused by [`Client::open`](crate::Client::open), which names the field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The name of this node: 1 to 128 characters of `[A-Za-z0-9_.:-]`. A file belongs to one node for good.
    pub node_id: String,
    /// Whether writes are kept in a file. Without it, everything is gone when the client is.
    pub enable_wal: bool,
    /// The file, if there is one. Its folder is created. One node, one file.
    pub wal_path: PathBuf,
    /// Whether a write is answered only when it is synced to disk. Otherwise it is answered at once, given to the
    /// operating system within [`flush_interval`](Self::flush_interval), and synced by
    /// [`flush`](crate::Client::flush) and [`close`](crate::Client::close).
    pub auto_flush: bool,
    /// How long a write may wait in memory, before it is given to the operating system, if `auto_flush` is off. Default 50
    /// ms. About every 5 seconds, what was written is synced to disk too.
    pub flush_interval: Duration,
    /// Whether the file is compacted in the background when most of it is outdated. Default true.
    pub auto_compact: bool,
    /// The size in bytes below which the file is not compacted in the background. Default 1 MiB.
    pub compact_min_bytes: u64,
    /// The most entries that one round of sync sends to a peer. Default 128.
    pub sync_batch_size: usize,
    /// Whether to exchange changes with other nodes. Not there yet: has to be false.
    pub enable_transport: bool,
    /// Whether to look for other nodes on the local network. Not there yet: has to be false.
    pub enable_discovery: bool,
    /// Where the client reads the time.
    pub clock: Arc<dyn Clock>,
    /// The files it works on: the operating system's, unless a test brings its own.
    pub disk: Arc<dyn Disk>,
}

impl ClientOptions {
    /// A client of this machine only, in memory only.
    #[must_use]
    pub fn local(node_id: impl Into<String>) -> Self {
        Self {
            node_id: node_id.into(),
            enable_wal: false,
            wal_path: PathBuf::new(),
            auto_flush: true,
            flush_interval: Duration::from_millis(50),
            auto_compact: true,
            compact_min_bytes: 1 << 20,
            sync_batch_size: 128,
            enable_transport: false,
            enable_discovery: false,
            clock: Arc::new(SystemClock),
            disk: Arc::new(OsDisk),
        }
    }

    /// The same as [`local`](Self::local), by the name that says what it is.
    #[must_use]
    pub fn memory_only(node_id: impl Into<String>) -> Self {
        Self::local(node_id)
    }

    /// A client with a file, whose writes are synced before they are answered.
    #[must_use]
    pub fn persistent(node_id: impl Into<String>, wal_path: impl Into<PathBuf>) -> Self {
        Self { enable_wal: true, wal_path: wal_path.into(), ..Self::local(node_id) }
    }

    /// A client with a file, whose writes are answered before they reach it: a crash of the machine may lose the
    /// latest ones, a crash of the process those of the last 50 ms.
    #[must_use]
    pub fn fast(node_id: impl Into<String>, wal_path: impl Into<PathBuf>) -> Self {
        Self { auto_flush: false, ..Self::persistent(node_id, wal_path) }
    }

    /// Refuses what does not go together, naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        check_node_id(&self.node_id)?;
        if self.enable_wal && self.wal_path.as_os_str().is_empty() {
            let error = Error::invalid("wal_path", "it is empty although enable_wal is true");
            return Err(error.with_hint("set a path such as data/app.wal, or leave enable_wal off"));
        }
        if self.enable_wal && self.wal_path.file_name().is_none() {
            return Err(Error::invalid("wal_path", format!("`{}` names no file", self.wal_path.display())));
        }
        if self.sync_batch_size == 0 {
            return Err(Error::invalid("sync_batch_size", "it is 0; the least is 1"));
        }
        if self.flush_interval.is_zero() {
            return Err(Error::invalid("flush_interval", "it is 0; for no delay, set auto_flush"));
        }
        for (field, enabled) in
            [("enable_transport", self.enable_transport), ("enable_discovery", self.enable_discovery)]
        {
            if enabled {
                let error =
                    Error::invalid(field, "it is true, but this version cannot sync with other nodes yet");
                return Err(
                    error.with_hint("leave it off: changes are kept in the outbox until sync is there")
                );
            }
        }
        Ok(())
    }
}

fn check_node_id(node_id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if node_id.is_empty() || node_id.len() > NODE_ID_CHARS || !node_id.chars().all(allowed) {
        let shown: String = node_id.chars().take(40).collect();
        let reason = format!("`{shown}` is not 1 to {NODE_ID_CHARS} characters of [A-Za-z0-9_.:-]");
        return Err(Error::invalid("node_id", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_does_not_go_together_names_the_field() {
        let field = |change: fn(&mut ClientOptions)| {
            let mut options = ClientOptions::persistent("node-a", "data/a.wal");
            change(&mut options);
            match options.check().unwrap_err().kind() {
                ErrorKind::InvalidArgument { field, .. } => *field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(field(|options| options.node_id = "a b".into()), "node_id");
        assert_eq!(field(|options| options.node_id = String::new()), "node_id");
        assert_eq!(field(|options| options.wal_path = "".into()), "wal_path");
        assert_eq!(field(|options| options.wal_path = "data/..".into()), "wal_path");
        assert_eq!(field(|options| options.sync_batch_size = 0), "sync_batch_size");
        assert_eq!(field(|options| options.flush_interval = Duration::ZERO), "flush_interval");
        assert_eq!(field(|options| options.enable_transport = true), "enable_transport");
        assert_eq!(field(|options| options.enable_discovery = true), "enable_discovery");
    }

    #[test]
    fn presets_are_accepted() {
        assert!(ClientOptions::local("node-a").check().is_ok());
        assert!(ClientOptions::fast("node-a", "a.wal").check().is_ok());
    }
}
