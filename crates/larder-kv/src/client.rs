//! The client: what users hold.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    Call,
    batch::Batch,
    compaction,
    completion::on_thread,
    core::Core,
    error::{Error, ErrorKind, Result},
    open,
    options::ClientOptions,
    scan::Scan,
    sync::{SyncState, Tick, entry::Author},
    value::{Key, Value, check_key, check_value},
    wal::{header::HEADER_BYTES, recovery::Recovery},
    watch::Watch,
    write::{Op, Ops, Write},
};

/// A key-value store of one node: values in memory, writes in a file if the options say so.
///
/// Clones are the same client. Dropping the last one flushes what was written, as far as possible;
/// [`close`](Self::close) does it and says whether it worked.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// client.put("profile/name", "Ada").wait()?;
/// assert_eq!(client.get("profile/name")?, "Ada");
/// assert!(client.find("profile/age")?.is_none());
/// client.remove("profile/name").wait()?;
/// assert!(client.empty());
/// client.close().wait()
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// The state of a client's file and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The node's id.
    pub node_id: String,
    /// The file; none in memory-only mode.
    pub wal_path: Option<PathBuf>,
    /// Keys with a value.
    pub keys: u64,
    /// Keys that were removed, kept so that other nodes learn of it.
    pub tombstones: u64,
    /// What keys and values add up to, in bytes.
    pub data_bytes: u64,
    /// How much of the file is written, in bytes.
    pub file_bytes: u64,
    /// How much of that is still needed; the rest goes with the next compaction.
    pub live_bytes: u64,
    /// How often the file was compacted since it was begun.
    pub generation: u64,
    /// Why the client no longer writes, if a write has failed.
    pub poisoned: Option<String>,
}

impl Client {
    /// Opens a client, recovering what is in its file.
    ///
    /// # Errors
    /// `InvalidArgument` names the option that cannot be, `Locked` the process that has the file; `Incompatible` if
    /// the file is of another format, a newer version or another node; `Corrupted` says where; `Io`, `Full`.
    pub fn open(options: ClientOptions) -> Call<Self> {
        Call::new(async move {
            // Whoever gives up waiting drops the answer, and that closes the client.
            let open = move || Ok(Self { shared: Arc::new(Shared { core: open::open(options)? }) });
            on_thread("larder-kv-open", open).await
        })
    }

    /// Gives the key this value.
    ///
    /// # Errors
    /// Those of a [`Write`].
    pub fn put(&self, key: impl Into<Key>, value: impl Into<Value>) -> Write {
        let (key, value) = (key.into(), value.into());
        let checked = check_key(&key).and_then(|()| check_value(&value));
        Write::new(self.shared.clone(), checked.map(|()| Ops::One(Op { key, value: Some(value) })))
    }

    /// Takes the key's value away, if it has one.
    ///
    /// # Errors
    /// Those of a [`Write`].
    pub fn remove(&self, key: impl Into<Key>) -> Write {
        let key = key.into();
        let checked = check_key(&key);
        Write::new(self.shared.clone(), checked.map(|()| Ops::One(Op { key, value: None })))
    }

    /// Several writes, all or nothing.
    pub fn batch(&self) -> Batch {
        Batch::new(self.shared.clone())
    }

