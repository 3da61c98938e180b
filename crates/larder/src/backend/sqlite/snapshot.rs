//! Snapshots: one row each, found by its place.

#[cfg(test)]
mod plans;

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Row, types::ValueRef};

use super::{
    place::{from_sql, to_sql},
    shared::Shared,
    writer::{Failure, Writer, Written},
};
use crate::{
    backend::{
        Finding, Outcome, SnapshotData, SnapshotOperation, SnapshotOutcome, SnapshotPages, SnapshotRead,
        SnapshotSource, SnapshotStats, SnapshotsRead, StoredSnapshot, Taken, VerifyReport, container_digest,
        snapshot_checksum as checksum,
    },
    clock::micros_since_epoch,
    codec::Place,
    error::{Error, Result},
    snapshot::{SnapshotPlace, SnapshotSaved, Subject},
};

/// The columns that [`read`] expects, in its order.
macro_rules! columns {
    () => {
        "log, kind, subject, at, schema, recorded_at, checksum, state"
    };
}

const UPSERT: &str = concat!(
    "INSERT INTO snapshot (",
    columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
     ON CONFLICT (log, kind, subject, at) DO UPDATE SET schema = excluded.schema,
       recorded_at = excluded.recorded_at, checksum = excluded.checksum, state = excluded.state"
);
const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM snapshot WHERE log = ?1 AND kind = ?2 AND subject = ?3 AND at < ?4
        AND (?5 IS NULL OR schema = ?5) ORDER BY at DESC LIMIT 1"
);
const EXACTLY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM snapshot WHERE log = ?1 AND kind = ?2 AND subject = ?3 AND at = ?4"
);
const DELETE: &str =
    "DELETE FROM snapshot WHERE log = ?1 AND kind = ?2 AND subject = ?3 AND at <= ?4 AND at <> ?5";
/// The newest of a subject that is too many.
const TOO_MANY: &str = "SELECT at FROM snapshot WHERE log = ?1 AND kind = ?2 AND subject = ?3 ORDER BY at DESC LIMIT 1 OFFSET ?4";
const ASCENDING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM snapshot WHERE (log, kind, subject, at) > (?1, ?2, ?3, ?4) ORDER BY log, kind, subject, at"
);
const DESCENDING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM snapshot WHERE (log, kind, subject, at) < (?1, ?2, ?3, ?4)
        ORDER BY log DESC, kind DESC, subject DESC, at DESC"
);

/// No place is 0: as what to leave out, it leaves out nothing.
const NO_PLACE: i64 = 0;

/// What happened to the removal of old snapshots; it must never fail a save.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    /// A failed removal took the transaction with it: it is run again, without removing.
    pub failed: bool,
    pub off: bool,
}

/// A snapshot from its row, its checksum compared.
fn read(row: &Row<'_>) -> Result<StoredSnapshot> {
    let text = |column| -> Result<Option<&str>> {
        match row.get_ref(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(text) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|_| Error::corrupted("a snapshot's name that is not UTF-8")),
            _ => Err(Error::corrupted("a snapshot's name that is not text")),
        }
    };
    let name = |column| text(column)?.ok_or_else(|| Error::corrupted("a snapshot without a name"));
    let subject = Subject::of_kind(name(1)?, name(2)?.to_owned())
        .ok_or_else(|| Error::corrupted("a snapshot of an unknown kind"))?;
    let data = SnapshotData {
        log: name(0)?.into(),
        subject,
        at: from_sql(row.get(3)?)?,
        schema: text(4)?.map(str::to_owned),
        container: row.get(7)?,
    };
    let recorded_at = SystemTime::UNIX_EPOCH + Duration::from_micros(from_sql(row.get(5)?)?);
    let snapshot = StoredSnapshot { data, recorded_at };
    let checksum = u32::try_from(from_sql(row.get(6)?)?);
    snapshot.check(checksum.map_err(|_| Error::corrupted("a checksum of more than 32 bits"))?)?;
    Ok(snapshot)
}

/// The place that a row says, whatever else of it is damaged.
fn place_of(row: &Row<'_>) -> Option<SnapshotPlace> {
    let (log, kind): (String, String) = (row.get(0).ok()?, row.get(1).ok()?);
    let subject = Subject::of_kind(&kind, row.get(2).ok()?)?;
    Some(SnapshotPlace { log: log.into(), subject, at: from_sql(row.get(3).ok()?).ok()? })
}

