//! A backend that remembers what was asked of another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    backend::{Backend, BoxFuture, EventRead},
    error::Result,
    event::Event,
    page::Page,
    testing::Wrapper,
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

impl Wrapper for Watched {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        self.reads().push(request.clone());
        self.inner.read_events(request)
    }
}
