//! redb: a transaction for each put or batch.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::{Durability, Kv, Pair};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

struct Redb {
    db: Database,
    durability: Durability,
}

pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    let db = Database::create(dir.join("redb"))?;
    let transaction = db.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    Ok(Arc::new(Redb { db, durability }))
}

impl Kv for Redb {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.put_all(vec![(key, value)])
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(match self.durability {
            Durability::Synced => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        })?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in &pairs {
                table.insert(&**key, &**value)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        let table = self.db.begin_read()?.open_table(TABLE)?;
        Ok(table.get(key)?.map(|value| value.value().len()))
    }
}
