//! Event ids given by callers, and what the append that carried them answered.

use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::place::{from_sql, position, to_sql};
use crate::{
    backend::AppendId,
    error::{Error, Result},
    event_log::Appended,
};

const INSERT: &str = "INSERT INTO append_id (log, id, first_position, first_seq_nr, count, digest, checksum)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub(super) fn insert(
    connection: &Connection,
    log: i64,
    ids: impl Iterator<Item = Uuid>,
    appended: &Appended,
    digest: &[u8; 16],
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(INSERT)?;
    for id in ids {
        let Numbers { first_position, first_seq_nr, count } = Numbers::of(appended);
        let checksum = checksum(log, id.as_bytes(), [first_position, first_seq_nr, count], digest);
        insert.execute((
            log,
            &id.as_bytes()[..],
            first_position,
            first_seq_nr,
            count,
            &digest[..],
            checksum,
        ))?;
    }
    Ok(())
}

pub(super) fn find(connection: &Connection, log: i64, id: Uuid) -> Result<Option<AppendId>> {
    let sql = "SELECT id, first_position, first_seq_nr, count, digest, checksum FROM append_id
               WHERE log = ?1 AND id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((log, &id.as_bytes()[..]))?;
    rows.next()?.map(|row| read(log, row)).transpose()
}

/// The ids above one, in order.
pub(super) fn page(
    connection: &Connection,
    log: i64,
    above: Option<Uuid>,
    limit: usize,
) -> Result<Vec<AppendId>> {
    let sql = "SELECT id, first_position, first_seq_nr, count, digest, checksum FROM append_id
               WHERE log = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
    let mut last = above;
    let above = above.map_or(Vec::new(), |id| id.as_bytes().to_vec());
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((log, above, to_sql(limit as u64)))?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let next = read(log, row)?;
        // Out of order, a page would lead back to where it began.
        if last.replace(next.id) >= Some(next.id) {
            return Err(Error::corrupted("event ids that are out of order"));
        }
        ids.push(next);
    }
    Ok(ids)
}

fn read(log: i64, row: &Row<'_>) -> Result<AppendId> {
    let wrong = || Error::corrupted("an event id whose checksum does not match");
    let id: Vec<u8> = row.get(0)?;
    let numbers = [row.get(1)?, row.get(2)?, row.get(3)?];
    let digest = <[u8; 16]>::try_from(row.get::<_, Vec<u8>>(4)?).map_err(|_| wrong())?;
    if checksum(log, &id, numbers, &digest) != row.get::<_, i64>(5)? {
        return Err(wrong());
    }
    let appended = Appended::new(from_sql(numbers[1])?, position(numbers[0])?, from_sql(numbers[2])?);
    Ok(AppendId { id: Uuid::from_slice(&id).map_err(|_| wrong())?, appended, digest })
}

struct Numbers {
    first_position: i64,
    first_seq_nr: i64,
    count: i64,
}

impl Numbers {
    fn of(appended: &Appended) -> Self {
        Self {
            first_position: to_sql(appended.first_position.get()),
            first_seq_nr: to_sql(appended.first_seq_nr),
            count: to_sql(appended.count()),
        }
    }
}

fn checksum(log: i64, id: &[u8], numbers: [i64; 3], digest: &[u8]) -> i64 {
    let mut crc = crc32c::crc32c(&log.to_le_bytes());
    for number in numbers {
        crc = crc32c::crc32c_append(crc, &number.to_le_bytes());
    }
    crc = crc32c::crc32c_append(crc, id);
    i64::from(crc32c::crc32c_append(crc, digest))
}
