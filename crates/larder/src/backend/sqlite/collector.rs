//! A page of events in the making.

use std::sync::Arc;

use super::{row::StoredEvent, shared::Shared};
use crate::{
    backend::EventRead,
    error::{Error, Result},
    event::{Event, Position},
    page::Page,
};

/// For how many events of a page there is room from the start.
const EVENTS_AT_ONCE: usize = 1_024;

/// Collects the events of a page, and knows when it is full.
pub(super) struct Collector<'a> {
    request: &'a EventRead,
    limit: usize,
    over_limit_is_an_error: bool,
    bytes_left: usize,
    events: Vec<Event>,
    /// There is at least one more.
    more: bool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(shared: &Shared, request: &'a EventRead) -> Self {
        let (limit, over_limit_is_an_error) = shared.limits.page_rows(request.limit);
        let bytes_left = request.max_bytes.unwrap_or(usize::MAX);
        let events = Vec::with_capacity(request.limit.unwrap_or(0).min(EVENTS_AT_ONCE));
        Self { request, limit, over_limit_is_an_error, bytes_left, events, more: false }
    }

    /// How many events to look for: one more than it may take, to know whether there are more.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Takes a visible event; false once the page is full.
    pub(super) fn take(&mut self, stored: StoredEvent<'_>, stream: Option<Arc<str>>) -> Result<bool> {
        if self.events.len() == self.limit || (self.bytes_left == 0 && !self.events.is_empty()) {
            self.more = true;
            return Ok(false);
        }
        self.check_order(stored.position())?;
        self.bytes_left = self.bytes_left.saturating_sub(stored.size());
        self.events.push(stored.into_event(&self.request.log, stream)?);
        Ok(true)
    }

    /// A damaged page can lead to events that are sound, and elsewhere, or were there before.
    fn check_order(&self, position: Position) -> Result<()> {
        let last = self.events.last().map(|event| event.position).or(self.request.after);
        let goes_on =
            last.is_none_or(|last| if self.request.descending { position < last } else { position > last });
        if goes_on {
            return Ok(());
        }
        Err(Error::corrupted("events that are out of order")
            .with("log", &*self.request.log)
            .with("position", position.to_string()))
    }

    pub(super) fn into_page(self, head: u64) -> Result<Page<Event>> {
        let last = self.events.last().map(|event| event.position);
        if self.more && self.over_limit_is_an_error && self.events.len() == self.limit {
            let limit = self.limit as u64;
            return Err(Error::too_large("events of a read", limit, limit + 1)
                .with_hint("give a limit, or iterate with `each`"));
        }
        let next = if self.more { last } else { None };
        let through = match (self.request.descending, next) {
            (true, _) => Position::START,
            (false, Some(next)) => next,
            (false, None) => Position::new(head),
        };
        Ok(Page::new(self.events, next, through))
    }
}
