//! Export and import of whole logs and QueryDbs as JSON Lines: the way from one store, or backend, to another.
//!
//! Positions, sequence numbers, marks, traces, ids and audited conditions stay as they were; items are saved anew, so
//! their versions are the other store's. The format is specified in `docs/formats/export.md`.

mod export;
mod format;
mod import;

use std::io::{BufRead, Write};

pub use self::import::check_export;
use crate::{
    backend::Progress,
    error::{Error, Result},
    event::Position,
    limits::check_name,
    operation::Call,
    store::Store,
};

/// What to export or import, and who is told how far it is.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct TransferOptions {
    logs: Vec<String>,
    progress: Progress,
}

impl TransferOptions {
    /// Every log, and every QueryDb.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only this log; with several calls, these. QueryDbs are left out then.
    pub fn log(mut self, name: impl Into<String>) -> Self {
        self.logs.push(name.into());
        self
    }

    /// Reports rows done, of total; the total is 0 while it is not known.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    fn includes(&self, log: &str) -> bool {
        self.logs.is_empty() || self.logs.iter().any(|name| name == log)
    }

    fn check(&self) -> Result<()> {
        self.logs.iter().try_for_each(|log| check_name("log", log))
    }
}

/// What an export holds, or what an import has written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Each log, in the order of the export.
    pub logs: Vec<TransferredLog>,
    /// Each QueryDb, in the order of the export.
    pub query_dbs: Vec<TransferredQueryDb>,
}

impl Transferred {
    /// The events of all logs.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.logs.iter().map(|log| log.events).sum()
    }

    /// The items of all QueryDbs.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.query_dbs.iter().map(|query_db| query_db.items).sum()
    }

    /// The rows of all logs: events, and everything else that is known of them; and the items.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.logs.iter().map(|log| log.rows).sum::<u64>() + self.items()
    }
}

/// What an export holds of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredLog {
    /// The log.
    pub log: String,
    /// Its events.
    pub events: u64,
    /// Its rows of every kind.
    pub rows: u64,
    /// The first position, of an event or of what is left of one; [`Position::START`] if there is none.
    pub first_position: Position,
    /// The last position, likewise.
    pub last_position: Position,
}

/// What an export holds of one QueryDb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredQueryDb {
    /// The QueryDb.
    pub query_db: String,
    /// Its visible items.
    pub items: u64,
}

impl TransferredLog {
    fn new(log: &str) -> Self {
        Self { log: log.to_owned(), ..Self::default() }
    }

    fn count(&mut self, position: Option<Position>, is_event: bool) {
        self.rows += 1;
        self.events += u64::from(is_event);
        if let Some(position) = position {
            if self.first_position == Position::START {
                self.first_position = position;
            }
            self.last_position = position;
        }
    }
}

impl Store {
    /// Writes logs, and the definitions and visible items of QueryDbs, as JSON Lines, in bounded memory, while reads and
    /// writes go on: each log as it was when its turn came, each item as it was when its page was read.
    ///
    /// The future writes as it is polled, so it blocks its thread as the writer does.
    ///
    /// ```
    /// use larder::{NewEvent, Store, TransferOptions};
    ///
    /// # fn main() -> larder::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("larder-export-{}.jsonl", std::process::id()));
    /// let store = Store::memory();
    /// store.event_log("orders")?.append("order-1", 0, [NewEvent::new("Placed", &1)]).wait()?;
    /// # let file = std::fs::File::create(&path).unwrap();
    /// let exported = store.export(TransferOptions::new(), file).wait()?;
    /// assert_eq!(exported.events(), 1);
    ///
    /// let copy = Store::memory();
    /// # let file = std::fs::File::open(&path).unwrap();
    /// copy.import(TransferOptions::new(), std::io::BufReader::new(file)).wait()?;
    /// assert_eq!(copy.event_log("orders")?.head("order-1").wait()?, 1);
    /// # std::fs::remove_file(path).ok();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` for a log that does not exist; `HistoryCompacted` if a log was compacted meanwhile (export
    /// again); `Io` and `Full` from the writer; `Corrupted`, `Closed`.
    pub fn export(&self, options: TransferOptions, writer: impl Write + Send + 'static) -> Call<Transferred> {
        let store = self.clone();
        Call::new(async move {
            options.check()?;
            let backend = store.backend().await?;
            export::export(&*backend, options, writer).await.map_err(|error| error.during("export"))
        })
    }

    /// Reads what [`export`](Self::export) wrote, in bounded memory, in atomic chunks. A log is imported only
    /// above its own head.
    ///
    /// An error names the last line that was committed in its context, key `committed line`. To know beforehand
    /// that the export is whole, read it with [`check_export`].
    ///
    /// # Errors
    /// `InvalidArgument` for what is no export, or for a position that is not above its log's head; `Corrupted`
    /// for an export that was changed or cut off; `Incompatible` for a newer format; `NotFound` for a log that
    /// is asked for and not in the export; `TooLarge`; and those of any commit.
    pub fn import(
        &self,
        options: TransferOptions,
        reader: impl BufRead + Send + 'static,
    ) -> Call<Transferred> {
        let store = self.clone();
        Call::new(async move {
            options.check()?;
            let limits = store.limits().clone();
            let backend = store.backend().await?;
            import::import(&*backend, &limits, options, reader).await.map_err(|error| error.during("import"))
        })
    }
}

/// The error of a reader or writer.
fn io_error(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => crate::ErrorKind::Full,
        _ => crate::ErrorKind::Io,
    };
    Error::new(kind).caused_by(error)
}

#[cfg(test)]
mod tests;