    /// The key's value.
    ///
    /// # Errors
    /// `NotFound` with the key if it has none, `InvalidArgument` and `TooLarge` if it cannot be a key, `Closed`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Value> {
        let key = key.as_ref();
        let found = self.find(key)?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound).with("key", Key::from(key).to_string()))
    }

    /// The key's value, or none.
    ///
    /// # Errors
    /// `InvalidArgument` and `TooLarge` if it cannot be a key, `Closed`.
    pub fn find(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        check_key(key)?;
        Ok(self.shared.core.open_store()?.get(key))
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        check_key(key)?;
        Ok(self.shared.core.open_store()?.contains(key))
    }

    /// The number of keys with a value; 0 once closed.
    #[must_use]
    pub fn size(&self) -> usize {
        self.shared.core.open_store().map_or(0, |store| store.visible())
    }

    /// Whether no key has a value.
    #[must_use]
    pub fn empty(&self) -> bool {
        self.size() == 0
    }

    /// The entries whose keys start with this, in order; `""` for all.
    ///
    /// # Errors
    /// `Closed`.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Result<Scan> {
        self.shared.core.check_open()?;
        Ok(Scan::new(self.shared.clone(), prefix.as_ref()))
    }

    /// Changes of keys that start with this, from now on; `""` for all.
    ///
    /// # Errors
    /// `Closed`.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.shared.core.check_open()?;
        Ok(self.shared.core.watchers.watch(self.shared.clone(), prefix.as_ref()))
    }

    /// Syncs everything to disk that was written before, also without `auto_flush`.
    ///
    /// # Errors
    /// `CommitUnknown` if that fails, `Poisoned`, `Closed`.
    pub fn flush(&self) -> Write {
        Write::flush(self.shared.clone())
    }

    /// Writes the file anew, with nothing but what is needed. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Full`, `Io` and `Corrupted`: the old file is still in use. `CommitUnknown` if the new file could not be put in
    /// its place for sure: open it again. `Poisoned`, `Closed`.
    pub fn compact(&self) -> Call<()> {
        let shared = self.shared.clone();
        Call::new(async move {
            shared.core.check_open()?;
            on_thread("larder-kv-compact", move || compaction::compact(&shared.core)).await
        })
    }

    /// Flushes, gives the file free, and refuses all calls from then on. Closing a client that is closed, or is being
    /// closed, answers what the first close did, once it is done.
    ///
    /// # Errors
    /// `Full` if there is no space for what was buffered: the client stays open, and can be closed once there is room.
    /// `CommitUnknown` if flushing fails; `Poisoned` if an earlier write has failed: the file is free all the same.
    pub fn close(&self) -> Call<()> {
        let shared = self.shared.clone();
        Call::new(async move { on_thread("larder-kv-close", move || open::close(&shared.core)).await })
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.shared.core
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.shared.core.options.node_id
    }

    /// What was found when the client was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.core.recovery
    }

    /// What waits to reach other nodes, and what has.
    ///
    /// # Errors
    /// `Closed`.
    pub fn sync_state(&self) -> Result<SyncState> {
        let store = self.shared.core.open_store()?;
        let pending = store.pending() as u64;
        let (last_submitted_version, _) = store.vector().seen(Author::OWNER);
        Ok(SyncState {
            outbox_size: pending,
            queued: pending,
            last_submitted_version,
            ..SyncState::default()
        })
    }

    /// Moves sync forward once. Without a peer there is nothing to move.
    ///
    /// # Errors
    /// `Closed`.
    pub fn tick(&self) -> Call<Tick> {
        let shared = self.shared.clone();
        Call::new(async move { shared.core.check_open().map(|()| Tick::default()) })
    }

    /// The state of the file and of memory.
    ///
    /// # Errors
    /// `Closed`.
    pub fn status(&self) -> Result<Status> {
        let core = &self.shared.core;
        let (store, options) = (core.open_store()?, &core.options);
        let live_bytes = store.record_bytes() + HEADER_BYTES as u64;
        Ok(Status {
            node_id: options.node_id.clone(),
            wal_path: options.enable_wal.then(|| options.wal_path.clone()),
            keys: store.visible() as u64,
            tombstones: store.tombstones() as u64,
            data_bytes: store.data_bytes(),
            file_bytes: core.gauges.file_bytes.load(Ordering::Relaxed),
            live_bytes: if options.enable_wal { live_bytes } else { 0 },
            generation: core.gauges.generation.load(Ordering::Relaxed),
            poisoned: core.failure(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("node_id", &self.shared.core.options.node_id).finish_non_exhaustive()
    }
}

/// What the clones of a client, and what came from them, have in common. Dropping the last closes the client.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.core.check_open().is_err() {
            return; // Closed, and whoever did it has the answer.
        }
        if let Err(error) = open::close_anyway(&self.core) {
            tracing::error!(%error, "a client was dropped and could not be closed");
        }
    }
}
