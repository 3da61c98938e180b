//! Appends and their guards.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{event_log::LogState, state::Transaction};
use crate::{
    backend::{AppendId, AppendOperation, EventData, Outcome, append_digest},
    error::{Error, ErrorKind, Result},
    event::{Event, Position},
    event_log::{Appended, Expected},
    limits::check_number,
    query::AppendCondition,
};

/// How many of the events in the way a failed condition names.
const NAMED_EVENTS: usize = 10;

impl Transaction<'_> {
    pub(super) fn append(&mut self, append: AppendOperation) -> Result<Appended> {
        let AppendOperation { log, stream, expected, condition, events } = append;
        if events.is_empty() {
            return Ok(Appended::default());
        }
        let recorded_at = SystemTime::UNIX_EPOCH + Duration::from_micros(self.now);
        let log = self.log_or_new(&log);
        let digest = given_ids(&events).next().map(|_| append_digest(stream.as_deref(), &events));
        if let Some(digest) = digest
            && let Some(first) = log.first_answer(&events, digest)?
        {
            return Ok(first);
        }
        if let (Some(stream), Expected::Exact(head)) = (&stream, expected) {
            log.check_head(stream, head)?;
        }
        if let Some(condition) = &condition {
            log.check_condition(condition)?;
        }
        let appended = log.insert_events(stream, events, recorded_at, digest)?;
        if let Some(condition) = condition
            && log.header.audits_conditions
        {
            log.insert_condition(appended.first_position, condition);
        }
        Ok(appended)
    }

    pub(super) fn require_head(&mut self, log: &Arc<str>, stream: &str, head: u64) -> Result<Outcome> {
        match self.known_log(log) {
            Some(log) => log.check_head(stream, head)?,
            None => check_head(head, 0)?,
        }
        Ok(Outcome::Done)
    }

    pub(super) fn require_none_match(
        &mut self,
        log: &Arc<str>,
        condition: &AppendCondition,
    ) -> Result<Outcome> {
        self.known_log(log).map_or(Ok(()), |log| log.check_condition(condition))?;
        Ok(Outcome::Done)
    }
}

impl LogState {
    /// What the same append answered when it was made before. An id that was used for anything else is refused.
    fn first_answer(&self, events: &[EventData], digest: [u8; 16]) -> Result<Option<Appended>> {
        let known = given_ids(events).find_map(|id| self.ids.get(&id));
        if let Some(known) = known {
            return if known.digest == digest { Ok(Some(known.appended)) } else { Err(reused(known.id)) };
        }
        let mut seen = HashSet::new();
        given_ids(events).find(|id| !seen.insert(*id)).map_or(Ok(None), |twice| Err(reused(twice)))
    }

    fn check_head(&self, stream: &str, expected: u64) -> Result<()> {
        check_head(expected, self.stream_head(stream)).map_err(|error| error.with("stream", stream))
    }

    fn check_condition(&self, condition: &AppendCondition) -> Result<()> {
        let matching = self.in_the_way(condition, NAMED_EVENTS);
        if matching.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::ConditionFailed { matching })) }
    }

    fn insert_events(
        &mut self,
        stream: Option<String>,
        events: Vec<EventData>,
        recorded_at: SystemTime,
        digest: Option<[u8; 16]>,
    ) -> Result<Appended> {
        let count = events.len() as u64;
        let first_position = Position::new(self.header.head.get() + 1);
        let first_seq_nr = stream.as_ref().map_or(0, |stream| self.stream_head(stream) + 1);
        let appended = Appended::new(first_seq_nr, first_position, count);
        check_number("positions of a log", appended.last_position.get())?;

        let stream: Option<Arc<str>> = stream.map(Into::into);
        for (data, place) in events.into_iter().zip(0..) {
            if let (Some(id), Some(digest)) = (data.id, digest) {
                self.insert_id(AppendId { id, appended, digest });
            }
            let stream = stream.clone().map(|stream| (stream, first_seq_nr + place));
            let position = Position::new(first_position.get() + place);
            self.insert(Event::recorded(self.name.clone(), position, stream, recorded_at, data));
        }
        Ok(appended)
    }
}

fn given_ids(events: &[EventData]) -> impl Iterator<Item = Uuid> {
    events.iter().filter_map(|event| event.id)
}

fn check_head(expected: u64, actual: u64) -> Result<()> {
    if expected == actual { Ok(()) } else { Err(Error::new(ErrorKind::Conflict { expected, actual })) }
}

fn reused(id: Uuid) -> Error {
    Error::new(ErrorKind::AlreadyExists)
        .with("event id", id.to_string())
        .with_hint("the id was given to another append; a retry must repeat the whole append")
}
