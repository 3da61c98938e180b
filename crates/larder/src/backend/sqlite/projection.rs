//! Projections' records, inside the writer's transaction and in snapshots.

use std::sync::Arc;

use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::{
    checksum::{Crc, length},
    place::{from_sql, to_sql},
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::{
        Finding, Outcome, ProjectionOperation, VerifyReport, check_checkpoint as check,
        check_checkpoint_and_rebuilds as check_with_rebuilds,
    },
    error::{Error, ErrorKind, Result},
    event::Position,
    projection::{DeadLetter, ProjectionFailure, ProjectionInfo},
    query::Query,
};

/// The most dead letters that a look returns.
const LETTERS: usize = 1_000;

/// A projection's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    name: String,
    log: Option<String>,
    checkpoint: u64,
    pub(super) rest: Rest,
}

/// What nobody searches for, as JSON in one column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// One, once it has run: a query may itself be null in JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Vec<Query>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) owns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<ProjectionFailure>,
    #[serde(default)]
    rebuild_requested: bool,
    /// How far a rebuild that is under way has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rebuild: Option<Position>,
    /// How many were finished.
    #[serde(default, skip_serializing_if = "is_zero")]
    rebuilds: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), log: None, checkpoint: 0, rest: Rest::default() }
    }

    fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT name, log, checkpoint, rest, checksum FROM projection WHERE name = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(Self::read).transpose()
    }

    fn all(connection: &Connection) -> Result<Vec<Self>> {
        let sql = "SELECT name, log, checkpoint, rest, checksum FROM projection ORDER BY name";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(Self::read(row)?);
        }
        Ok(all)
    }

    fn read(row: &Row<'_>) -> Result<Self> {
        let (name, log): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let (checkpoint, rest): (i64, String) = (row.get(2)?, row.get(3)?);
        let damaged = || Error::corrupted("a checksum that does not match").with("projection", name.clone());
        if checksum(&name, log.as_deref(), checkpoint, &rest) != row.get::<_, i64>(4)? {
            return Err(damaged());
        }
        let rest = serde_json::from_str(&rest).map_err(|error| damaged().caused_by(error))?;
        Ok(Self { checkpoint: from_sql(checkpoint)?, rest, name, log })
    }

    fn store(&self, connection: &Connection) -> Result<()> {
        let rest = serde_json::to_string(&self.rest).expect("it is plain data");
        let checkpoint = to_sql(self.checkpoint);
        let sum = checksum(&self.name, self.log.as_deref(), checkpoint, &rest);
        let sql = "INSERT OR REPLACE INTO projection (name, log, checkpoint, rest, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.prepare_cached(sql)?.execute((&self.name, &self.log, checkpoint, rest, sum))?;
        Ok(())
    }

    fn info(self, connection: &Connection) -> Result<ProjectionInfo> {
        let sql = "SELECT count(*) FROM dead_letter WHERE projection = ?1";
        let letters: i64 = connection.prepare_cached(sql)?.query_row([&self.name], |row| row.get(0))?;
        let Rest { mut query, owns, failure, rebuild_requested, rebuild, rebuilds } = self.rest;
        Ok(ProjectionInfo {
            log: self.log,
            query: query.pop(),
            checkpoint: Position::new(self.checkpoint),
            owns,
            failure,
            rebuild_requested,
            rebuild,
            rebuilds,
            dead_letters: from_sql(letters)?,
            ..ProjectionInfo::new(self.name)
        })
    }
}

/// Over everything in a record's row.
fn checksum(name: &str, log: Option<&str>, checkpoint: i64, rest: &str) -> i64 {
    let mut crc = Crc::default();
    crc.add(&checkpoint.to_le_bytes());
    for text in [Some(name), log, Some(rest)] {
        crc.add(&text.map_or(u32::MAX, |text| length(text.as_bytes())).to_le_bytes());
        crc.add(text.unwrap_or_default().as_bytes());
    }
    crc.finish()
}

pub(super) fn infos(connection: &Connection) -> Result<Vec<ProjectionInfo>> {
    Record::all(connection)?.into_iter().map(|record| record.info(connection)).collect()
}

pub(super) fn info(connection: &Connection, name: &str) -> Result<Option<ProjectionInfo>> {
    Record::find(connection, name)?.map(|record| record.info(connection)).transpose()
}

pub(super) fn dead_letters(connection: &Connection, name: &str, after: Position) -> Result<Vec<DeadLetter>> {
    let sql = "SELECT position, letter, checksum FROM dead_letter WHERE projection = ?1 AND position > ?2
                 ORDER BY position LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((name, to_sql(after.get()), to_sql(LETTERS as u64)))?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(read_letter(name, row)?);
    }
    Ok(letters)
}

