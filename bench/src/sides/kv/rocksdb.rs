//! RocksDB: its own group commit, `sync` per write.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::{Durability, Kv, Pair};

struct RocksDb {
    db: DB,
    sync: bool,
}

pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    let mut options = Options::default();
    options.create_if_missing(true);
    Ok(Arc::new(RocksDb { db: DB::open(&options, dir)?, sync: durability == Durability::Synced }))
}

impl RocksDb {
    fn options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(self.sync);
        options
    }
}

impl Kv for RocksDb {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.options())?)
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.options())?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.db.get_pinned(key)?.map(|value| value.len()))
    }
}
