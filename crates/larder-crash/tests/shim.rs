//! The shim and the disk model on plain SQLite, where the answers are known: with `synchronous=FULL` a
//! committed row survives every crash, with swallowed syncs it does not.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic too")]

use std::{ffi::c_int, sync::Arc};

use larder_crash::{
    Random,
    image::{Disk, Loss, write_image},
    scratch,
    trace::{Recorder, Syncs, Trace},
    vfs::{Action, DiskCall, Observer, Shim},
};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

const ROWS: i64 = 60;

/// Commits rows through the recorder; with each point of the trace, how many rows were committed there.
fn record(syncs: Syncs) -> (Trace, Vec<usize>) {
    let recorder = Arc::new(Recorder::new(syncs));
    let shim = Shim::register("shim-test", recorder.clone());
    let directory = scratch().unwrap();
    let path = directory.path().join("plain.db");
    let mut committed_at = Vec::new();
    let open = || {
        let connection =
            Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), shim.name()).unwrap();
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        connection.pragma_update(None, "synchronous", "full").unwrap();
        connection
    };
    let mut connection = open();
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, pad TEXT)", []).unwrap();
    for n in 1..=ROWS {
        connection.execute("INSERT INTO t VALUES (?1, ?2)", (n, "x".repeat(700))).unwrap();
        committed_at.push(recorder.mark());
        match n % 15 {
            5 => connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap(),
            10 => connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap(),
            14 => {
                drop(connection);
                connection = open();
            }
            _ => {}
        }
    }
    drop(connection);
    (recorder.take(), committed_at)
}

/// How many images were opened, and in how many of them a committed row was missing or the file broken.
fn crash(trace: &Trace, committed_at: &[usize]) -> (u32, u32) {
    let mut disk = Disk::default();
    let (mut images, mut losses) = (0, 0);
    for (number, entry) in trace.entries.iter().enumerate() {
        disk.apply(number, entry);
        let point = number + 1;
        let committed = committed_at.partition_point(|at| *at <= point);
        for (variant, loss) in Loss::ALL.into_iter().enumerate() {
            let mut random = Random::of(7, (point * 4 + variant) as u64);
            let image = disk.image(loss, &mut random);
            images += 1;
            losses += u32::from(!survives(trace, &image, committed));
        }
    }
    (images, losses)
}

fn survives(trace: &Trace, image: &std::collections::BTreeMap<usize, Vec<u8>>, committed: usize) -> bool {
    let directory = scratch().unwrap();
    write_image(trace, image, directory.path()).unwrap();
    let connection = Connection::open(directory.path().join("plain.db")).unwrap();
    let intact = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    if intact.as_deref() != Ok("ok") {
        return false;
    }
    let count = connection.query_row("SELECT count(*), coalesce(max(n), 0) FROM t", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    // Rows are committed one by one, so what is there has no holes.
    match count {
        Ok((count, highest)) => count == highest && count >= committed as i64,
        Err(_) => committed == 0,
    }
}

#[test]
fn plain_sqlite_with_full_syncs_survives_every_image() {
    let (trace, committed_at) = record(Syncs::Recorded);
    let (images, losses) = crash(&trace, &committed_at);
    assert_eq!(losses, 0, "of {images} images");
    assert!(images > 500, "only {images} images");
}

#[test]
fn plain_sqlite_without_syncs_loses_data() {
    let (trace, committed_at) = record(Syncs::Swallowed);
    let (images, losses) = crash(&trace, &committed_at);
    assert!(losses > images / 10, "only {losses} of {images} images");
}

/// Fails every write to a file, with one code.
struct NoWrites(c_int);

impl Observer for NoWrites {
    fn call(&self, call: DiskCall<'_>, perform: &mut dyn FnMut() -> c_int) -> c_int {
        if let Action::Write { .. } = call.action { self.0 } else { perform() }
    }
}

#[test]
fn an_observer_can_fail_calls() {
    for (code, expected) in
        [(ffi::SQLITE_FULL, ErrorCode::DiskFull), (ffi::SQLITE_IOERR_WRITE, ErrorCode::SystemIoFailure)]
    {
        let shim = Shim::register("shim-test", Arc::new(NoWrites(code)));
        let directory = scratch().unwrap();
        let path = directory.path().join("plain.db");
        let connection =
            Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), shim.name()).unwrap();
        let error = connection.execute("CREATE TABLE t (n)", []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(expected));
    }
}

#[test]
fn a_connection_outlives_its_shim() {
    let shim = Shim::register("shim-test", Arc::new(NoWrites(ffi::SQLITE_FULL)));
    let directory = scratch().unwrap();
    let path = directory.path().join("plain.db");
    let connection = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), shim.name()).unwrap();
    drop(shim);
    connection.execute("CREATE TABLE t (n)", []).unwrap();
}
