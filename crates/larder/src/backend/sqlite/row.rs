//! An event as a row: its columns, its checksum, and back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rusqlite::{Row, types::ValueRef};
use uuid::Uuid;

use super::{
    checksum::{Crc, length},
    place::{from_sql, position_of},
    postings::Indexed,
};
use crate::{
    backend::EventData,
    error::{Error, Result},
    event::{Event, Payload, Position},
};

/// The columns that [`StoredEvent::read`] expects, in its order.
macro_rules! event_columns {
    () => {
        "place, stream, seq_nr, recorded_at, checksum, event_type, tags, id, metadata, payload"
    };
}
pub(super) use event_columns;

/// The event or trace at a place.
pub(super) const EVENT: &str = concat!("SELECT ", event_columns!(), " FROM event WHERE place = ?1");

/// What separates tags in their column; tags contain no control characters.
const TAG_SEPARATOR: char = '\n';

/// The tags as their column holds them.
pub(super) fn join_tags(tags: &[String]) -> Option<String> {
    match tags {
        [] => None,
        [tag] => Some(tag.clone()),
        tags => Some(tags.join("\n")),
    }
}

/// The tags of a column.
pub(super) fn split_tags(column: Option<&str>) -> Vec<String> {
    column.map_or_else(Vec::new, |tags| tags.split(TAG_SEPARATOR).map(str::to_owned).collect())
}

