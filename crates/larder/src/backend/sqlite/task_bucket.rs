//! Task buckets: a row for each object with its bytes at the end, so that a listing reads none of them, and a row for
//! each trigger, with indexes of those that are first of their key, by time, and of those that are not dead, by key.

#[cfg(test)]
mod plans;

use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::{
    place::{from_sql, to_sql},
    shared::Shared,
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::{
        DeadTasksRead, Finding, ObjectRow, ObjectsRead, Outcome, TaskBucketOperation, TaskBucketStats,
        TaskRows, TriggerRow, TriggerState, TriggersRead, VerifyReport, bucket_checksum, check_row,
        operate_on_bucket,
    },
    error::{Error, Result},
    page::Page,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo, TaskKind, page_of},
};

macro_rules! object_columns {
    () => {
        "key, version, content_type, recorded_at, length, bytes_checksum, checksum"
    };
}
macro_rules! trigger_columns {
    () => {
        "trigger, kind, key, version, state, due_at, attempts, claims, holder, error, checksum"
    };
}

const COUNTER: &str = "SELECT counter, checksum FROM task_bucket WHERE name = ?1";
const SET_COUNTER: &str = "INSERT INTO task_bucket (name, counter, checksum) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET counter = excluded.counter, checksum = excluded.checksum";
const OBJECT: &str =
    concat!("SELECT ", object_columns!(), " FROM task_object WHERE bucket = ?1 AND key = ?2");
const OBJECT_BYTES: &str =
    concat!("SELECT ", object_columns!(), ", bytes FROM task_object WHERE bucket = ?1 AND key = ?2");
const SET_OBJECT: &str = concat!(
    "INSERT INTO task_object (bucket, ",
    object_columns!(),
    ", bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     ON CONFLICT (bucket, key) DO UPDATE SET version = excluded.version, content_type = excluded.content_type,
       recorded_at = excluded.recorded_at, length = excluded.length, bytes_checksum = excluded.bytes_checksum,
       checksum = excluded.checksum, bytes = excluded.bytes"
);
const OBJECTS_UP: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM task_object WHERE bucket = ?1 AND key >= ?2 AND key <= ?3 AND (?4 IS NULL OR key > ?4) ORDER BY key"
);
const OBJECTS_AFTER: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM task_object WHERE bucket = ?1 AND key > ?4 AND key <= ?3 AND key >= ?2 ORDER BY key"
);
const OBJECTS_DOWN: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM task_object WHERE bucket = ?1 AND key >= ?2 AND key <= ?3 AND (?4 IS NULL OR key < ?4) ORDER BY key DESC"
);
const OBJECTS_BEFORE: &str = concat!(
    "SELECT ",
    object_columns!(),
    " FROM task_object WHERE bucket = ?1 AND key < ?4 AND key >= ?2 AND key <= ?3 ORDER BY key DESC"
);
const TRIGGER: &str =
    concat!("SELECT ", trigger_columns!(), " FROM task_trigger WHERE bucket = ?1 AND trigger = ?2");
// Left to itself, SQLite reads a bucket's triggers one after the other until one has the key, or is dead.
const FIRST_OF: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger INDEXED BY task_trigger_key
        WHERE bucket = ?1 AND key = ?2 AND state < 2 ORDER BY trigger LIMIT 1"
);
const DUE: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger WHERE bucket = ?1 AND state = 1 AND due_at <= ?2 ORDER BY due_at, trigger LIMIT ?3"
);
const NEXT_DUE: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger WHERE bucket = ?1 AND state = 1 ORDER BY due_at, trigger LIMIT 1"
);
const DEAD: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger INDEXED BY task_trigger_dead
        WHERE bucket = ?1 AND state = 2 AND trigger > ?2 ORDER BY trigger LIMIT ?3"
);
const DEAD_DOWN: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger INDEXED BY task_trigger_dead
        WHERE bucket = ?1 AND state = 2 AND trigger < ?2 ORDER BY trigger DESC LIMIT ?3"
);
const TRIGGERS: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    " FROM task_trigger WHERE bucket = ?1 AND trigger > ?2 ORDER BY trigger LIMIT ?3"
);
const SET_TRIGGER: &str = concat!(
    "INSERT OR REPLACE INTO task_trigger (bucket, ",
    trigger_columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
);