fn read_letter(projection: &str, row: &Row<'_>) -> Result<DeadLetter> {
    let (position, letter): (i64, String) = (row.get(0)?, row.get(1)?);
    let damaged =
        || Error::corrupted("a dead letter whose checksum does not match").with("projection", projection);
    if checksum(projection, None, position, &letter) != row.get::<_, i64>(2)? {
        return Err(damaged());
    }
    serde_json::from_str(&letter).map_err(|error| damaged().caused_by(error))
}

/// Re-checks every record and dead letter.
pub(super) fn verify(connection: &Connection, report: &mut VerifyReport) -> Result<()> {
    let finding = |error: Error| Finding { log: None, position: None, problem: error.to_string() };
    let mut statement =
        connection.prepare("SELECT name, log, checkpoint, rest, checksum FROM projection NOT INDEXED")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.projections += 1;
        if let Err(error) = Record::read(row) {
            report.find(finding(error));
        }
    }
    let mut statement =
        connection.prepare("SELECT position, letter, checksum, projection FROM dead_letter NOT INDEXED")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let read = row.get::<_, String>(3).map_err(Error::from).and_then(|name| read_letter(&name, row));
        if let Err(error) = read {
            report.find(finding(error));
        }
    }
    Ok(())
}

/// Whether an operation can share its transaction with others'.
pub(super) fn is_plain(operation: &ProjectionOperation) -> bool {
    matches!(
        operation,
        ProjectionOperation::SetCheckpoint { .. }
            | ProjectionOperation::SetRebuildCheckpoint { .. }
            | ProjectionOperation::RecordFailure { .. }
            | ProjectionOperation::AddDeadLetter { .. }
            | ProjectionOperation::RemoveDeadLetter { .. }
            | ProjectionOperation::RequestRebuild { .. }
    )
}

impl Writer {
    pub(super) fn change_projection(&mut self, operation: &ProjectionOperation) -> Result<Outcome, Failure> {
        match operation {
            ProjectionOperation::Register { projection, log, query, owns } => {
                self.register(projection, log, query, owns)?;
            }
            ProjectionOperation::SetCheckpoint { projection, expected, position } => {
                let mut record = self.record_or_new(projection)?;
                let actual = (Position::new(record.checkpoint), record.rest.rebuilds);
                check_with_rebuilds(*expected, actual)?;
                (record.checkpoint, record.rest.failure) = (position.get(), None);
                self.store_record(projection, &record)?;
                self.projecting = Some(projection.clone());
            }
            ProjectionOperation::SetRebuildCheckpoint { projection, expected, position } => {
                let mut record = self.record(projection)?;
                check(*expected, record.rest.rebuild.ok_or_else(no_rebuild)?)?;
                record.rest.rebuild = Some(*position);
                self.store_record(projection, &record)?;
                self.projecting = Some(projection.clone());
            }
            ProjectionOperation::RecordFailure { projection, failure } => {
                let mut record = self.record_or_new(projection)?;
                (record.rest.failure, record.rest.rebuild_requested) = (Some(failure.clone()), false);
                self.store_record(projection, &record)?;
            }
            ProjectionOperation::AddDeadLetter { projection, letter } => {
                let record = self.record_or_new(projection)?;
                self.store_record(projection, &record)?;
                store_letter(&self.connection, projection, letter).written()?;
            }
            ProjectionOperation::RemoveDeadLetter { projection, position } => {
                let sql = "DELETE FROM dead_letter WHERE projection = ?1 AND position = ?2";
                let key = (&**projection, to_sql(position.get()));
                self.connection.prepare_cached(sql).and_then(|mut remove| remove.execute(key)).written()?;
                self.touched_projections.push(projection.clone());
            }
            ProjectionOperation::RequestRebuild { projection } => {
                let mut record = self.record(projection)?;
                check_owns(&record)?;
                record.rest.rebuild_requested = true;
                self.store_record(projection, &record)?;
            }
            ProjectionOperation::BeginRebuild { projection } => self.begin_rebuild(projection)?,
            ProjectionOperation::FinishRebuild { projection, expected, rebuilt } => {
                self.finish_rebuild(projection, *expected, *rebuilt)?;
            }
            ProjectionOperation::AbandonRebuild { projection, rebuilt } => {
                let mut record = self.record(projection)?;
                check(*rebuilt, record.rest.rebuild.ok_or_else(no_rebuild)?)?;
                self.drop_copies(&record)?;
                record.rest.rebuild = None;
                self.store_record(projection, &record)?;
            }
            ProjectionOperation::Drop { projection } => self.drop_projection(projection)?,
        }
        Ok(Outcome::Done)
    }

    fn record(&self, projection: &Arc<str>) -> Result<Record> {
        Record::find(&self.connection, projection)?
            .ok_or_else(|| Error::new(ErrorKind::NotFound).with("projection", &**projection))
    }

