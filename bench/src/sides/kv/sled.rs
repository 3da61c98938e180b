//! sled: `flush` after each put syncs; callers share it.

use std::{path::Path, sync::Arc};

use anyhow::Result;

use super::{Durability, Kv, Pair};

struct Sled {
    db: sled::Db,
    durability: Durability,
}

pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    Ok(Arc::new(Sled { db: sled::open(dir)?, durability }))
}

impl Sled {
    fn done(&self) -> Result<()> {
        if self.durability == Durability::Synced {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Kv for Sled {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.db.insert(key, value)?;
        self.done()
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in pairs {
            batch.insert(key, value);
        }
        self.db.apply_batch(batch)?;
        self.done()
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.db.get(key)?.map(|value| value.len()))
    }
}