fn stored_checksum(row: &Row<'_>, column: usize) -> Result<u32> {
    u32::try_from(row.get::<_, i64>(column)?).map_err(|_| Error::corrupted("a checksum of more than 32 bits"))
}

fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    from_sql(row.get(column)?)
}

/// An object's row, its checksum compared.
fn object_row(bucket: &str, row: &Row<'_>) -> Result<ObjectRow> {
    let sum =
        u32::try_from(number(row, 5)?).map_err(|_| Error::corrupted("a checksum of more than 32 bits"))?;
    let found = ObjectRow {
        key: row.get(0)?,
        version: number(row, 1)?,
        content_type: row.get(2)?,
        recorded_at: number(row, 3)?,
        length: number(row, 4)?,
        bytes_checksum: sum,
    };
    let stored = stored_checksum(row, 6)?;
    check_row("an object whose checksum does not match", bucket, found.checksum(bucket), stored)?;
    Ok(found)
}

/// A trigger's row, its checksum compared.
fn trigger_row(bucket: &str, row: &Row<'_>) -> Result<TriggerRow> {
    let unknown = || Error::corrupted("a trigger of an unknown kind or state").with("bucket", bucket);
    let kind = match number(row, 1)? {
        1 => TaskKind::ObjectCreated,
        2 => TaskKind::ObjectRemoved,
        _ => return Err(unknown()),
    };
    let state = match number(row, 4)? {
        0 => TriggerState::Behind,
        1 => TriggerState::First,
        2 => TriggerState::Dead,
        _ => return Err(unknown()),
    };
    let found = TriggerRow {
        trigger: number(row, 0)?,
        kind,
        key: row.get(2)?,
        version: number(row, 3)?,
        state,
        due_at: number(row, 5)?,
        attempts: u32::try_from(number(row, 6)?).map_err(|_| unknown())?,
        claims: number(row, 7)?,
        holder: number(row, 8)?,
        error: row.get(9)?,
    };
    let stored = stored_checksum(row, 10)?;
    check_row("a trigger whose checksum does not match", bucket, found.checksum(bucket), stored)?;
    Ok(found)
}

fn triggers(
    connection: &Connection,
    sql: &str,
    bucket: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<TriggerRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(trigger_row(bucket, row)?);
    }
    Ok(found)
}

fn find_object(connection: &Connection, bucket: &str, key: &str) -> Result<Option<ObjectRow>> {
    let mut statement = connection.prepare_cached(OBJECT)?;
    let mut rows = statement.query((bucket, key))?;
    let found = rows.next()?.map(|row| object_row(bucket, row)).transpose()?;
    same_key(found, key)
}

/// An index that is damaged may lead to another row.
fn same_key(found: Option<ObjectRow>, key: &str) -> Result<Option<ObjectRow>> {
    match found {
        Some(row) if row.key != key => Err(Error::corrupted("an index that leads to another object")),
        found => Ok(found),
    }
}

pub(super) fn object(shared: &Shared, bucket: &str, key: &str) -> Result<Option<Object>> {
    shared.pool.read(|connection| {
        let mut statement = connection.prepare_cached(OBJECT_BYTES)?;
        let mut rows = statement.query((bucket, key))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let bytes: Vec<u8> = row.get(7)?;
        let Some(found) = same_key(Some(object_row(bucket, row)?), key)? else { return Ok(None) };
        found.check_bytes(bucket, &bytes)?;
        Ok(Some(Object::of(found, bytes)))
    })
}

