//! Key-value stores: Larder's client, its rivals, and the bare floors beneath them.

pub mod bare;
pub mod batcher;
pub mod fjall;
pub mod larder;
pub mod lmdb;
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
pub mod sled;

use std::{path::Path, sync::Arc};

use anyhow::Result;

/// When a put is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced to disk.
    Synced,
    /// When it is on its way to the operating system: a crash of the machine may lose it.
    Buffered,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A store as a caller on a thread sees it.
pub trait Kv: Send + Sync {
    /// Puts one value.
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()>;

    /// Puts them as one, atomically.
    fn put_all(&self, pairs: Vec<Pair>) -> Result<()>;

    /// The value's length, if there is one.
    fn get(&self, key: &[u8]) -> Result<Option<usize>>;
}

/// Opens a store in an empty directory.
pub type OpenKv = fn(&Path, Durability) -> Result<Arc<dyn Kv>>;

/// Larder, by the name under which the targets know it.
pub const LARDER: (&str, OpenKv) = ("Larder", larder::open);

/// The rivals, in the order of the report.
pub const RIVALS: &[(&str, OpenKv)] = &[
    #[cfg(feature = "rocksdb")]
    ("RocksDB", rocksdb::open),
    ("sled", sled::open),
    ("LMDB", lmdb::open),
    ("redb", redb::open),
    ("fjall", fjall::open),
];