/// The columns of an event whose checksum is computed: borrowed, so that nothing is copied for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    pub place: i64,
    pub seq_nr: i64,
    pub recorded_at: i64,
    pub event_type: &'a str,
    pub tags: Option<&'a str>,
    pub id: Option<&'a [u8]>,
    pub metadata: Option<&'a str>,
    /// `None`: the trace of a hidden event.
    pub payload: Option<Body<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Json(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> From<&'a Payload> for Body<'a> {
    fn from(payload: &'a Payload) -> Self {
        match payload {
            Payload::Json(json) => Self::Json(json),
            Payload::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// CRC-32C over what an event says and where it belongs. Each field carries its length, so that no two
/// different events have the same bytes.
pub(super) fn checksum(log: &str, stream: Option<&str>, columns: &Columns<'_>) -> i64 {
    let Columns { place, seq_nr, recorded_at, event_type, tags, id, metadata, payload } = *columns;
    let (kind, body) = match payload {
        None => (0_u8, &[][..]),
        Some(Body::Json(json)) => (1, json.as_bytes()),
        Some(Body::Bytes(bytes)) => (2, bytes),
    };
    let optional = |text: Option<&str>| text.map_or(u32::MAX, |text| length(text.as_bytes()));
    let mut head = [0; 53];
    let (numbers, lengths) = head.split_at_mut(24);
    numbers[..8].copy_from_slice(&place.to_le_bytes());
    numbers[8..16].copy_from_slice(&seq_nr.to_le_bytes());
    numbers[16..].copy_from_slice(&recorded_at.to_le_bytes());
    let sizes = [
        length(log.as_bytes()),
        optional(stream),
        length(event_type.as_bytes()),
        optional(tags),
        id.map_or(u32::MAX, length),
        optional(metadata),
        length(body),
    ];
    for (slot, size) in lengths.chunks_exact_mut(4).zip(sizes) {
        slot.copy_from_slice(&size.to_le_bytes());
    }
    head[52] = kind;
    let mut crc = Crc::default();
    crc.add(&head);
    for text in [log, stream.unwrap_or_default(), event_type, tags.unwrap_or_default()] {
        crc.add(text.as_bytes());
    }
    for bytes in [id.unwrap_or_default(), metadata.unwrap_or_default().as_bytes(), body] {
        crc.add(bytes);
    }
    crc.finish()
}

/// An event's row as it was read, its checksum not yet compared.
#[derive(Debug)]
pub(super) struct StoredEvent<'a> {
    pub stream: Option<i64>,
    pub columns: Columns<'a>,
    stored_checksum: i64,
}

impl<'a> StoredEvent<'a> {
    /// Reads the columns of [`event_columns`].
    pub(super) fn read(row: &'a Row<'_>) -> Result<Self> {
        let payload = match row.get_ref(9)? {
            ValueRef::Null => None,
            ValueRef::Text(json) => Some(Body::Json(utf8(json)?)),
            ValueRef::Blob(bytes) => Some(Body::Bytes(bytes)),
            _ => return Err(Error::corrupted("a payload that is a number")),
        };
        let seq_nr: Option<i64> = row.get(2)?;
        let columns = Columns {
            place: row.get(0)?,
            seq_nr: seq_nr.unwrap_or(0),
            recorded_at: row.get(3)?,
            event_type: text(row, 5)?.ok_or_else(|| Error::corrupted("an event without a type"))?,
            tags: text(row, 6)?,
            id: blob(row, 7)?,
            metadata: text(row, 8)?,
            payload,
        };
        Ok(Self { stream: row.get(1)?, columns, stored_checksum: row.get(4)? })
    }

    pub(super) fn position(&self) -> Position {
        Position::new(position_of(self.columns.place))
    }

    pub(super) fn is_trace(&self) -> bool {
        self.columns.payload.is_none()
    }

    /// How much its payload and metadata take, in bytes.
    pub(super) fn size(&self) -> usize {
        let body = match self.columns.payload {
            None => 0,
            Some(Body::Json(json)) => json.len(),
            Some(Body::Bytes(bytes)) => bytes.len(),
        };
        body + self.columns.metadata.map_or(0, str::len)
    }

    /// What it is indexed by, with its tags split.
    pub(super) fn indexed<'b>(
        &self,
        log: i64,
        tags: &'b [String],
    ) -> Result<Indexed<'b, impl IntoIterator<Item = &'b str, IntoIter: 'b> + use<'b>>>
    where
        'a: 'b,
    {
        let seq_nr = from_sql(self.columns.seq_nr)?;
        Ok(Indexed {
            log,
            position: position_of(self.columns.place),
            stream: self.stream.map(|stream| (stream, seq_nr)),
            event_type: self.columns.event_type,
            tags: tags.iter().map(String::as_str),
        })
    }

    /// Compares the checksum.
    pub(super) fn check(&self, log: &str, stream: Option<&str>) -> Result<()> {
        if checksum(log, stream, &self.columns) == self.stored_checksum {
            return Ok(());
        }
        Err(Error::corrupted("a checksum that does not match")
            .with("log", log)
            .with("position", self.position().to_string())
            .with_hint("run `larder verify` to find everything that is damaged"))
    }

    /// The event, once its checksum was compared.
    pub(super) fn into_event(self, log: &Arc<str>, stream: Option<Arc<str>>) -> Result<Event> {
        self.check(log, stream.as_deref())?;
        let payload = match self.columns.payload {
            None => return Err(Error::corrupted("a trace where an event was expected")),
            Some(Body::Json(json)) => Payload::Json(json.to_owned()),
            Some(Body::Bytes(bytes)) => Payload::Bytes(bytes.to_owned()),
        };
        let id = self.columns.id.map(Uuid::from_slice).transpose();
        let data = EventData {
            event_type: self.columns.event_type.to_owned(),
            payload,
            metadata: self.columns.metadata.map(str::to_owned),
            tags: split_tags(self.columns.tags),
            id: id.map_err(|_| Error::corrupted("an id that is not a UUID"))?,
        };
        let seq_nr = self.columns.seq_nr.cast_unsigned();
        let micros = Duration::from_micros(self.columns.recorded_at.cast_unsigned());
        let recorded_at = SystemTime::UNIX_EPOCH + micros;
        Ok(Event::recorded(
            log.clone(),
            self.position(),
            stream.map(|stream| (stream, seq_nr)),
            recorded_at,
            data,
        ))
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::corrupted("text that is not UTF-8"))
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a str>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => utf8(bytes).map(Some),
        _ => Err(Error::corrupted("a column that is not text")),
    }
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a [u8]>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => Ok(Some(bytes)),
        _ => Err(Error::corrupted("a column that is not a blob")),
    }
}
