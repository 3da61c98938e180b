//! A line with an event.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Hex, bad, checked_position, embedded, some, time};
use crate::{
    clock::micros_since_epoch,
    error::Result,
    event::{Event, NewEvent, Payload},
    limits::{Limits, check_key},
};

/// An event. Of the payload's and of the metadata's forms one is there at most.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::transfer) struct EventLine<'a> {
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq_nr: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    recorded_at_us: u64,
    #[serde(skip_serializing_if = "Option::is_none", borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", borrow, default, deserialize_with = "some")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<Hex<'a>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> EventLine<'a> {
    pub(super) fn new(event: &'a Event) -> Self {
        let metadata = event.metadata.as_deref().and_then(embedded);
        let metadata_text = event.metadata.as_deref().filter(|_| metadata.is_none());
        let json = event.payload.as_json();
        let payload = json.and_then(embedded);
        let payload_hex = match &event.payload {
            Payload::Bytes(bytes) => Some(Hex::of(bytes)),
            Payload::Json(_) => None,
        };
        Self {
            position: event.position.get(),
            stream: event.stream.as_deref().map(Cow::from),
            seq_nr: event.seq_nr,
            id: event.given_id(),
            event_type: Cow::from(&event.event_type),
            tags: event.tags.clone(),
            recorded_at_us: micros_since_epoch(event.recorded_at),
            metadata,
            metadata_text: metadata_text.map(Cow::from),
            payload,
            payload_text: json.filter(|_| payload.is_none()).map(Cow::from),
            payload_hex,
        }
    }

    /// The event, checked as an append checks it.
    pub(super) fn into_event(self, log: &Arc<str>, limits: &Limits) -> Result<Event> {
        let mut event = match (self.payload, self.payload_text, self.payload_hex) {
            (Some(json), None, None) => NewEvent::json(self.event_type, json.get()),
            (None, Some(text), None) => NewEvent::json(self.event_type, text),
            (None, None, Some(hex)) => NewEvent::bytes(self.event_type, hex.into_bytes()),
            _ => return Err(bad("an event without exactly one payload")),
        };
        event = event.tags(self.tags);
        match (self.metadata, self.metadata_text) {
            (Some(json), None) => event = event.metadata_json(json.get()),
            (None, Some(text)) => event = event.metadata_json(text),
            (None, None) => {}
            (Some(_), Some(_)) => return Err(bad("an event with two metadata")),
        }
        if let Some(id) = self.id {
            event = event.id(id);
        }
        let stream = match self.stream {
            Some(stream) if self.seq_nr > 0 => {
                check_key("stream", &stream)?;
                Some((Arc::from(stream), self.seq_nr))
            }
            None if self.seq_nr == 0 => None,
            _ => return Err(bad("`stream` and `seq_nr` belong together")),
        };
        let recorded_at = time(self.recorded_at_us)?;
        let position = checked_position(self.position)?;
        Ok(Event::recorded(log.clone(), position, stream, recorded_at, event.into_data(limits)?))
    }
}
