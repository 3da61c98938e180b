//! A backend that must be caught: it answers appends before they are committed.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use larder::{
    Appended, Result,
    backend::{Backend, BoxFuture, CommitReply, CommitRequest, Operation, Outcome},
    testing::Wrapper,
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

impl Wrapper for EarlyAnswers {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

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
}
