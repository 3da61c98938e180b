//! Changes: in a table those of QueryDbs that keep them, in memory the newest of those that somebody listens to.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, Row, types::ValueRef};

use super::{
    super::{
        checksum::{Crc, length},
        place::{from_sql, to_sql},
        row::utf8,
    },
    row::{add_value, key_value, stored},
};
use crate::{
    error::{Error, Result},
    query_db::{Change, ChangeKind, ItemKey, KeyValue, Removal},
};

/// The most changes that are kept, of each QueryDb.
pub(super) const KEPT: u64 = 10_000;
/// How many more gather in the table before some are removed.
const SLACK: u64 = 1_000;

/// The most memory that all changes in memory take together.
const BYTES: usize = 32 << 20;

/// Every stored change of a QueryDb.
pub(super) const EVERY: &str = "SELECT version, kind, partition_key, sub_key, checksum FROM query_db_change
     WHERE query_db = ?1 ORDER BY version";

/// The newest changes of QueryDbs that somebody listens to, committed in this process one after the other.
#[derive(Debug, Default)]
pub(in crate::backend::sqlite) struct Feeds(Mutex<Rings>);

/// All of them have one bound: those that were written the longest ago make room for others.
#[derive(Debug, Default)]
struct Rings {
    by_query_db: HashMap<i64, Ring>,
    /// By when they were last written.
    by_age: BTreeMap<u64, i64>,
    writes: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Ring {
    changes: VecDeque<Change>,
    bytes: usize,
    written: u64,
}

/// About what a change takes in memory.
fn size(change: &Change) -> usize {
    let sub = |key: &ItemKey| match &key.sub {
        KeyValue::String(text) => text.len(),
        KeyValue::Number(_) => 0,
    };
    size_of::<Change>() + change.key.as_ref().map_or(0, |key| key.partition.len() + sub(key))
}

impl Ring {
    fn drop_oldest(&mut self) -> usize {
        let freed = self.changes.pop_front().as_ref().map_or(0, size);
        self.bytes -= freed;
        freed
    }
}

impl Rings {
    fn remove(&mut self, query_db: i64) {
        if let Some(ring) = self.by_query_db.remove(&query_db) {
            self.by_age.remove(&ring.written);
            self.bytes -= ring.bytes;
        }
    }

    fn add(&mut self, query_db: i64, changes: VecDeque<Change>, most_bytes: usize) {
        let Some(first) = changes.front() else { return };
        let last = self.by_query_db.get(&query_db).and_then(|ring| ring.changes.back());
        if last.is_some_and(|last| last.version + 1 != first.version) {
            // Another process has committed in between.
            self.remove(query_db);
        }
        self.writes += 1;
        let ring = self.by_query_db.entry(query_db).or_default();
        self.by_age.remove(&ring.written);
        self.by_age.insert(self.writes, query_db);
        ring.written = self.writes;
        let added: usize = changes.iter().map(size).sum();
        (ring.bytes, self.bytes) = (ring.bytes + added, self.bytes + added);
        ring.changes.extend(changes);
        while ring.changes.len() as u64 > KEPT || ring.bytes > most_bytes {
            self.bytes -= ring.drop_oldest();
        }
        while self.bytes > most_bytes
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            self.remove(*oldest);
        }
    }
}

impl Feeds {
    /// Adds what the running transaction is about to commit: readers look no further than their snapshot.
    pub(super) fn add(&self, query_db: i64, changes: VecDeque<Change>) {
        self.lock().add(query_db, changes, BYTES);
    }

    /// Takes back what was not committed.
    pub(super) fn retract(&self, query_db: i64, committed: u64) {
        let mut rings = self.lock();
        let Some(ring) = rings.by_query_db.get_mut(&query_db) else { return };
        let mut freed = 0;
        while let Some(last) = ring.changes.pop_back_if(|last| last.version > committed) {
            freed += size(&last);
        }
        ring.bytes -= freed;
        rings.bytes -= freed;
    }

    /// Forgets a QueryDb's changes.
    pub(in crate::backend::sqlite) fn clear(&self, query_db: i64) {
        self.lock().remove(query_db);
    }

    /// The oldest change from which on there are all through this version; the next one if there is none.
    pub(super) fn oldest(&self, query_db: i64, through: u64) -> u64 {
        self.lock().by_query_db.get(&query_db).map_or(through + 1, |ring| oldest(&ring.changes, through))
    }

