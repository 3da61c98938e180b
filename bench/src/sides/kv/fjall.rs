//! fjall: `persist` after each put syncs its journal.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Durability, Kv, Pair};

struct Fjall {
    db: Database,
    keyspace: Keyspace,
    durability: Durability,
}

pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    let db = Database::builder(dir).open()?;
    let keyspace = db.keyspace("bench", KeyspaceCreateOptions::default)?;
    Ok(Arc::new(Fjall { db, keyspace, durability }))
}

impl Kv for Fjall {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.keyspace.insert(key, value)?;
        if self.durability == Durability::Synced {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let sync = (self.durability == Durability::Synced).then_some(PersistMode::SyncData);
        let mut batch = self.db.batch().durability(sync);
        for (key, value) in pairs {
            batch.insert(&self.keyspace, key, value);
        }
        Ok(batch.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.keyspace.get(key)?.map(|value| value.len()))
    }
}