pub(super) fn info(shared: &Shared, bucket: &str, key: &str) -> Result<Option<ObjectInfo>> {
    shared.pool.read(|connection| Ok(find_object(connection, bucket, key)?.map(ObjectInfo::from)))
}

/// A page of objects. A key of at most 1,024 bytes that begins with the prefix is not above the prefix with 256 times
/// the highest character.
pub(super) fn objects(shared: &Shared, request: &ObjectsRead) -> Result<Page<ObjectInfo>> {
    const HIGHEST: &str = "\u{10ffff}";
    let ObjectsRead { bucket, prefix, after, limit, descending, .. } = request;
    let above = format!("{prefix}{}", HIGHEST.repeat(256));
    let sql = match (descending, after) {
        (false, None) => OBJECTS_UP,
        (false, Some(_)) => OBJECTS_AFTER,
        (true, None) => OBJECTS_DOWN,
        (true, Some(_)) => OBJECTS_BEFORE,
    };
    shared.pool.read(|connection| {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((&**bucket, prefix, above, after.as_deref()))?;
        let infos = std::iter::from_fn(|| match rows.next() {
            Ok(Some(row)) => Some(object_row(bucket, row).map(ObjectInfo::from)),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        });
        page_of(infos, *limit, &shared.limits)
    })
}

pub(super) fn dead_letters(shared: &Shared, request: &DeadTasksRead) -> Result<Page<DeadTask>> {
    let DeadTasksRead { bucket, after, limit, descending, .. } = request;
    let (rows, _) = shared.limits.page_rows(*limit);
    // One more tells whether there are more.
    let most = to_sql(rows as u64).saturating_add(1);
    let (sql, bound) =
        if *descending { (DEAD_DOWN, after.unwrap_or(u64::MAX)) } else { (DEAD, after.unwrap_or(0)) };
    shared.pool.read(|connection| {
        let found = triggers(connection, sql, bucket, (&**bucket, to_sql(bound), most))?;
        page_of(found.into_iter().map(|row| Ok(DeadTask::of(row))), *limit, &shared.limits)
    })
}

pub(super) fn infos(shared: &Shared) -> Result<Vec<TaskBucketInfo>> {
    shared.pool.snapshot(|connection| {
        let info = |name: String| {
            let counter = counter(connection, &name)?.unwrap_or(0);
            Ok(TaskBucketInfo::new(name, counter))
        };
        names(connection)?.into_iter().map(info).collect()
    })
}

pub(super) fn bucket_info(shared: &Shared, name: &str) -> Result<Option<TaskBucketInfo>> {
    shared.pool.read(|connection| {
        Ok(counter(connection, name)?.map(|counter| TaskBucketInfo::new(name.to_owned(), counter)))
    })
}

pub(super) fn triggers_page(shared: &Shared, request: &TriggersRead) -> Result<Vec<TriggerRow>> {
    let TriggersRead { bucket, after, limit } = request;
    shared.pool.read(|connection| {
        triggers(connection, TRIGGERS, bucket, (&**bucket, to_sql(*after), to_sql(*limit as u64)))
    })
}

pub(super) fn next_due(shared: &Shared, bucket: &str) -> Result<Option<u64>> {
    shared.pool.read(|connection| {
        Ok(triggers(connection, NEXT_DUE, bucket, [bucket])?.first().map(|row| row.due_at))
    })
}

/// The rows of the running transaction.
struct Open<'a> {
    connection: &'a Connection,
    changed: &'a mut Vec<Arc<str>>,
}

