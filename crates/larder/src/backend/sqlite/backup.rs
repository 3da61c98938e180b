//! A copy of the store, by SQLite's backup API: the file is never opened by path beside SQLite.

use std::{fs::OpenOptions, io, path::Path, time::Duration};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{place::from_sql, shared::Shared};
use crate::{
    backend::Progress,
    error::{Error, ErrorKind, Result},
};

/// How many pages a step copies: a few milliseconds, after which writers and readers go on.
const STEP: i32 = 2_048;

pub(super) fn run(shared: &Shared, destination: &Path, progress: &Progress) -> Result<()> {
    claim(destination)?;
    let copied = shared.pool.read(|source| copy(source, destination, progress));
    if copied.is_err() {
        // Half a copy is of no use; that it could not be made is the error to tell.
        let _ = std::fs::remove_file(destination);
    }
    copied.map_err(|error| error.during("back up").with("destination", destination.display().to_string()))
}

/// Creates the file, so that no other one is overwritten.
fn claim(destination: &Path) -> Result<()> {
    OpenOptions::new().write(true).create_new(true).open(destination).map(drop).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::AlreadyExists {
            ErrorKind::AlreadyExists
        } else {
            ErrorKind::Io
        };
        Error::new(kind)
            .during("back up")
            .with("destination", destination.display().to_string())
            .caused_by(error)
    })
}

fn copy(source: &Connection, destination: &Path, progress: &Progress) -> Result<()> {
    let mut target = Connection::open(destination)?;
    target.pragma_update(None, "synchronous", "full")?;
    // One snapshot for the whole copy, so that commits meanwhile do not start it over.
    source.prepare_cached("BEGIN")?.execute([])?;
    source.prepare_cached("SELECT count(*) FROM log")?.query_row([], |row| row.get::<_, i64>(0))?;
    let result = steps(source, &mut target, progress);
    let ended = source.prepare_cached("ROLLBACK")?.execute([]);
    result?;
    ended?;
    target.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn steps(source: &Connection, target: &mut Connection, progress: &Progress) -> Result<()> {
    let backup = Backup::new(source, target)?;
    loop {
        let step = backup.step(STEP)?;
        let (left, total) = (backup.progress().remaining, backup.progress().pagecount);
        progress.report(from_sql((total - left).into())?, from_sql(total.into())?);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
