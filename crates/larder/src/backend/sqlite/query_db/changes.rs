//! The changes of QueryDbs: the newest of each in memory, and on disk where the definition says so.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, Row, types::ValueRef};

use super::{
    item_row::{bound, sql_value},
    layout::Layout,
    registry::layout_in,
};
use crate::{
    backend::{
        ChangesRead,
        sqlite::{
            place::{from_sql, to_sql},
            shared::Shared,
        },
    },
    error::{Error, ErrorKind, Result},
    event::Position,
    page::Page,
    query_db::{Change, ChangeKind, ItemKey, Removal},
};

/// How many changes of a QueryDb are kept at least.
const KEPT: u64 = 10_000;
/// How many more there may be before the oldest are removed.
const SLACK: u64 = 1_024;

/// The newest changes of each QueryDb that this process has committed.
#[derive(Debug, Default)]
pub(in crate::backend::sqlite) struct Rings(Mutex<HashMap<Arc<str>, Ring>>);

/// Changes with versions one after another.
#[derive(Debug, Default)]
struct Ring {
    /// The version before the first of them.
    before: u64,
    changes: VecDeque<Change>,
}

impl Ring {
    fn last(&self) -> u64 {
        self.changes.back().map_or(self.before, |change| change.version)
    }
}

impl Rings {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Ring>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to keep a QueryDb's changes after this version, unless they are kept up to it already.
    pub(super) fn begin(&self, name: &Arc<str>, version: u64) {
        let mut rings = self.lock();
        let ring = rings.entry(name.clone()).or_insert_with(|| Ring { before: version, ..Ring::default() });
        if ring.last() != version {
            // Another process has committed changes that nobody here knows.
            *ring = Ring { before: version, ..Ring::default() };
        }
    }

    /// Adds what was committed.
    pub(super) fn extend(&self, name: &Arc<str>, changes: Vec<Change>) {
        let mut rings = self.lock();
        let ring = rings.entry(name.clone()).or_default();
        ring.changes.extend(changes);
        let most = usize::try_from(KEPT).unwrap_or(usize::MAX);
        while ring.changes.len() > most {
            ring.before = ring.changes.pop_front().map_or(ring.before, |change| change.version);
        }
    }

    /// The version before the first that is kept, and those in the window.
    fn read(&self, request: &ChangesRead, limit: usize) -> Option<(u64, Vec<Change>)> {
        let rings = self.lock();
        let ring = rings.get(&request.query_db)?;
        let changes = if request.descending {
            let below = request.after.unwrap_or(u64::MAX);
            ring.changes.iter().rev().filter(|change| change.version < below).take(limit).cloned().collect()
        } else {
            let after = request.after.unwrap_or(ring.before);
            let skipped = usize::try_from(after.saturating_sub(ring.before)).unwrap_or(usize::MAX);
            ring.changes.iter().skip(skipped).take(limit).cloned().collect()
        };
        Some((ring.before, changes))
    }
}

/// A page of changes.
pub(in crate::backend::sqlite) fn read(shared: &Shared, request: &ChangesRead) -> Result<Page<Change>> {
    let (limit, _) = shared.limits.page_rows(request.limit);
    let (before, mut changes) = shared.pool.snapshot(|connection| {
        let Some((layout, version)) = layout_in(shared, connection, &request.query_db)? else {
            return Ok((0, Vec::new()));
        };
        if layout.definition.spec.changes {
            stored(connection, &layout, version, request, limit + 1)
        } else {
            Ok(shared.rings.read(request, limit + 1).unwrap_or((version, Vec::new())))
        }
    })?;
    if !request.descending && request.after.is_some_and(|after| after < before) {
        return Err(Error::new(ErrorKind::ChangesTruncated { oldest: before + 1 }));
    }
    let more = changes.len() > limit;
    changes.truncate(limit);
    let next = changes.last().filter(|_| more).map(|change| change.version);
    Ok(Page::new(changes, next, Position::START))
}

fn stored(
    connection: &Connection,
    layout: &Layout,
    version: u64,
    request: &ChangesRead,
    limit: usize,
) -> Result<(u64, Vec<Change>)> {
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT min(version) FROM change WHERE query_db = ?1")?
        .query_row([layout.number], |row| row.get(0))?;
    let before = oldest.map_or(Ok(version), |oldest| from_sql(oldest - 1))?;
    let columns =
        "SELECT version, kind, partition_key, sub_key, checksum FROM change WHERE query_db = ?1 AND version";
    let (sql, after) = if request.descending {
        (format!("{columns} < ?2 ORDER BY version DESC LIMIT ?3"), request.after.unwrap_or(u64::MAX))
    } else {
        (format!("{columns} > ?2 ORDER BY version LIMIT ?3"), request.after.unwrap_or(0))
    };
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((layout.number, to_sql(after), to_sql(limit as u64)))?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(read_row(layout.number, row)?);
    }
    Ok((before, changes))
}