impl TaskRows for Open<'_> {
    type Failure = Failure;

    fn counter(&mut self, bucket: &Arc<str>) -> Result<Option<u64>, Failure> {
        Ok(counter(self.connection, bucket)?)
    }

    fn set_counter(&mut self, bucket: &Arc<str>, counter: u64) -> Result<(), Failure> {
        let mut set = self.connection.prepare_cached(SET_COUNTER).written()?;
        set.execute((&**bucket, to_sql(counter), bucket_checksum(bucket, counter))).written()?;
        Ok(())
    }

    fn object(&mut self, bucket: &Arc<str>, key: &str) -> Result<Option<ObjectRow>, Failure> {
        Ok(find_object(self.connection, bucket, key)?)
    }

    fn set_object(&mut self, bucket: &Arc<str>, row: ObjectRow, bytes: &[u8]) -> Result<(), Failure> {
        let mut set = self.connection.prepare_cached(SET_OBJECT).written()?;
        set.execute((
            &**bucket,
            &row.key,
            to_sql(row.version),
            &row.content_type,
            to_sql(row.recorded_at),
            to_sql(row.length),
            row.bytes_checksum,
            row.checksum(bucket),
            bytes,
        ))
        .written()?;
        Ok(())
    }

    fn remove_object(&mut self, bucket: &Arc<str>, key: &str) -> Result<(), Failure> {
        let sql = "DELETE FROM task_object WHERE bucket = ?1 AND key = ?2";
        self.connection.prepare_cached(sql).written()?.execute((&**bucket, key)).written()?;
        Ok(())
    }

    fn trigger(&mut self, bucket: &Arc<str>, trigger: u64) -> Result<Option<TriggerRow>, Failure> {
        Ok(triggers(self.connection, TRIGGER, bucket, (&**bucket, to_sql(trigger)))?.pop())
    }

    fn first_of(&mut self, bucket: &Arc<str>, key: &str) -> Result<Option<TriggerRow>, Failure> {
        Ok(triggers(self.connection, FIRST_OF, bucket, (&**bucket, key))?.pop())
    }

    fn due(&mut self, bucket: &Arc<str>, now: u64, limit: usize) -> Result<Vec<TriggerRow>, Failure> {
        let limit = to_sql(limit as u64);
        Ok(triggers(self.connection, DUE, bucket, (&**bucket, to_sql(now), limit))?)
    }

    fn dead(&mut self, bucket: &Arc<str>, above: u64, limit: usize) -> Result<Vec<TriggerRow>, Failure> {
        let limit = to_sql(limit as u64);
        Ok(triggers(self.connection, DEAD, bucket, (&**bucket, to_sql(above), limit))?)
    }

    fn set_trigger(&mut self, bucket: &Arc<str>, row: &TriggerRow) -> Result<(), Failure> {
        let mut set = self.connection.prepare_cached(SET_TRIGGER).written()?;
        set.execute((
            &**bucket,
            to_sql(row.trigger),
            row.kind as u8,
            &row.key,
            to_sql(row.version),
            row.state as u8,
            to_sql(row.due_at),
            row.attempts,
            to_sql(row.claims),
            to_sql(row.holder),
            &row.error,
            row.checksum(bucket),
        ))
        .written()?;
        Ok(())
    }

    fn remove_trigger(&mut self, bucket: &Arc<str>, trigger: u64) -> Result<(), Failure> {
        let sql = "DELETE FROM task_trigger WHERE bucket = ?1 AND trigger = ?2";
        self.connection.prepare_cached(sql).written()?.execute((&**bucket, to_sql(trigger))).written()?;
        Ok(())
    }

    fn announce(&mut self, bucket: &Arc<str>) {
        if !self.changed.contains(bucket) {
            self.changed.push(bucket.clone());
        }
    }
}

/// A bucket's counter; `None` if there is no such bucket.
fn counter(connection: &Connection, bucket: &str) -> Result<Option<u64>> {
    let mut statement = connection.prepare_cached(COUNTER)?;
    let mut rows = statement.query([bucket])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let counter = number(row, 0)?;
    let stored = stored_checksum(row, 1)?;
    check_row("a bucket whose checksum does not match", bucket, bucket_checksum(bucket, counter), stored)?;
    Ok(Some(counter))
}

