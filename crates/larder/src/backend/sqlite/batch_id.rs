//! Batch ids given by callers, and what the batch answered, for a day.

use rusqlite::Connection;
use uuid::Uuid;

use super::place::to_sql;
use crate::{
    backend::{CommitReply, Outcome, batch_id_reused},
    error::{Error, Result},
};

/// How long ids are kept, in microseconds.
const KEPT: u64 = 24 * 60 * 60 * 1_000_000;
/// How many expired ids a batch removes.
const REMOVED: i64 = 64;

/// The answer to the batch that had this id, if it is kept.
pub(super) fn find(
    connection: &Connection,
    id: Uuid,
    digest: &[u8; 16],
    now: u64,
) -> Result<Option<CommitReply>> {
    let sql = "SELECT outcomes FROM batch WHERE id = ?1 AND committed_at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((&id.as_bytes()[..], oldest(now)))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (first, outcomes) = decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
    if first != *digest {
        return Err(batch_id_reused(id));
    }
    Ok(Some(CommitReply { outcomes }))
}

/// Keeps the answer to a batch, and removes some that are past their time.
pub(super) fn store(
    connection: &Connection,
    id: Uuid,
    digest: &[u8; 16],
    reply: &CommitReply,
    now: u64,
) -> Result<()> {
    let remove = "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE committed_at <= ?1 ORDER BY committed_at LIMIT ?2)";
    connection.prepare_cached(remove)?.execute((oldest(now), REMOVED))?;
    let insert = "INSERT OR REPLACE INTO batch (id, committed_at, outcomes) VALUES (?1, ?2, ?3)";
    let answer = encode(digest, &reply.outcomes);
    connection.prepare_cached(insert)?.execute((&id.as_bytes()[..], to_sql(now), answer))?;
    Ok(())
}

/// An id committed at or before this time is forgotten.
fn oldest(now: u64) -> i64 {
    to_sql(now) - to_sql(KEPT)
}

/// The batch's digest, the outcomes as JSON, and a CRC-32C of both.
fn encode(digest: &[u8; 16], outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = digest.to_vec();
    serde_json::to_writer(&mut bytes, outcomes).expect("outcomes have string keys and finite numbers");
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<([u8; 16], Vec<Outcome>)> {
    let wrong = || Error::corrupted("a batch id whose answer cannot be read");
    let (said, crc) = bytes.split_last_chunk::<4>().ok_or_else(wrong)?;
    if crc32c::crc32c(said) != u32::from_le_bytes(*crc) {
        return Err(wrong());
    }
    let (digest, json) = said.split_first_chunk::<16>().ok_or_else(wrong)?;
    Ok((*digest, serde_json::from_slice(json).map_err(|error| wrong().caused_by(error))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind, Position,
        backend::{QueryDbOutcome, SnapshotOutcome},
        event_log::{Appended, Compacted, Trimmed},
        query_db::{ItemKey, Saved},
        snapshot::SnapshotSaved,
    };

    #[test]
    fn outcomes_round_trip() {
        let outcomes = vec![
            Outcome::Appended(Appended::new(3, Position::new(9), 2)),
            Outcome::Appended(Appended::default()),
            Outcome::Compacted(Compacted::new(7)),
            Outcome::Trimmed(Trimmed::new(Position::new(8))),
            Outcome::QueryDb(QueryDbOutcome::AllSaved(vec![Saved::new(ItemKey::new("p", 1.5), 7, true)])),
            Outcome::QueryDb(QueryDbOutcome::Incremented(i64::MAX.into())),
            Outcome::Snapshot(SnapshotOutcome::Saved(SnapshotSaved::new(2))),
            Outcome::Snapshot(SnapshotOutcome::Deleted(3)),
            Outcome::Snapshot(SnapshotOutcome::Replaced(true)),
            Outcome::Done,
        ];
        assert_eq!(decode(&encode(&[7; 16], &outcomes)).unwrap(), ([7; 16], outcomes));
    }

    #[test]
    fn a_damaged_answer_is_reported() {
        let whole = encode(&[7; 16], &[Outcome::Done]);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes).unwrap_err().kind(), &ErrorKind::Corrupted, "{at}");
            assert!(decode(&whole[..at]).is_err(), "{at}");
        }
    }
}
