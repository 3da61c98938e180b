//! A backend that remembers what was asked of another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    backend::{Backend, BoxFuture, EventRead, ItemsRead},
    error::Result,
    event::Event,
    page::Page,
    query_db::Item,
    testing::Wrapper,
};

/// Passes everything on, and keeps the requests for events and items.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Arc<dyn Backend>,
    reads: Mutex<Vec<EventRead>>,
    item_reads: Mutex<Vec<ItemsRead>>,
}

impl Watched {
    pub(super) fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { inner, reads: Mutex::default(), item_reads: Mutex::default() })
    }

    /// The requests for events so far.
    pub(super) fn reads(&self) -> MutexGuard<'_, Vec<EventRead>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// The requests for items so far.
    pub(super) fn item_reads(&self) -> MutexGuard<'_, Vec<ItemsRead>> {
        self.item_reads.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>> {
        self.item_reads().push(request.clone());
        self.inner.read_items(request)
    }
}
