//! A backend that must be caught: it answers appends before they are committed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use larder::{
    Appended, Bus, Event, LogInfo, Page, Result, StreamInfo,
    backend::{
        Backend, BoxFuture, CommitReply, CommitRequest, EventRead, HistoryPage, HistoryRead, Operation,
        Outcome, Progress, StoreStats, StreamsRead, VerifyReport,
    },
    wait,
};

/// Hands appends on to a thread of its own, and says that they are done.
#[derive(Debug)]
pub(crate) struct EarlyAnswers {
    inner: Arc<dyn Backend>,
    queue: Mutex<mpsc::Sender<CommitRequest>>,
}

impl EarlyAnswers {
    pub(crate) fn new(inner: Arc<dyn Backend>) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel::<CommitRequest>();
        let backend = inner.clone();
        thread::Builder::new().name("early-answers".into()).spawn(move || {
            for request in requests {
                // Whoever asked has been told that all is well.
                drop(wait(backend.commit(request)));
            }
        })?;
        Ok(Self { inner, queue: Mutex::new(queue) })
    }
}

impl Backend for EarlyAnswers {
    fn commit(&self, mut request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        let is_guarded = |operation: &Operation| match operation {
            Operation::Append(append) => append.condition.is_some(),
            _ => true,
        };
        if request.operations.iter().any(is_guarded) {
            return self.inner.commit(request);
        }
        let outcomes = request.operations.iter().map(|_| Outcome::Appended(Appended::default())).collect();
        request.on_callers_thread = false;
        // The thread ends with the process.
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).send(request));
        Box::pin(async move { Ok(CommitReply { outcomes }) })
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
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
