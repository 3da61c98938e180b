//! The item table: what a read model is with SQLite and nothing else. It is equal to Larder's, but for the checksum:
//! the same columns, the same indexes.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params};

use crate::workload::WorkItem;

const UPSERT: &str = "INSERT INTO items (partition_key, sub_key, item, expires_at, version, k1, k2, k3)
     VALUES (?1, '', ?2, NULL, ?3, ?4, ?5, ?6)
     ON CONFLICT (partition_key, sub_key) DO UPDATE SET item = excluded.item, expires_at = excluded.expires_at,
     version = excluded.version, k1 = excluded.k1, k2 = excluded.k2, k3 = excluded.k3";

const SELECT: &str = "SELECT item, version FROM items WHERE partition_key = ?1 AND sub_key = ''";

/// A table of items with two indexes, in WAL mode at synchronous=FULL.
#[derive(Debug)]
pub struct ItemTable {
    connection: Connection,
}

impl ItemTable {
    pub fn open(dir: &Path) -> Result<Self> {
        let connection = Connection::open(dir.join("items.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // As much as Larder has.
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS items (
                 partition_key TEXT NOT NULL,
                 sub_key NOT NULL,
                 item TEXT NOT NULL,
                 expires_at INTEGER,
                 version INTEGER NOT NULL,
                 k1, k2, k3,
                 PRIMARY KEY (partition_key, sub_key)
             );
             CREATE INDEX IF NOT EXISTS by_status ON items (k1, k2, partition_key, sub_key)
                 WHERE k1 IS NOT NULL AND k2 IS NOT NULL;
             CREATE INDEX IF NOT EXISTS by_amount ON items (k3, partition_key, sub_key) WHERE k3 IS NOT NULL;",
        )?;
        Ok(Self { connection })
    }

    /// Saves an item; outside of [`transaction`](Self::transaction) it is a transaction of its own.
    pub fn save(&self, item: &WorkItem, version: u64) -> Result<()> {
        let WorkItem { key, status, day, amount, .. } = item;
        self.save_row(key, &item.json(), version, (status, day, *amount))
    }

    /// Saves an item whose indexed fields are known.
    pub fn save_row(&self, key: &str, json: &str, version: u64, indexed: (&str, &str, i64)) -> Result<()> {
        let (status, day, amount) = indexed;
        let mut upsert = self.connection.prepare_cached(UPSERT)?;
        upsert.execute(params![key, json, version as i64, status, day, amount])?;
        Ok(())
    }

    /// Runs saves as one transaction.
    pub fn transaction(&self, saves: impl FnOnce() -> Result<()>) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        saves()?;
        Ok(transaction.commit()?)
    }

    /// Loads an item: its JSON and its version.
    pub fn load(&self, key: &str) -> Result<Option<(String, i64)>> {
        let mut select = self.connection.prepare_cached(SELECT)?;
        Ok(select.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// How many items it holds.
    pub fn count(&self) -> Result<u64> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?;
        Ok(count as u64)
    }
}
