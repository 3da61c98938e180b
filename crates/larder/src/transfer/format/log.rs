//! The lines of a log.

use std::{borrow::Cow, sync::Arc};

use super::{EventLine, Hex, Line, Row, bad, checked_position, time};
use crate::{
    backend::{AppendId, HistoryRow, SnapshotData, StoredSnapshot},
    clock::micros_since_epoch,
    error::Result,
    event::Position,
    event_log::Appended,
    limits::{Limits, check_event_type, check_key, check_tag},
    snapshot::Subject,
};

impl<'a> Line<'a> {
    /// The line of a row.
    pub(in crate::transfer) fn of_row(row: &'a HistoryRow) -> Self {
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
                digest: Hex::of(digest),
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
    pub(in crate::transfer) fn of_snapshot(snapshot: &'a StoredSnapshot) -> Self {
        let StoredSnapshot { data, recorded_at } = snapshot;
        Self::Snapshot {
            kind: data.subject.kind().into(),
            subject: data.subject.name().into(),
            at: data.at,
            schema: data.schema.as_deref().map(Cow::from),
            recorded_at_us: micros_since_epoch(*recorded_at),
            container_hex: Hex::of(&data.container),
        }
    }

    /// The row of a line of a log, checked; `None` for another line.
    pub(in crate::transfer) fn into_log_row(self, log: &Arc<str>, limits: &Limits) -> Result<Option<Row>> {
        Ok(Some(Row::History(match self {
            Self::Snapshot { kind, subject, at, schema, recorded_at_us, container_hex } => {
                let subject = Subject::of_kind(&kind, subject.into_owned());
                let data = SnapshotData {
                    log: log.clone(),
                    subject: subject.ok_or_else(|| bad("an unknown kind of subject"))?,
                    at,
                    schema: schema.map(Cow::into_owned),
                    container: container_hex.into_bytes(),
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
                let digest = digest.into_bytes().try_into();
                let digest = digest.map_err(|_| bad("`digest` is not 16 bytes"))?;
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
            _ => return Ok(None),
        })))
    }
}

/// The position of a row that has one of its own.
pub(in crate::transfer) fn position_of(row: &HistoryRow) -> Option<Position> {
    match row {
        HistoryRow::Event(event) => Some(event.position),
        HistoryRow::Trace { position, .. } => Some(*position),
        _ => None,
    }
}
