//! Batch ids given by callers, and what the batch answered, for a day.

use rusqlite::Connection;
use uuid::Uuid;

use super::place::to_sql;
use crate::{
    backend::{CommitReply, Outcome},
    error::{Error, ErrorKind, Result},
    event::Position,
    event_log::{Appended, Compacted, Trimmed},
};

/// How long ids are kept, in microseconds.
const KEPT: u64 = 24 * 60 * 60 * 1_000_000;
/// How many expired ids a batch removes.
const REMOVED: i64 = 64;

/// The answer to the batch that had this id, if it is kept.
pub(super) fn find(
    connection: &Connection,
    id: Uuid,
    operations: usize,
    now: u64,
) -> Result<Option<CommitReply>> {
    let sql = "SELECT outcomes FROM batch WHERE id = ?1 AND committed_at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((&id.as_bytes()[..], oldest(now)))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let reply = CommitReply { outcomes: decode(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)? };
    if reply.outcomes.len() != operations {
        return Err(Error::new(ErrorKind::AlreadyExists).with("batch id", id.to_string()));
    }
    Ok(Some(reply))
}

/// Keeps the answer to a batch, and removes some that are past their time.
pub(super) fn store(connection: &Connection, id: Uuid, reply: &CommitReply, now: u64) -> Result<()> {
    let remove = "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE committed_at <= ?1 ORDER BY committed_at LIMIT ?2)";
    connection.prepare_cached(remove)?.execute((oldest(now), REMOVED))?;
    let insert = "INSERT OR REPLACE INTO batch (id, committed_at, outcomes) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(insert)?.execute((&id.as_bytes()[..], to_sql(now), encode(&reply.outcomes)))?;
    Ok(())
}

/// An id committed at or before this time is forgotten.
fn oldest(now: u64) -> i64 {
    to_sql(now) - to_sql(KEPT)
}

const APPENDED: u8 = 1;
const COMPACTED: u8 = 2;
const DONE: u8 = 3;
const TRIMMED: u8 = 4;

/// A byte for the kind of each outcome, its numbers in little-endian, and a CRC-32C at the end.
fn encode(outcomes: &[Outcome]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for outcome in outcomes {
        let (kind, numbers) = match outcome {
            Outcome::Appended(appended) => {
                (APPENDED, vec![appended.first_seq_nr, appended.first_position.get(), appended.count()])
            }
            Outcome::Compacted(compacted) => (COMPACTED, vec![compacted.through]),
            Outcome::Trimmed(trimmed) => (TRIMMED, vec![trimmed.through.get()]),
            Outcome::Done => (DONE, vec![]),
        };
        bytes.push(kind);
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    }
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Vec<Outcome>> {
    let wrong = || Error::corrupted("a batch id whose answer cannot be read");
    let (mut rest, crc) = bytes.split_last_chunk::<4>().ok_or_else(wrong)?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
        return Err(wrong());
    }
    let mut outcomes = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        rest = after;
        let mut number = || -> Result<u64> {
            let (number, after) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            rest = after;
            Ok(u64::from_le_bytes(*number))
        };
        outcomes.push(match *kind {
            APPENDED => {
                let (first_seq_nr, first_position, count) = (number()?, number()?, number()?);
                if count == 0 {
                    Outcome::Appended(Appended::default())
                } else {
                    Outcome::Appended(Appended::new(first_seq_nr, Position::new(first_position), count))
                }
            }
            COMPACTED => Outcome::Compacted(Compacted { through: number()? }),
            TRIMMED => Outcome::Trimmed(Trimmed { through: Position::new(number()?) }),
            DONE => Outcome::Done,
            _ => return Err(wrong()),
        });
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_round_trip() {
        let outcomes = vec![
            Outcome::Appended(Appended::new(3, Position::new(9), 2)),
            Outcome::Appended(Appended::default()),
            Outcome::Compacted(Compacted { through: 7 }),
            Outcome::Trimmed(Trimmed { through: Position::new(8) }),
            Outcome::Done,
        ];
        assert_eq!(decode(&encode(&outcomes)).unwrap(), outcomes);
    }

    #[test]
    fn a_damaged_answer_is_reported() {
        let mut bytes = encode(&[Outcome::Done]);
        bytes[0] ^= 1;
        assert_eq!(decode(&bytes).unwrap_err().kind(), &ErrorKind::Corrupted);
    }
}