/// The newest snapshot that fits.
pub(super) fn find(shared: &Shared, request: &SnapshotRead) -> Result<Option<StoredSnapshot>> {
    let SnapshotRead { log, subject, before, schema } = request;
    shared.pool.read(|connection| {
        let mut statement = connection.prepare_cached(FIND)?;
        let before = to_sql(before.unwrap_or(u64::MAX));
        let mut rows =
            statement.query((&**log, subject.kind(), subject.name(), before, schema.as_deref()))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let found = read(row)?;
        let data = &found.data;
        if data.log != *log || data.subject != *subject || (schema.is_some() && data.schema != *schema) {
            return Err(Error::corrupted("an index that leads to another snapshot"));
        }
        Ok(Some(found))
    })
}

/// The snapshot at a place.
fn exactly(connection: &Connection, place: &SnapshotPlace) -> Result<Option<StoredSnapshot>> {
    let mut statement = connection.prepare_cached(EXACTLY)?;
    let SnapshotPlace { log, subject, at } = place;
    let mut rows = statement.query((&**log, subject.kind(), subject.name(), to_sql(*at)))?;
    rows.next()?.map(read).transpose()
}

/// Log, kind, subject and place, as the index has them.
type Bound = (String, String, String, i64);

/// Places below and above all that are meant.
fn bounds(source: &SnapshotSource) -> (Bound, Bound) {
    // Above every name: log names are ASCII, and `stream` is the last kind.
    const ABOVE: &str = "~";
    let bound = |log: &str, kind: &str, subject: &str, at| (log.into(), kind.into(), subject.into(), at);
    match source {
        SnapshotSource::Store => (bound("", "", "", 0), bound(ABOVE, "", "", 0)),
        SnapshotSource::Log(log) => (bound(log, "", "", 0), bound(log, ABOVE, "", 0)),
        SnapshotSource::Subject(log, subject) => {
            let (kind, name) = (subject.kind(), subject.name());
            (bound(log, kind, name, 0), bound(log, kind, name, i64::MAX))
        }
    }
}

/// A page of snapshots.
pub(super) fn page<T: Taken>(
    shared: &Shared,
    request: &SnapshotsRead,
) -> Result<(Vec<T>, Option<SnapshotPlace>, Vec<Finding>)> {
    let after = request.after.as_ref();
    let place = |place: &SnapshotPlace| {
        let SnapshotPlace { log, subject, at } = place;
        (log.to_string(), subject.kind().to_owned(), subject.name().to_owned(), to_sql(*at))
    };
    let (start, end) = bounds(&request.source);
    let (sql, bound) = match (after.map(place), request.descending) {
        (None, true) => (DESCENDING, end),
        (Some(after), true) => (DESCENDING, after.min(end)),
        (None, false) => (ASCENDING, start),
        (Some(after), false) => (ASCENDING, after.max(start)),
    };
    shared.pool.read(|connection| {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(bound)?;
        let mut pages = SnapshotPages::new(request, &shared.limits);
        while let Some(row) = rows.next()? {
            let (place, snapshot) = (place_of(row), read(row));
            let is_beyond = place.as_ref().is_some_and(|place| !request.source.holds(place));
            if is_beyond || !pages.has_room()? {
                break;
            }
            pages.push(place, snapshot)?;
        }
        Ok(pages.into_parts())
    })
}

impl Writer {
    pub(super) fn change_snapshots(&mut self, operation: &SnapshotOperation) -> Result<Outcome, Failure> {
        let outcome = match operation {
            SnapshotOperation::Save { snapshot, keep } => {
                self.upsert(snapshot, self.now, &snapshot.container).written()?;
                SnapshotOutcome::Saved(SnapshotSaved::new(self.prune(&snapshot.place(), *keep)?))
            }
            SnapshotOperation::Delete { log, subject, through } => {
                let place = SnapshotPlace { log: log.clone(), subject: subject.clone(), at: *through };
                SnapshotOutcome::Deleted(self.delete_through(&place, NO_PLACE).written()?)
            }
            SnapshotOperation::Replace { place, digest, container } => {
                let found = exactly(&self.connection, place)?;
                let same = found.filter(|found| container_digest(&found.data.container) == *digest);
                if let Some(StoredSnapshot { data, recorded_at }) = &same {
                    self.upsert(data, micros_since_epoch(*recorded_at), container).written()?;
                }
                SnapshotOutcome::Replaced(same.is_some())
            }
            SnapshotOperation::Restore(snapshot) => {
                let place = snapshot.data.place();
                match exactly(&self.connection, &place)? {
                    Some(found) if found == *snapshot => {}
                    Some(_) => {
                        let refused = Error::invalid("import", "a snapshot is there already");
                        return Err(place.name_in(refused).into());
                    }
                    None => {
                        let recorded_at = micros_since_epoch(snapshot.recorded_at);
                        self.upsert(&snapshot.data, recorded_at, &snapshot.data.container).written()?;
                    }
                }
                return Ok(Outcome::Done);
            }
        };
        Ok(Outcome::Snapshot(outcome))
    }

