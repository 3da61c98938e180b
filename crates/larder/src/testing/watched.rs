//! A backend that remembers what was asked of another one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    backend::{
        Backend, BoxFuture, CommitReply, CommitRequest, EventRead, HistoryPage, HistoryRead, Progress,
        StoreStats, StreamsRead, VerifyReport,
    },
    bus::Bus,
    error::Result,
    event::Event,
    event_log::{LogInfo, StreamInfo},
    page::Page,
};

/// Passes everything on, and keeps the requests for events.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Arc<dyn Backend>,
    reads: Mutex<Vec<EventRead>>,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { inner, reads: Mutex::default() })
    }

    /// The requests for events so far.
    pub(super) fn reads(&self) -> MutexGuard<'_, Vec<EventRead>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Watched {
    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        self.inner.commit(request)
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        self.reads().push(request.clone());
        self.inner.read_events(request)
    }

    fn read_streams(&self, request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>> {
        self.inner.read_streams(request)
    }

    fn stream_info(&self, log: Arc<str>, stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>> {
        self.inner.stream_info(log, stream)
    }

    fn logs(&self) -> BoxFuture<'_, Result<Vec<LogInfo>>> {
        self.inner.logs()
    }

    fn log_info(&self, log: Arc<str>) -> BoxFuture<'_, Result<Option<LogInfo>>> {
        self.inner.log_info(log)
    }

    fn read_history(&self, request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>> {
        self.inner.read_history(request)
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats>> {
        self.inner.stats()
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<VerifyReport>> {
        self.inner.verify(progress)
    }

    fn backup(&self, destination: PathBuf, progress: Progress) -> BoxFuture<'_, Result<()>> {
        self.inner.backup(destination, progress)
    }

    fn bus(&self) -> &Bus {
        self.inner.bus()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.close()
    }
}