impl Writer {
    pub(super) fn change_task_bucket(&mut self, operation: &TaskBucketOperation) -> Result<Outcome, Failure> {
        let mut open = Open { connection: &self.connection, changed: &mut self.changed_buckets };
        operate_on_bucket(&mut open, operation, self.now)
    }
}

fn names(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM task_bucket ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn stats(connection: &Connection) -> Result<Vec<TaskBucketStats>> {
    let sql = "SELECT (SELECT count(*) FROM task_object WHERE bucket = ?1),
                 (SELECT coalesce(sum(length), 0) FROM task_object WHERE bucket = ?1),
                 (SELECT count(*) FROM task_trigger WHERE bucket = ?1 AND state < 2),
                 (SELECT count(*) FROM task_trigger WHERE bucket = ?1 AND state = 2)";
    let mut statement = connection.prepare_cached(sql)?;
    let stats = |name: String| {
        let counts: (i64, i64, i64, i64) =
            statement.query_row([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let (objects, bytes, live, dead) = counts;
        Ok(TaskBucketStats::new(name, from_sql(objects)?, from_sql(bytes)?, from_sql(live)?, from_sql(dead)?))
    };
    names(connection)?.into_iter().map(stats).collect()
}

/// Recomputes every checksum, and checks the order of each key. Indexes are compared with their tables by SQLite's own
/// check.
pub(super) fn verify(connection: &Connection, report: &mut VerifyReport) -> Result<()> {
    let mut find = |report: &mut VerifyReport, bucket: &str, problem: String| {
        report.find(Finding { log: None, position: None, problem: format!("bucket {bucket}: {problem}") });
    };
    let names = match names(connection) {
        Ok(names) => names,
        Err(error) => {
            find(report, "?", error.to_string());
            return Ok(());
        }
    };
    for name in &names {
        if let Err(error) = counter(connection, name) {
            find(report, name, error.to_string());
        }
    }
    let sql = concat!("SELECT ", object_columns!(), ", bytes, bucket FROM task_object ORDER BY object");
    scan(connection, sql, report, &mut find, |report, row| {
        report.objects += 1;
        let (bytes, bucket): (Vec<u8>, String) = (row.get(7)?, row.get(8)?);
        known(&names, &bucket)?;
        object_row(&bucket, row)?.check_bytes(&bucket, &bytes)
    })?;
    let sql =
        concat!("SELECT ", trigger_columns!(), ", bucket FROM task_trigger ORDER BY bucket, key, trigger");
    let mut last: Option<(String, String)> = None;
    scan(connection, sql, report, &mut find, |report, row| {
        report.triggers += 1;
        let bucket: String = row.get(11)?;
        known(&names, &bucket)?;
        let found = trigger_row(&bucket, row)?;
        if found.state == TriggerState::Dead {
            return Ok(());
        }
        let place = Some((bucket, found.key));
        let should_be_first = place != last;
        last = place;
        if should_be_first == (found.state == TriggerState::First) {
            return Ok(());
        }
        Err(Error::corrupted("a trigger out of its key's order").with("trigger", found.trigger.to_string()))
    })
}

fn known(names: &[String], bucket: &str) -> Result<()> {
    let is_known = names.iter().any(|name| name == bucket);
    if is_known { Ok(()) } else { Err(Error::corrupted("a row of a bucket that does not exist")) }
}

/// Checks every row of a query, which begins with a key and ends with the bucket's name.
fn scan(
    connection: &Connection,
    sql: &str,
    report: &mut VerifyReport,
    find: &mut impl FnMut(&mut VerifyReport, &str, String),
    mut check: impl FnMut(&mut VerifyReport, &Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(sql)?;
    let bucket_column = statement.column_count() - 1;
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                if let Err(error) = check(report, row) {
                    let bucket: Option<String> = row.get(bucket_column).ok();
                    find(report, bucket.as_deref().unwrap_or("?"), error.to_string());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                find(report, "?", Error::from(error).to_string());
                return Ok(());
            }
        }
    }
}
