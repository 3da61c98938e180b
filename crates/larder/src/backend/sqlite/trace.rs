//! Traces: what conditions still see of a hidden event, its type, tags and position.

use rusqlite::Connection;

use super::{
    log_row,
    place::{position_of, to_sql},
    postings::{Key, Terms, stream_term},
    row::{Columns, EVENT, StoredEvent, checksum, split_tags},
};
use crate::{
    error::{Error, MatchingEvent, Result},
    event::Position,
};

/// The event or trace at a place, as a failed condition names it; `None` if it was forgotten.
pub(super) fn matching_event(
    connection: &Connection,
    log: &str,
    place: i64,
) -> Result<Option<MatchingEvent>> {
    let mut statement = connection.prepare_cached(EVENT)?;
    let mut rows = statement.query([place])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let stored = StoredEvent::read(row)?;
    stored.check(log, name_of(connection, stored.stream)?.as_deref())?;
    Ok(Some(MatchingEvent {
        position: Position::new(position_of(place)),
        event_type: stored.columns.event_type.to_owned(),
        tags: split_tags(stored.columns.tags),
    }))
}

/// The name of an event's stream.
pub(super) fn name_of(connection: &Connection, stream: Option<i64>) -> Result<Option<String>> {
    let Some(stream) = stream else { return Ok(None) };
    let known = log_row::stream_name(connection, stream)?;
    known.map(|(name, _)| Some(name)).ok_or_else(|| Error::corrupted("an event of an unknown stream"))
}

/// Replaces an event by its trace.
pub(super) fn leave(connection: &Connection, log: &str, event: &StoredEvent<'_>) -> Result<()> {
    let intact = event.check(log, name_of(connection, event.stream)?.as_deref()).is_ok();
    let columns = Columns { seq_nr: 0, id: None, metadata: None, payload: None, ..event.columns };
    // An event that was damaged leaves a trace that `verify` still reports.
    let checksum = checksum(log, None, &columns) ^ i64::from(!intact);
    let sql = "UPDATE event SET stream = NULL, seq_nr = NULL, id = NULL, metadata = NULL, payload = NULL,
               checksum = ?2 WHERE place = ?1";
    connection.prepare_cached(sql)?.execute((columns.place, checksum))?;
    Ok(())
}

/// Removes the posting of an event that left its stream, and names it.
pub(super) fn leave_stream(connection: &Connection, stream: i64, seq_nr: u64) -> Result<Key> {
    let key = (stream_term(stream), seq_nr);
    remove_postings(connection, &[key])?;
    Ok(key)
}

/// Removes an event or trace and what the table holds of its postings, and names those.
pub(super) fn remove(
    connection: &Connection,
    terms: &Terms,
    log: i64,
    event: &StoredEvent<'_>,
) -> Result<Vec<Key>> {
    connection.prepare_cached("DELETE FROM event WHERE place = ?1")?.execute([event.columns.place])?;
    let tags = split_tags(event.columns.tags);
    let keys: Vec<Key> = terms.postings(event.indexed(log, &tags)?).map(|(key, _)| key).collect();
    remove_postings(connection, &keys)?;
    Ok(keys)
}

fn remove_postings(connection: &Connection, keys: &[Key]) -> Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM posting WHERE term = ?1 AND key = ?2")?;
    for (term, key) in keys {
        delete.execute((term, to_sql(*key)))?;
    }
    Ok(())
}