    /// Whether this change replaced everything.
    pub(super) fn begins_anew(&self, query_db: i64, version: u64) -> bool {
        let rings = self.lock();
        let ring = rings.by_query_db.get(&query_db);
        let found = ring.and_then(|ring| ring.changes.iter().find(|change| change.version == version));
        found.is_some_and(|change| change.kind == ChangeKind::Replaced)
    }

    /// The changes in (above, below), through a version; in order, or backwards.
    pub(super) fn read(
        &self,
        query_db: i64,
        (above, below): (u64, u64),
        descending: bool,
        most: usize,
    ) -> Vec<Change> {
        let rings = self.lock();
        let Some(Ring { changes: feed, .. }) = rings.by_query_db.get(&query_db) else { return Vec::new() };
        let start = feed.partition_point(|change| change.version <= above);
        let end = feed.partition_point(|change| change.version < below).max(start);
        let range = feed.range(start..end);
        if descending {
            range.rev().take(most).cloned().collect()
        } else {
            range.take(most).cloned().collect()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn oldest(feed: &VecDeque<Change>, through: u64) -> u64 {
    match (feed.front(), feed.back()) {
        (Some(first), Some(last)) if first.version <= through && through <= last.version => first.version,
        _ => through + 1,
    }
}

/// Writes a change, where they are kept.
pub(super) fn store(connection: &Connection, query_db: (i64, &str), change: &Change) -> rusqlite::Result<()> {
    let (partition, sub) = match &change.key {
        Some(key) => (ValueRef::Text(key.partition.as_bytes()), stored(&key.sub)),
        None => (ValueRef::Null, ValueRef::Null),
    };
    let (version, kind) = (to_sql(change.version), code(change.kind));
    let sql = "INSERT INTO query_db_change (query_db, version, kind, partition_key, sub_key, checksum)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.raw_bind_parameter(1, query_db.0)?;
    statement.raw_bind_parameter(2, version)?;
    statement.raw_bind_parameter(3, kind)?;
    super::bind(&mut statement, 4, partition)?;
    super::bind(&mut statement, 5, sub)?;
    statement.raw_bind_parameter(6, checksum(query_db.1, version, kind, partition, sub))?;
    statement.raw_execute().map(drop)
}

/// CRC-32C over a change and where it belongs.
fn checksum(query_db: &str, version: i64, kind: i64, partition: ValueRef<'_>, sub: ValueRef<'_>) -> i64 {
    let mut crc = Crc::default();
    crc.add(&version.to_le_bytes());
    crc.add(&kind.to_le_bytes());
    crc.add(&length(query_db.as_bytes()).to_le_bytes());
    crc.add(query_db.as_bytes());
    add_value(&mut crc, 1, partition);
    add_value(&mut crc, 2, sub);
    crc.finish()
}

/// Removes every stored change of a QueryDb.
pub(super) fn remove_all(connection: &Connection, query_db: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM query_db_change WHERE query_db = ?1")?
        .execute([query_db])
        .map(drop)
}

/// Removes some of the changes that need not be kept, once enough of them have gathered. Answers the oldest that is
/// left.
pub(super) fn trim(
    connection: &Connection,
    query_db: i64,
    version: u64,
    oldest: u64,
    added: u64,
) -> rusqlite::Result<u64> {
    if version < oldest + KEPT + SLACK {
        return Ok(oldest);
    }
    let end = (version - KEPT).min(oldest + SLACK + 2 * added);
    let sql = "DELETE FROM query_db_change WHERE query_db = ?1 AND version < ?2";
    connection.prepare_cached(sql)?.execute((query_db, to_sql(end)))?;
    Ok(end)
}

/// Whether this stored change replaced everything.
pub(super) fn begins_anew(connection: &Connection, query_db: i64, version: u64) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM query_db_change WHERE query_db = ?1 AND version = ?2 AND kind = ?3)";
    let change = (query_db, to_sql(version), code(ChangeKind::Replaced));
    Ok(connection.prepare_cached(sql)?.query_row(change, |row| row.get(0))?)
}

/// The oldest stored change, if there is one.
pub(super) fn oldest_stored(connection: &Connection, query_db: i64) -> Result<Option<u64>> {
    let sql = "SELECT min(version) FROM query_db_change WHERE query_db = ?1";
    let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([query_db], |row| row.get(0))?;
    oldest.map(from_sql).transpose()
}

/// The stored changes in (above, below), which have no holes; in order, or backwards.
pub(super) fn read_stored(
    connection: &Connection,
    query_db: (i64, &str),
    (above, below): (u64, u64),
    descending: bool,
    most: usize,
) -> Result<Vec<Change>> {
    let order = if descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT version, kind, partition_key, sub_key, checksum FROM query_db_change
         WHERE query_db = ?1 AND version > ?2 AND version < ?3 ORDER BY version {order} LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = statement.query((query_db.0, to_sql(above), to_sql(below), most))?;
    let mut changes: Vec<Change> = Vec::new();
    while let Some(row) = rows.next()? {
        let change = read(query_db.1, row)?;
        let follows = changes.last().map_or(change.version > above && change.version < below, |last| {
            let (low, high) = if descending { (&change, last) } else { (last, &change) };
            low.version + 1 == high.version
        });
        if !follows {
            let problem = format!("changes that are out of order at {}", change.version);
            return Err(Error::corrupted(problem).with("QueryDb", query_db.1));
        }
        changes.push(change);
    }
    Ok(changes)
}

/// A change as it was stored, its checksum compared.
pub(super) fn read(query_db: &str, row: &Row<'_>) -> Result<Change> {
    let (version, kind): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (partition, sub) = (row.get_ref(2)?, row.get_ref(3)?);
    let wrong = |problem: &'static str| {
        Error::corrupted(problem).with("QueryDb", query_db).with("change", version.to_string())
    };
    if checksum(query_db, version, kind, partition, sub) != row.get::<_, i64>(4)? {
        return Err(wrong("a checksum that does not match"));
    }
    let key = match partition {
        ValueRef::Null => None,
        ValueRef::Text(text) => Some(ItemKey { partition: utf8(text)?.to_owned(), sub: key_value(sub)? }),
        _ => return Err(wrong("a partition key that is not text")),
    };
    let kind = kind_of(kind).ok_or_else(|| wrong("a change of an unknown kind"))?;
    Ok(Change::new(from_sql(version)?, kind, key))
}

