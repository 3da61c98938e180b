//! Events: new ones as they are given to an append, and recorded ones as they are read back.

mod enum_codec;

use std::{fmt, hash::Hasher, str::FromStr, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    backend::EventData,
    error::{BoxError, Error, ErrorKind, Result},
    limits::{Limits, TAGS_PER_EVENT, check_event_type, check_tag},
};

/// A place in a log: from 1, in commit order, strictly rising, gaps allowed.
///
/// ```
/// use larder::Position;
///
/// assert!(Position::START < Position::new(1));
/// assert_eq!("41".parse::<Position>().unwrap(), Position::new(41));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> Self {
        position.get()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Position {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What an event says: JSON text, kept byte for byte, or bytes.
///
/// ```
/// use larder::{NewEvent, Payload, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("files")?;
/// log.append("f", 0, [NewEvent::bytes("Chunk", [0, 159]), NewEvent::json("Size", "1e+21")]).wait()?;
/// let page = log.read("f", ..).wait()?;
/// assert_eq!(page.items[0].payload, Payload::Bytes(vec![0, 159]));
/// assert_eq!(page.items[1].payload.as_json(), Some("1e+21"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One JSON value.
    Json(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Payload {
    /// The payload's bytes, JSON or not.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The JSON text, unless the payload was given as bytes.
    #[must_use]
    pub fn as_json(&self) -> Option<&str> {
        match self {
            Self::Json(json) => Some(json),
            Self::Bytes(_) => None,
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => f.write_str(json),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// An event to append.
///
/// Making one never fails: a payload that does not serialise, a bad tag or a bad type is reported by the
/// append, which then writes nothing.
///
/// ```
/// use larder::{NewEvent, Uuid};
///
/// let event = NewEvent::new("Placed", &serde_json::json!({ "total": 42 }))
///     .tag("customer:c1")
///     .id(Uuid::now_v7()); // makes a retry of the append idempotent
/// ```
#[derive(Debug)]
#[must_use = "an event is written by an append"]
pub struct NewEvent {
    event_type: String,
    payload: Result<Payload, BoxError>,
    metadata: Option<Result<String, BoxError>>,
    tags: Vec<String>,
    id: Option<Uuid>,
}

impl NewEvent {
    fn with_payload(event_type: impl Into<String>, payload: Result<Payload, BoxError>) -> Self {
        Self { event_type: event_type.into(), payload, metadata: None, tags: Vec::new(), id: None }
    }

    /// An event whose payload is this value as JSON.
    pub fn new<T: Serialize + ?Sized>(event_type: impl Into<String>, payload: &T) -> Self {
        Self::with_payload(event_type, serde_json::to_string(payload).map(Payload::Json).map_err(Into::into))
    }

    /// An event from a variant of a serde enum: its type is the variant's name, its payload the variant's
    /// content (`null` for a unit variant).
    ///
    /// `rename` on a variant sets the type; `alias` and `default` let [`Event::decode_enum`] read older ones.
    pub fn from_enum<E: Serialize + ?Sized>(event: &E) -> Self {
        match enum_codec::encode(event) {
            Ok((event_type, json)) => Self::with_payload(event_type, Ok(Payload::Json(json))),
            Err(error) => Self::with_payload(std::any::type_name::<E>(), Err(error.into())),
        }
    }

    /// An event whose payload is this JSON text, kept byte for byte.
    pub fn json(event_type: impl Into<String>, json: impl Into<String>) -> Self {
        Self::with_payload(event_type, Ok(Payload::Json(json.into())))
    }

    /// An event whose payload is not JSON.
    pub fn bytes(event_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::with_payload(event_type, Ok(Payload::Bytes(bytes.into())))
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds tags.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Sets the metadata, a JSON object: who, why, correlation ids.
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> Self {
        self.metadata = Some(serde_json::to_string(metadata).map_err(Into::into));
        self
    }

    /// Sets the metadata from JSON text, kept byte for byte.
    pub fn metadata_json(mut self, json: impl Into<String>) -> Self {
        self.metadata = Some(Ok(json.into()));
        self
    }

    /// Sets the id, which makes a retry of the append idempotent.
    pub fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// Checks everything that can be checked without looking at the log.
    pub(crate) fn into_data(self, limits: &Limits) -> Result<EventData> {
        check_event_type(&self.event_type)?;
        let payload = self.payload.map_err(|error| Error::invalid("payload", error.to_string()))?;
        let size = payload.as_bytes().len();
        if size > limits.payload_bytes {
            return Err(Error::too_large("payload", limits.payload_bytes as u64, size as u64));
        }
        if let Payload::Json(json) = &payload {
            check_json(json).map_err(|reason| {
                Error::invalid("payload", reason)
                    .with_hint("give what is not JSON as bytes (`NewEvent::bytes`)")
            })?;
        }
        let metadata =
            self.metadata.transpose().map_err(|error| Error::invalid("metadata", error.to_string()))?;
        if let Some(json) = &metadata {
            check_metadata(json, limits)?;
        }
        Ok(EventData {
            event_type: self.event_type,
            payload,
            metadata,
            tags: distinct(self.tags)?,
            id: self.id,
        })
    }
}

impl From<&NewEvent> for NewEvent {
    fn from(event: &NewEvent) -> Self {
        event.clone()
    }
}

impl Clone for NewEvent {
    fn clone(&self) -> Self {
        Self {
            event_type: self.event_type.clone(),
            payload: cloned(&self.payload),
            metadata: self.metadata.as_ref().map(cloned),
            tags: self.tags.clone(),
            id: self.id,
        }
    }
}

/// An error cannot be cloned, so it becomes text.
fn cloned<T: Clone>(result: &Result<T, BoxError>) -> Result<T, BoxError> {
    match result {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(error.to_string().into()),
    }
}

fn check_json(json: &str) -> Result<(), String> {
    serde_json::from_str::<&serde_json::value::RawValue>(json)
        .map(drop)
        .map_err(|error| format!("not JSON: {error}"))
}

fn check_metadata(json: &str, limits: &Limits) -> Result<()> {
    if json.len() > limits.payload_bytes {
        return Err(Error::too_large("metadata", limits.payload_bytes as u64, json.len() as u64));
    }
    check_json(json).map_err(|reason| Error::invalid("metadata", reason))?;
    if !json.trim_start().starts_with('{') {
        return Err(Error::invalid("metadata", "not a JSON object"));
    }
    Ok(())
}

/// The tags in the order given, each once.
fn distinct(tags: Vec<String>) -> Result<Vec<String>> {
    tags.iter().try_for_each(|tag| check_tag(tag))?;
    let mut kept: Vec<String> = Vec::with_capacity(tags.len().min(TAGS_PER_EVENT));
    for tag in tags {
        if kept.contains(&tag) {
            continue;
        }
        if kept.len() == TAGS_PER_EVENT {
            return Err(Error::too_large("tags", TAGS_PER_EVENT as u64, TAGS_PER_EVENT as u64 + 1));
        }
        kept.push(tag);
    }
    Ok(kept)
}

/// A recorded event.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// #[derive(serde::Deserialize)]
/// struct Placed<'a> { customer: &'a str }
///
/// let orders = Store::memory().event_log("orders")?;
/// orders.append("order-1", 0, [NewEvent::json("Placed", r#"{"customer":"c1"}"#)]).wait()?;
/// let page = orders.read("order-1", ..).wait()?;
/// let placed: Placed = page.items[0].decode()?; // borrows from the event
/// assert_eq!(placed.customer, "c1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The log's name.
    pub log: Arc<str>,
    /// Its place in the log.
    pub position: Position,
    /// The stream it was appended to, if any.
    pub stream: Option<Arc<str>>,
    /// Its place in the stream, from 1; 0 without a stream.
    pub seq_nr: u64,
    /// Its id: the one given by the caller, else one derived from log and position.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// What it says.
    pub payload: Payload,
    /// A JSON object about it, if one was given.
    pub metadata: Option<String>,
    /// Its tags, in the order given.
    pub tags: Vec<String>,
    /// When it was committed, to the microsecond.
    pub recorded_at: SystemTime,
}

impl Event {
    /// A recorded event, for backends: `data.id` is the caller's id, if there was one.
    #[must_use]
    pub fn recorded(
        log: Arc<str>,
        position: Position,
        stream: Option<(Arc<str>, u64)>,
        recorded_at: SystemTime,
        data: EventData,
    ) -> Self {
        let EventData { event_type, payload, metadata, tags, id } = data;
        let id = id.unwrap_or_else(|| derived_id(&log, position));
        let (stream, seq_nr) = stream.map_or((None, 0), |(stream, seq_nr)| (Some(stream), seq_nr));
        Self { log, position, stream, seq_nr, id, event_type, payload, metadata, tags, recorded_at }
    }

    /// The id, if the caller of the append gave one.
    #[must_use]
    pub fn given_id(&self) -> Option<Uuid> {
        (self.id != derived_id(&self.log, self.position)).then_some(self.id)
    }

    /// Its payload as a `T`, which may borrow from the event.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) if the payload is not JSON or not a `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        let json = self.json()?;
        serde_json::from_str(json).map_err(|error| self.undecodable(error))
    }

    /// The event as a serde enum: the variant is chosen by the event's type.
    ///
    /// # Errors
    /// [`Decode`](ErrorKind::Decode) if no variant has that name, or its content does not fit.
    pub fn decode_enum<E: DeserializeOwned>(&self) -> Result<E> {
        enum_codec::decode(&self.event_type, self.json()?).map_err(|error| self.undecodable(error))
    }

    fn json(&self) -> Result<&str> {
        self.payload.as_json().ok_or_else(|| self.undecodable("the payload was given as bytes, not as JSON"))
    }

    fn undecodable(&self, source: impl Into<BoxError>) -> Error {
        Error::new(ErrorKind::Decode)
            .during("decode event")
            .with("position", self.position.to_string())
            .with("event type", self.event_type.clone())
            .caused_by(source)
    }
}

/// The id of an event without an id given by the caller: a version 8 UUID (RFC 9562) of the log's name and
/// the position, the same in every copy of the log.
fn derived_id(log: &str, position: Position) -> Uuid {
    let mut hasher = siphasher::sip::SipHasher13::new_with_keys(0x6c61_7264_6572, 1);
    hasher.write(log.as_bytes());
    let hash = hasher.finish();
    let high = u128::from(hash) << 64;
    Uuid::new_v8((high | u128::from(position.get())).to_be_bytes())
}