    /// Writes a snapshot with this container.
    fn upsert(&self, data: &SnapshotData, recorded_at: u64, container: &[u8]) -> rusqlite::Result<()> {
        let SnapshotData { log, subject, at, schema, .. } = data;
        let place = Place { log, subject, at: *at, schema: schema.as_deref() };
        self.connection.prepare_cached(UPSERT)?.execute((
            &**log,
            subject.kind(),
            subject.name(),
            to_sql(*at),
            schema.as_deref(),
            to_sql(recorded_at),
            checksum(&place, recorded_at, container),
            container,
        ))?;
        Ok(())
    }

    /// Deletes those of a subject through a place, all but the one at another.
    fn delete_through(&self, place: &SnapshotPlace, but: i64) -> rusqlite::Result<u64> {
        let SnapshotPlace { log, subject, at } = place;
        let mut delete = self.connection.prepare_cached(DELETE)?;
        let deleted = delete.execute((&**log, subject.kind(), subject.name(), to_sql(*at), but))?;
        Ok(deleted as u64)
    }

    /// Removes all but the newest of a subject, and the one that was saved. What goes wrong is taken back and told,
    /// and the save stands.
    fn prune(&mut self, saved: &SnapshotPlace, keep: u64) -> Result<u64, Failure> {
        if keep == 0 || self.pruning.off {
            return Ok(0);
        }
        let error = match self.too_many(saved, keep) {
            Ok(None) => return Ok(0),
            Ok(Some(through)) => match self.delete_or_take_back(saved, through) {
                Ok(Ok(pruned)) => return Ok(pruned),
                Ok(Err(error)) => error.into(),
                Err(error) => {
                    self.pruning.failed = true;
                    return Err(Failure::Broken(error.into()));
                }
            },
            Err(error) => error,
        };
        tracing::warn!(%error, log = %saved.log, subject = %saved.subject, "old snapshots could not be removed");
        Ok(0)
    }

    /// Deletes those through a place but the one that was saved, or what went wrong, taken back; the outer error is that
    /// of a transaction that cannot go on.
    fn delete_or_take_back(
        &self,
        saved: &SnapshotPlace,
        through: u64,
    ) -> rusqlite::Result<rusqlite::Result<u64>> {
        self.run("SAVEPOINT prune")?;
        let deleted = self.delete_through(&SnapshotPlace { at: through, ..saved.clone() }, to_sql(saved.at));
        if deleted.is_err() {
            self.run("ROLLBACK TO prune")?;
        }
        self.run("RELEASE prune")?;
        Ok(deleted)
    }

    /// The newest of those beyond the newest `keep`.
    fn too_many(&self, saved: &SnapshotPlace, keep: u64) -> Result<Option<u64>> {
        let SnapshotPlace { log, subject, .. } = saved;
        let mut statement = self.connection.prepare_cached(TOO_MANY)?;
        let mut rows = statement.query((&**log, subject.kind(), subject.name(), to_sql(keep)))?;
        rows.next()?.map(|row| from_sql(row.get(0)?)).transpose()
    }

    pub(super) fn drop_snapshots(&self, log: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM snapshot WHERE log = ?1")?.execute([log]).map(drop)
    }
}

pub(super) fn stats(connection: &Connection) -> Result<SnapshotStats> {
    let sql = "SELECT count(*), coalesce(sum(length(state)), 0),
                 (SELECT count(*) FROM (SELECT DISTINCT log, kind, subject FROM snapshot)) FROM snapshot";
    let (snapshots, bytes, subjects): (i64, i64, i64) =
        connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(SnapshotStats::new(from_sql(snapshots)?, from_sql(subjects)?, from_sql(bytes)?))
}

/// Recomputes every checksum. The index is compared with its table by SQLite's own check.
pub(super) fn verify(connection: &Connection, report: &mut VerifyReport) -> Result<()> {
    let sql = concat!("SELECT ", columns!(), " FROM snapshot ORDER BY snapshot");
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(()),
            Err(error) => {
                report.find(Finding { log: None, position: None, problem: Error::from(error).to_string() });
                return Ok(());
            }
        };
        report.snapshots += 1;
        if let Err(error) = read(row) {
            let log = row.get(0).ok();
            report.find(Finding { log, position: None, problem: error.to_string() });
        }
    }
}
