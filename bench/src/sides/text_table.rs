//! The text table: what one writes first with SQLite and nothing else.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rusqlite::{Connection, params};

use crate::{sides::larder::stream_name, workload::payload};

const LOG: &str = "bench";

const INSERT: &str =
    "INSERT INTO event_log (log_name, aggregate_id, seq_nr, payload) VALUES (?1, ?2, ?3, ?4)";

const SELECT: &str =
    "SELECT seq_nr, payload FROM event_log WHERE log_name = ?1 AND aggregate_id = ?2 ORDER BY seq_nr";

/// How much the baseline's connection caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// SQLite's own default, 2 MB.
    Default,
    /// As much as Larder has.
    Megabytes64,
}

/// `event_log`, keyed by text, in WAL mode at synchronous=FULL.
#[derive(Debug)]
pub struct TextTable {
    connection: Connection,
}

impl TextTable {
    fn file(dir: &Path) -> PathBuf {
        dir.join("text-table.db")
    }

    pub fn open(dir: &Path, cache: Cache) -> Result<Self> {
        let connection = Connection::open(Self::file(dir))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if cache == Cache::Megabytes64 {
            connection.pragma_update(None, "cache_size", -65_536)?;
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS event_log (
                 log_name TEXT NOT NULL,
                 aggregate_id TEXT NOT NULL,
                 seq_nr INTEGER NOT NULL,
                 payload TEXT NOT NULL,
                 PRIMARY KEY (log_name, aggregate_id, seq_nr)
             )",
        )?;
        Ok(Self { connection })
    }

    /// Inserts one event; outside of [`transaction`](Self::transaction) it is a transaction of its own.
    pub fn insert(&self, stream: &str, seq_nr: u64, payload: &str) -> Result<()> {
        let mut insert = self.connection.prepare_cached(INSERT)?;
        insert.execute(params![LOG, stream, seq_nr as i64, payload])?;
        Ok(())
    }

    /// Runs inserts as one transaction.
    pub fn transaction(&self, inserts: impl FnOnce() -> Result<()>) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        inserts()?;
        Ok(transaction.commit()?)
    }

    /// Reads a stream, copying every payload out; answers how many events and bytes.
    pub fn read(&self, stream: &str) -> Result<(u64, u64)> {
        let mut select = self.connection.prepare_cached(SELECT)?;
        let mut rows = select.query(params![LOG, stream])?;
        let mut events: Vec<(i64, String)> = Vec::new();
        while let Some(row) = rows.next()? {
            events.push((row.get(0)?, row.get(1)?));
        }
        let bytes = events.iter().map(|(_, payload)| payload.len() as u64).sum();
        Ok((events.len() as u64, bytes))
    }

    /// How many events it holds.
    pub fn count(&self) -> Result<u64> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM event_log", [], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Fills an empty table with streams, in the order in which Larder gets them.
    pub fn fill_streams(&self, streams: u64, events: u64) -> Result<()> {
        for event in 0..events {
            self.transaction(|| {
                (0..streams)
                    .try_for_each(|stream| self.insert(&stream_name(stream), event + 1, &payload(event)))
            })?;
        }
        Ok(())
    }
}