    fn record_or_new(&self, projection: &Arc<str>) -> Result<Record> {
        Ok(Record::find(&self.connection, projection)?.unwrap_or_else(|| Record::new(projection)))
    }

    fn store_record(&mut self, projection: &Arc<str>, record: &Record) -> Result<(), Failure> {
        record.store(&self.connection).written()?;
        self.touched_projections.push(projection.clone());
        Ok(())
    }

    fn register(
        &mut self,
        projection: &Arc<str>,
        log: &Arc<str>,
        query: &Query,
        owns: &[String],
    ) -> Result<(), Failure> {
        let old = self.record_or_new(projection)?;
        if old.log.as_deref().is_some_and(|known| known != &**log) {
            let reason = format!("it reads log `{}`", old.log.as_deref().unwrap_or_default());
            return Err(Error::invalid("log", reason).with("projection", &**projection).into());
        }
        let mut new = old.clone();
        new.log = Some(log.to_string());
        (new.rest.query, new.rest.owns) = (vec![query.clone()], owns.to_vec());
        for name in old.rest.owns.iter().filter(|name| !owns.contains(name)) {
            self.set_owner(&name.as_str().into(), None)?;
        }
        for name in owns {
            self.set_owner(&name.as_str().into(), Some(projection))?;
        }
        if new != old {
            self.store_record(projection, &new)?;
        }
        Ok(())
    }

    fn begin_rebuild(&mut self, projection: &Arc<str>) -> Result<(), Failure> {
        let mut record = self.record(projection)?;
        check_owns(&record)?;
        record.rest.rebuild = Some(Position::START);
        for name in &record.rest.owns {
            self.begin_copy(&name.as_str().into(), projection)?;
        }
        self.store_record(projection, &record)
    }

    fn finish_rebuild(
        &mut self,
        projection: &Arc<str>,
        expected: Position,
        rebuilt: Position,
    ) -> Result<(), Failure> {
        let mut record = self.record(projection)?;
        check(expected, Position::new(record.checkpoint))?;
        check(rebuilt, record.rest.rebuild.ok_or_else(no_rebuild)?)?;
        record.checkpoint = rebuilt.get();
        record.rest.rebuilds += 1;
        (record.rest.rebuild, record.rest.rebuild_requested, record.rest.failure) = (None, false, None);
        for name in &record.rest.owns {
            self.take_copy_over(&name.as_str().into())?;
        }
        self.store_record(projection, &record)
    }

    /// Drops what a rebuild that is under way has filled so far.
    fn drop_copies(&mut self, record: &Record) -> Result<(), Failure> {
        if record.rest.rebuild.is_some() {
            for name in &record.rest.owns {
                self.drop_copy(name)?;
            }
        }
        Ok(())
    }

    fn drop_projection(&mut self, projection: &Arc<str>) -> Result<(), Failure> {
        let Some(record) = Record::find(&self.connection, projection)? else { return Ok(()) };
        self.drop_copies(&record)?;
        for name in &record.rest.owns {
            self.set_owner(&name.as_str().into(), None)?;
        }
        for sql in ["DELETE FROM projection WHERE name = ?1", "DELETE FROM dead_letter WHERE projection = ?1"]
        {
            self.connection.execute(sql, [&**projection]).written()?;
        }
        self.touched_projections.push(projection.clone());
        Ok(())
    }

    /// Refuses to hide events through this position, if a projection that reads the log has not come so far.
    pub(super) fn check_projections(&self, log: &str, last: u64) -> Result<()> {
        let sql =
            "SELECT name, log, checkpoint, rest, checksum FROM projection WHERE log = ?1 AND checkpoint < ?2
                   ORDER BY name LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((log, to_sql(last)))?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let behind = Record::read(row)?;
        let checkpoint = Position::new(behind.checkpoint);
        Err(Error::new(ErrorKind::ProjectionBehind { projection: behind.name, checkpoint })
            .with_hint("let it catch up, or force it: the projection will be told that history is missing"))
    }
}

fn check_owns(record: &Record) -> Result<()> {
    if record.rest.owns.is_empty() {
        return Err(Error::invalid("projection", "it owns no QueryDb, so there is nothing to rebuild"));
    }
    Ok(())
}

fn no_rebuild() -> Error {
    Error::new(ErrorKind::Conflict { expected: 1, actual: 0 }).with("rebuild", "none is under way")
}

fn store_letter(connection: &Connection, projection: &str, letter: &DeadLetter) -> Result<()> {
    let text = serde_json::to_string(letter).expect("it is plain data");
    let position = to_sql(letter.position.get());
    let sum = checksum(projection, None, position, &text);
    let sql =
        "INSERT OR REPLACE INTO dead_letter (projection, position, letter, checksum) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute((projection, position, text, sum))?;
    Ok(())
}
