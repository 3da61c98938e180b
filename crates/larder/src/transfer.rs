//! Export and import of everything that a store holds, as JSON Lines: the way from one store, or backend, to another.
//!
//! Positions, sequence numbers, marks, traces, ids and audited conditions stay as they were, and so do the numbers of task
//! buckets and the checkpoints of projections; items are saved anew, so their versions are the other store's. The format is
//! specified in `docs/formats/export.md`.

mod export;
mod format;
mod import;
mod transferred;

use std::io::{BufRead, Write};

pub use self::{
    import::check_export,
    transferred::{
        Transferred, TransferredLog, TransferredProjection, TransferredQueryDb, TransferredTaskBucket,
    },
};
use crate::{
    backend::Progress,
    error::{Error, Result},
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
    /// Everything: logs, QueryDbs, task buckets and projections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only this log; with several calls, these. What is no log is left out then.
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

    fn is_everything(&self) -> bool {
        self.logs.is_empty()
    }

    fn check(&self) -> Result<()> {
        self.logs.iter().try_for_each(|log| check_name("log", log))
    }
}

impl Store {
    /// Writes logs, the definitions and visible items of QueryDbs, task buckets, and projections, as JSON Lines, in bounded
    /// memory, while reads and writes go on: each log and bucket as it was when its turn came, each item as it was when its
    /// page was read.
    ///
    /// A projection that goes on meanwhile is exported if it [owns](crate::Projection::owns) its QueryDbs and its log was
    /// never compacted: then the import asks for a rebuild.
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
    /// again); `Conflict` if any other projection went on meanwhile, or something was put into a bucket in its turn; `Io` and `Full` from the writer; `Corrupted`, `Closed`.
    pub fn export(&self, options: TransferOptions, writer: impl Write + Send + 'static) -> Call<Transferred> {
        let store = self.clone();
        Call::new(async move {
            options.check()?;
            let backend = store.backend().await?;
            export::export(&*backend, options, writer).await.map_err(|error| error.during("export"))
        })
    }

    /// Reads what [`export`](Self::export) wrote, in bounded memory, in atomic chunks. A log is imported only
    /// above its own head, a task bucket or a projection only where there is none of its name.
    ///
    /// An error names the last line that was committed in its context, key `committed line`. To know beforehand
    /// that the export is whole, read it with [`check_export`].
    ///
    /// # Errors
    /// `InvalidArgument` for what is no export, or for a position that is not above its log's head; `Corrupted`
    /// for an export that was changed or cut off; `AlreadyExists` for a bucket or a projection; `Incompatible` for a newer format; `NotFound` for a log that
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
