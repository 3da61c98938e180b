//! The lines of an export: see `docs/formats/export.md`.

use std::{
    borrow::Cow,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    backend::{AppendId, HistoryRow, ItemData, SaveMode, SnapshotData, StoredSnapshot},
    clock::micros_since_epoch,
    error::{Error, Result},
    event::{Event, NewEvent, Payload, Position},
    event_log::Appended,
    limits::{Limits, check_event_type, check_key, check_tag},
    query::AppendCondition,
    query_db::{Item, QueryDbSpec, Ttl, check_item_size},
    snapshot::Subject,
};

/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 1;

/// What a line within a log holds.
#[derive(Debug)]
pub(super) enum Row {
    History(HistoryRow),
    Snapshot(StoredSnapshot),
    /// A QueryDb starts.
    QueryDb(Arc<str>, QueryDbSpec),
    /// An item of it.
    Item(Arc<str>, ItemData),
    /// It ends.
    QueryDbEnd(Arc<str>),
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    /// The first line.
    LarderExport { version: u32, written_by: Cow<'a, str> },
    /// Starts a log.
    Log { name: Cow<'a, str> },
    /// A snapshot of a stream or of a named query.
    Snapshot {
        kind: Cow<'a, str>,
        subject: Cow<'a, str>,
        at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<Cow<'a, str>>,
        recorded_at_us: u64,
        container_hex: Cow<'a, str>,
    },
    /// A stream's mark.
    Stream { stream: Cow<'a, str>, compacted_through: u64, compacted_position: u64 },
    /// A visible event.
    Event(#[serde(borrow)] Box<EventLine<'a>>),
    /// What conditions still see of a hidden event.
    Trace {
        position: u64,
        #[serde(rename = "type")]
        event_type: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
    },
    /// An id given by a caller.
    Id {
        id: Uuid,
        first_seq_nr: u64,
        last_seq_nr: u64,
        first_position: u64,
        last_position: u64,
        digest: Cow<'a, str>,
    },
    /// An audited condition.
    Condition { position: u64, condition: AppendCondition },
    /// Ends a log.
    LogEnd { head: u64, trimmed_through: u64, compacted_through: u64, audits_conditions: bool },
    /// Starts a QueryDb.
    QueryDb { name: Cow<'a, str>, spec: QueryDbSpec },
    /// An item, of whose forms one is there.
    Item {
        partition: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
        item: Option<&'a RawValue>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item_text: Option<Cow<'a, str>>,
    },
    /// Ends a QueryDb.
    QueryDbEnd { items: u64 },
    /// The last line.
    End { rows: u64, crc32c: Cow<'a, str> },
}

/// A line with an event. Of the payload's and of the metadata's forms one is there at most.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none", borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<Cow<'a, str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A payload of `null` is a payload.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Text that can stand in a line as it is: JSON on one line, with nothing around it.
fn embedded(json: &str) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_str(json).ok()?;
    (raw.get().len() == json.len() && !json.contains(['\n', '\r'])).then_some(raw)
}

impl<'a> EventLine<'a> {
    fn new(event: &'a Event) -> Self {
        let metadata = event.metadata.as_deref().and_then(embedded);
        let metadata_text = event.metadata.as_deref().filter(|_| metadata.is_none());
        let json = event.payload.as_json();
        let payload = json.and_then(embedded);
        let payload_hex = match &event.payload {
            Payload::Bytes(bytes) => Some(hex(bytes).into()),
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
    fn into_event(self, log: &Arc<str>, limits: &Limits) -> Result<Event> {
        let mut event = match (self.payload, self.payload_text, self.payload_hex) {
            (Some(json), None, None) => NewEvent::json(self.event_type, json.get()),
            (None, Some(text), None) => NewEvent::json(self.event_type, text),
            (None, None, Some(hex)) => NewEvent::bytes(self.event_type, bytes_of(&hex)?),
            _ => return Err(Error::invalid("export", "an event without exactly one payload")),
        };
        event = event.tags(self.tags);
        match (self.metadata, self.metadata_text) {
            (Some(json), None) => event = event.metadata_json(json.get()),
            (None, Some(text)) => event = event.metadata_json(text),
            (None, None) => {}
            (Some(_), Some(_)) => return Err(Error::invalid("export", "an event with two metadata")),
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
            _ => return Err(Error::invalid("export", "`stream` and `seq_nr` belong together")),
        };
        let recorded_at = time(self.recorded_at_us)?;
        let position = checked_position(self.position)?;
        Ok(Event::recorded(log.clone(), position, stream, recorded_at, event.into_data(limits)?))
    }
}

impl<'a> Line<'a> {
    /// The line of a row.
    pub(super) fn of_row(row: &'a HistoryRow) -> Self {
        match row {
            HistoryRow::Stream { stream, compacted_through, compacted_position } => Self::Stream {
                stream: stream.into(),
                compacted_through: *compacted_through,
                compacted_position: compacted_position.get(),
            },
            HistoryRow::Event(event) => Self::Event(Box::new(EventLine::new(event))),
            HistoryRow::Trace { position, event_type, tags } => {
                Self::Trace { position: position.get(), event_type: event_type.into(), tags: tags.clone() }
            }
            HistoryRow::AppendId(AppendId { id, appended, digest }) => Self::Id {
                id: *id,
                first_seq_nr: appended.first_seq_nr,
                last_seq_nr: appended.last_seq_nr,
                first_position: appended.first_position.get(),
                last_position: appended.last_position.get(),
                digest: hex(digest).into(),
            },
            HistoryRow::Condition { position, condition } => {
                Self::Condition { position: position.get(), condition: condition.clone() }
            }
            HistoryRow::Log { head, trimmed_through, compacted_through, audits_conditions } => Self::LogEnd {
                head: head.get(),
                trimmed_through: trimmed_through.get(),
                compacted_through: compacted_through.get(),
                audits_conditions: *audits_conditions,
            },
        }
    }

    /// The line of a snapshot.
    pub(super) fn of_snapshot(snapshot: &'a StoredSnapshot) -> Self {
        let StoredSnapshot { data, recorded_at } = snapshot;
        Self::Snapshot {
            kind: data.subject.kind().into(),
            subject: data.subject.name().into(),
            at: data.at,
            schema: data.schema.as_deref().map(Cow::from),
            recorded_at_us: micros_since_epoch(*recorded_at),
            container_hex: hex(&data.container).into(),
        }
    }

    /// The line of an item.
    pub(super) fn of_item(item: &'a Item) -> Self {
        let embedded = embedded(&item.json);
        Self::Item {
            partition: (&item.key.partition).into(),
            expires_at: item.expires_at,
            item: embedded,
            item_text: embedded.is_none().then(|| (&item.json).into()),
        }
    }

    /// The item of a line, its name and size checked; `None` for another line.
    pub(super) fn into_item(self, limits: &Limits) -> Result<Option<ItemData>> {
        let Self::Item { partition, expires_at, item, item_text } = self else { return Ok(None) };
        let json = match (item, item_text) {
            (Some(json), None) => json.get().to_owned(),
            (None, Some(text)) => text.into_owned(),
            _ => return Err(Error::invalid("export", "an item without exactly one form")),
        };
        check_key("partition key", &partition)?;
        check_item_size(&json, limits)?;
        let ttl = expires_at.map(|at| Ttl::At(SystemTime::UNIX_EPOCH + Duration::from_secs(at)));
        Ok(Some(ItemData { partition: partition.into_owned(), json, ttl, mode: SaveMode::Overwrite }))
    }

    /// The row of a line, checked; `None` for a line that is no row of a log.
    pub(super) fn into_row(self, log: &Arc<str>, limits: &Limits) -> Result<Option<Row>> {
        Ok(Some(Row::History(match self {
            Self::Snapshot { kind, subject, at, schema, recorded_at_us, container_hex } => {
                let subject = Subject::of_kind(&kind, subject.into_owned());
                let data = SnapshotData {
                    log: log.clone(),
                    subject: subject.ok_or_else(|| Error::invalid("export", "an unknown kind of subject"))?,
                    at,
                    schema: schema.map(Cow::into_owned),
                    container: bytes_of(&container_hex)?,
                };
                data.check()?;
                return Ok(Some(Row::Snapshot(StoredSnapshot { data, recorded_at: time(recorded_at_us)? })));
            }
            Self::Stream { stream, compacted_through, compacted_position } => {
                check_key("stream", &stream)?;
                HistoryRow::Stream {
                    stream: stream.into_owned(),
                    compacted_through,
                    compacted_position: Position::new(compacted_position),
                }
            }
            Self::Event(event) => HistoryRow::Event(event.into_event(log, limits)?),
            Self::Trace { position, event_type, tags } => {
                check_event_type(&event_type)?;
                tags.iter().try_for_each(|tag| check_tag(tag))?;
                let position = checked_position(position)?;
                HistoryRow::Trace { position, event_type: event_type.into_owned(), tags }
            }
            Self::Id { id, first_seq_nr, last_seq_nr, first_position, last_position, digest } => {
                let appended = Appended {
                    first_seq_nr,
                    last_seq_nr,
                    first_position: Position::new(first_position),
                    last_position: Position::new(last_position),
                };
                let digest = bytes_of(&digest)?.try_into();
                let digest = digest.map_err(|_| Error::invalid("export", "`digest` is not 16 bytes"))?;
                HistoryRow::AppendId(AppendId { id, appended, digest })
            }
            Self::Condition { position, condition } => {
                condition.fail_if_events_match.check()?;
                HistoryRow::Condition { position: checked_position(position)?, condition }
            }
            Self::LogEnd { head, trimmed_through, compacted_through, audits_conditions } => HistoryRow::Log {
                head: Position::new(head),
                trimmed_through: Position::new(trimmed_through),
                compacted_through: Position::new(compacted_through),
                audits_conditions,
            },
            Self::LarderExport { .. }
            | Self::Log { .. }
            | Self::QueryDb { .. }
            | Self::Item { .. }
            | Self::QueryDbEnd { .. }
            | Self::End { .. } => return Ok(None),
        })))
    }
}

fn time(micros: u64) -> Result<SystemTime> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_micros(micros))
        .ok_or_else(|| Error::invalid("export", "`recorded_at_us` is out of range"))
}

fn checked_position(number: u64) -> Result<Position> {
    if number == 0 { Err(Error::invalid("export", "position 0")) } else { Ok(Position::new(number)) }
}

/// The position of a row that has one of its own.
pub(super) fn position_of(row: &HistoryRow) -> Option<Position> {
    match row {
        HistoryRow::Event(event) => Some(event.position),
        HistoryRow::Trace { position, .. } => Some(*position),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of(hex: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    pairs.map(byte).collect::<Option<_>>().ok_or_else(|| Error::invalid("export", "not hexadecimal"))
}