fn code(kind: ChangeKind) -> i64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(versions: std::ops::RangeInclusive<u64>) -> VecDeque<Change> {
        versions.map(|version| Change::new(version, ChangeKind::Added, Some("a".into()))).collect()
    }

    #[test]
    fn all_feeds_share_one_bound() {
        let bytes_of = |count: usize| count * size(&changes(1..=1)[0]);
        let mut rings = Rings::default();
        for query_db in 1..=5 {
            rings.add(query_db, changes(1..=2), bytes_of(6));
        }
        let mut kept: Vec<i64> = rings.by_query_db.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!((kept, rings.bytes, rings.by_age.len()), (vec![3, 4, 5], bytes_of(6), 3));
        rings.add(3, changes(3..=3), bytes_of(6));
        assert!(!rings.by_query_db.contains_key(&4), "it was written the longest ago");
        assert_eq!(rings.by_query_db[&3].changes, changes(1..=3));
        rings.add(3, changes(4..=12), bytes_of(6));
        assert_eq!((rings.by_query_db[&3].changes.clone(), rings.bytes), (changes(7..=12), bytes_of(6)));
        assert_eq!(rings.by_query_db.len(), 1);
        rings.add(3, changes(14..=14), bytes_of(6));
        assert_eq!(rings.by_query_db[&3].changes, changes(14..=14), "a jump empties it");
        rings.remove(3);
        assert_eq!((rings.bytes, rings.by_age.len()), (0, 0));
    }

    #[test]
    fn what_was_not_committed_is_taken_back() {
        let feeds = Feeds::default();
        feeds.add(1, changes(1..=3));
        feeds.add(1, changes(4..=5));
        feeds.retract(1, 3);
        assert_eq!(VecDeque::from(feeds.read(1, (0, 9), false, 9)), changes(1..=3));
        assert_eq!(feeds.lock().bytes, 3 * size(&changes(1..=1)[0]));
        assert_eq!((feeds.oldest(1, 3), feeds.oldest(1, 4)), (1, 5));
    }
}
