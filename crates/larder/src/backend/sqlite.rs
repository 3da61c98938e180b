//! The SQLite backend.

use std::{path::PathBuf, sync::Arc};

use super::{
    Backend, BoxFuture, CommitReply, CommitRequest, EventRead, HistoryPage, HistoryRead, Progress,
    StoreStats, StreamsRead, VerifyReport,
};
use crate::{
    bus::Bus,
    config::Config,
    error::Result,
    event::Event,
    event_log::{LogInfo, StreamInfo},
    page::Page,
};

/// Skeleton.
#[derive(Debug)]
pub struct SqliteBackend {
    bus: Bus,
}

impl SqliteBackend {
    /// Opens or creates.
    ///
    /// # Errors
    /// Io.
    pub fn open(_config: &Config, _sqlite: &crate::config::SqliteConfig) -> Result<Self> {
        Ok(Self { bus: Bus::new() })
    }
}

impl Backend for SqliteBackend {
    fn commit(&self, _request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        todo!()
    }
    fn read_events(&self, _request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        todo!()
    }
    fn read_streams(&self, _request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>> {
        todo!()
    }
    fn stream_info(&self, _log: Arc<str>, _stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>> {
        todo!()
    }
    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogInfo>>> {
        todo!()
    }
    fn log_info(&self, _log: Arc<str>) -> BoxFuture<'_, Result<Option<LogInfo>>> {
        todo!()
    }
    fn read_history(&self, _request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>> {
        todo!()
    }
    fn stats(&self) -> BoxFuture<'_, Result<StoreStats>> {
        todo!()
    }
    fn verify(&self, _progress: Progress) -> BoxFuture<'_, Result<VerifyReport>> {
        todo!()
    }
    fn backup(&self, _destination: PathBuf, _progress: Progress) -> BoxFuture<'_, Result<()>> {
        todo!()
    }
    fn bus(&self) -> &Bus {
        &self.bus
    }
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        todo!()
    }
}