fn read_row(query_db: i64, row: &Row<'_>) -> Result<Change> {
    let damaged = || Error::corrupted("a change of a QueryDb whose checksum is wrong");
    let (version, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
    let partition: Option<String> = row.get(2)?;
    let sub = row.get_ref(3)?;
    if checksum(query_db, version, kind, partition.as_deref(), sub) != row.get::<_, i64>(4)? {
        return Err(damaged());
    }
    let key = match (partition, sub) {
        (None, _) => None,
        (Some(partition), ValueRef::Integer(sub)) => Some(ItemKey::new(partition, sub)),
        (Some(partition), ValueRef::Real(sub)) => Some(ItemKey::new(partition, sub)),
        (Some(partition), ValueRef::Text(sub)) => {
            Some(ItemKey::new(partition, std::str::from_utf8(sub).map_err(|_| damaged())?))
        }
        (Some(_), ValueRef::Null | ValueRef::Blob(_)) => return Err(damaged()),
    };
    Ok(Change::new(from_sql(version)?, kind_of(kind).ok_or_else(damaged)?, key))
}

/// Keeps changes, and removes some that are past their time.
pub(super) fn store(connection: &Connection, query_db: i64, changes: &[Change]) -> Result<()> {
    let sql = "INSERT INTO change (query_db, version, kind, partition_key, sub_key, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = connection.prepare_cached(sql)?;
    for change in changes {
        let (version, kind) = (to_sql(change.version), code_of(change.kind));
        let partition = change.key.as_ref().map(|key| key.partition.as_str());
        let sub = change.key.as_ref().map_or(ValueRef::Null, |key| sql_value(&key.sub));
        let sum = checksum(query_db, version, kind, partition, sub);
        insert.execute((query_db, version, kind, partition, bound(sub), sum))?;
    }
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return Ok(()) };
    if first.version / SLACK != last.version / SLACK || last.version.is_multiple_of(SLACK) {
        let through = to_sql(last.version.saturating_sub(KEPT));
        let remove = "DELETE FROM change WHERE query_db = ?1 AND version <= ?2";
        connection.prepare_cached(remove)?.execute((query_db, through))?;
    }
    Ok(())
}

/// Removes all changes of a QueryDb.
pub(super) fn clear(connection: &Connection, query_db: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM change WHERE query_db = ?1")?.execute([query_db]).map(drop)
}

/// Whether every kept change of a QueryDb is what was written.
pub(super) fn verify(connection: &Connection, layout: &Layout) -> Result<()> {
    let sql = "SELECT version, kind, partition_key, sub_key, checksum FROM change WHERE query_db = ?1 ORDER BY version";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([layout.number])?;
    let mut last: Option<u64> = None;
    while let Some(row) = rows.next()? {
        let version = read_row(layout.number, row)?.version;
        if last.is_some_and(|last| last + 1 != version) {
            return Err(Error::corrupted(format!("changes of a QueryDb with a gap before {version}")));
        }
        last = Some(version);
    }
    Ok(())
}

fn checksum(query_db: i64, version: i64, kind: i64, partition: Option<&str>, sub: ValueRef<'_>) -> i64 {
    let text = format!("{query_db}\n{version}\n{kind}\n{partition:?}\n{sub:?}");
    i64::from(crc32c::crc32c(text.as_bytes()))
}

fn code_of(kind: ChangeKind) -> i64 {
    match kind {
        ChangeKind::Added => 1,
        ChangeKind::Updated => 2,
        ChangeKind::Removed { reason: Removal::Deleted } => 3,
        ChangeKind::Removed { reason: Removal::Expired } => 4,
        ChangeKind::Replaced => 5,
    }
}

fn kind_of(code: i64) -> Option<ChangeKind> {
    Some(match code {
        1 => ChangeKind::Added,
        2 => ChangeKind::Updated,
        3 => ChangeKind::Removed { reason: Removal::Deleted },
        4 => ChangeKind::Removed { reason: Removal::Expired },
        5 => ChangeKind::Replaced,
        _ => return None,
    })
}
