//! Pages of events and of streams.

use std::{collections::VecDeque, ops::Bound};

use super::{
    event_log::{LogState, StreamState, stream_info},
    state::State,
    table::Window,
};
use crate::{
    backend::{EventRead, EventSource, StreamsRead},
    error::{Error, Result},
    event::{Event, Position},
    event_log::StreamInfo,
    limits::Limits,
    page::Page,
};

/// A page of events.
pub(super) fn events(state: &State, request: &EventRead, limits: &Limits) -> Result<Page<Event>> {
    let Some(log) = state.logs.get(&request.log) else {
        return Ok(Page::new(Vec::new(), None, Position::START));
    };
    let size =
        |event: &&Event| event.payload.as_bytes().len() + event.metadata.as_ref().map_or(0, String::len);
    let found = log.select(request);
    let (found, more) = take("events of a read", found, request.limit, request.max_bytes, size, limits)?;
    let items: Vec<Event> = found.into_iter().cloned().collect();
    let next = items.last().filter(|_| more).map(|event| event.position);
    let through = if request.descending { Position::START } else { next.unwrap_or(log.header.head) };
    Ok(Page::new(items, next, through))
}

/// A page of streams.
pub(super) fn streams(state: &State, request: &StreamsRead, limits: &Limits) -> Result<Page<StreamInfo>> {
    let Some(log) = state.logs.get(&request.log) else {
        return Ok(Page::new(Vec::new(), None, Position::START));
    };
    let after = request.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let infos: Box<dyn Iterator<Item = StreamInfo>> = if request.descending {
        let below = log.streams.range::<str, _>((Bound::Unbounded, after));
        Box::new(below.rev().map(|(stream, state)| stream_info(stream, state)))
    } else {
        let above = log.streams.range::<str, _>((after, Bound::Unbounded));
        Box::new(above.map(|(stream, state)| stream_info(stream, state)))
    };
    let (items, more) = take("streams of a read", infos, request.limit, None, |_| 0, limits)?;
    let next = items.last().filter(|_| more).map(|info| info.stream.clone());
    Ok(Page::new(items, next, Position::START))
}

/// The rows of one page, and whether there are more.
fn take<T>(
    field: &'static str,
    rows: impl Iterator<Item = T>,
    limit: Option<usize>,
    max_bytes: Option<usize>,
    size: impl Fn(&T) -> usize,
    limits: &Limits,
) -> Result<(Vec<T>, bool)> {
    let (most_rows, over_is_an_error) = limits.page_rows(limit);
    let mut bytes_left = max_bytes.unwrap_or(usize::MAX);
    let mut taken = Vec::new();
    for row in rows {
        if taken.len() == most_rows && over_is_an_error {
            let limit = most_rows as u64;
            return Err(Error::too_large(field, limit, limit + 1)
                .with_hint("give the read a limit, or go through everything with `each`"));
        }
        if taken.len() == most_rows || (bytes_left == 0 && !taken.is_empty()) {
            return Ok((taken, true));
        }
        bytes_left = bytes_left.saturating_sub(size(&row));
        taken.push(row);
    }
    Ok((taken, false))
}

impl LogState {
    /// The visible events that are asked for, in order.
    fn select<'a>(&'a self, request: &'a EventRead) -> Box<dyn Iterator<Item = &'a Event> + 'a> {
        let window = Window { after: request.after, descending: request.descending };
        match &request.source {
            EventSource::Query(query) => self.events.matching(query, window),
            EventSource::Stream { stream, from, to } => {
                let state = self.streams.get(stream.as_str());
                let range = state.map_or(0..0, |state| state.places(*from, *to, window));
                let positions = state.into_iter().flat_map(move |state| state.positions.range(range.clone()));
                let events = positions
                    .map(|position| self.events.get(*position).expect("a stream names visible events only"));
                if request.descending {
                    Box::new(events.collect::<VecDeque<_>>().into_iter().rev())
                } else {
                    Box::new(events)
                }
            }
        }
    }
}

impl StreamState {
    /// Which of its live events have a `seq_nr` in `from..=to` and a position in the window.
    fn places(&self, from: u64, to: u64, window: Window) -> std::ops::Range<usize> {
        let live = self.positions.len();
        let place = |seq_nr: u64| {
            let place = seq_nr.saturating_sub(self.compacted_through + 1);
            usize::try_from(place).map_or(live, |place| place.min(live))
        };
        let (mut start, mut end) =
            (place(from), if to > self.compacted_through { place(to.saturating_add(1)) } else { 0 });
        match window.after {
            Some(after) if window.descending => end = end.min(self.positions.partition_point(|p| *p < after)),
            Some(after) => start = start.max(self.positions.partition_point(|p| *p <= after)),
            None => {}
        }
        start..end.max(start)
    }
}
