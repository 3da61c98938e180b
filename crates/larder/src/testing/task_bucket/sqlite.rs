//! What only files and processes show: fl_02 and tb_03.

use std::{sync::Arc, time::Duration};

use super::{Told, bucket, commit, on_a_thread, until};
use crate::{
    backend::{TaskBucketOperation, TaskBucketRow, TriggerRow, TriggerState},
    error::ErrorKind,
    store::Store,
    task_bucket::{TaskKind, WorkOptions},
    testing::{
        clock::ManualClock,
        fixture::Fixture,
        process,
        support::{CaseResult, backend, refused},
    },
};

/// Runs SQL on the fixture's file, with no store open.
fn alter(fixture: &dyn Fixture, sql: &str) -> CaseResult {
    let config = fixture.config().ok_or("a fixture with a file")?;
    let crate::BackendConfig::Sqlite(sqlite) = &config.backend else { return Err("a file".into()) };
    let connection = rusqlite::Connection::open(&sqlite.path)?;
    assert!(connection.execute(sql, [])? > 0, "nothing was altered: {sql}");
    Ok(())
}

pub(in crate::testing) fn fl_02_an_altered_object_is_never_data(fixture: &dyn Fixture) -> CaseResult {
    let alterations = [
        "UPDATE task_object SET bytes = x'00'",
        "UPDATE task_object SET content_type = 'other'",
        "UPDATE task_object SET version = version + 1",
        "UPDATE task_object SET recorded_at = recorded_at + 1",
        "UPDATE task_object SET bytes_checksum = 0",
        "UPDATE task_object SET key = 'b'",
    ];
    for sql in alterations {
        let store = fixture.store()?;
        let bucket = bucket(&store)?;
        bucket.put("a", "text").wait()?;
        bucket.delete("b").wait()?;
        store.close().wait()?;
        alter(fixture, sql)?;
        let store = fixture.store()?;
        let bucket = super::bucket(&store)?;
        let key = if sql.contains("'b'") { "b" } else { "a" };
        refused!(bucket.get(key).wait(), ErrorKind::Corrupted);
        let report = store.verify(crate::Progress::default()).wait()?;
        assert!(!report.is_sound(), "{sql}");
        store.close().wait()?;
        alter(fixture, "DELETE FROM task_object")?;
        alter(fixture, "DELETE FROM task_trigger")?;
    }
    Ok(())
}

pub(in crate::testing) fn fl_02_an_altered_trigger_is_found(fixture: &dyn Fixture) -> CaseResult {
    let columns =
        ["kind = 2", "key = 'z'", "version = 9", "due_at = 1", "attempts = 1", "claims = 7", "error = 'e'"];
    for column in columns {
        let store = fixture.store()?;
        bucket(&store)?.put("a", "text").wait()?;
        assert!(store.verify(crate::Progress::default()).wait()?.is_sound());
        store.close().wait()?;
        alter(fixture, &format!("UPDATE task_trigger SET {column}"))?;
        let store = fixture.store()?;
        let report = store.verify(crate::Progress::default()).wait()?;
        assert!(!report.is_sound(), "{column}");
        let options = WorkOptions { once: true, ..WorkOptions::default() };
        refused!(bucket(&store)?.work(options, |_| async { Ok(()) }).wait(), ErrorKind::Corrupted);
        store.close().wait()?;
        alter(fixture, "DELETE FROM task_trigger")?;
    }
    Ok(())
}

pub(in crate::testing) fn tb_03_a_corrupted_object_is_a_failed_attempt(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    bucket(&store)?.put("a", "text").wait()?;
    bucket(&store)?.put("b", "text").wait()?;
    store.close().wait()?;
    alter(fixture, "UPDATE task_object SET bytes = x'00' WHERE key = 'a'")?;
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    let told = Told::default();
    let tell = told.clone();
    let options = WorkOptions { once: true, max_attempts: 1, ..WorkOptions::default() };
    let work = bucket.work(options, move |task| {
        tell.tell(task.key);
        async { Ok(()) }
    });
    work.wait()?;
    assert_eq!(told.lines(), ["b"]);
    let letters = bucket.dead_letters().wait()?.items;
    assert!(letters.len() == 1 && letters[0].error.contains("corrupted"), "{letters:?}");
    Ok(())
}

/// An import takes several commits, and the watcher may look between them.
pub(in crate::testing) fn fm_03_an_import_by_another_process_is_handled(fixture: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("importer") {
        return import_into(&path);
    }
    let store = fixture.store()?;
    let config = fixture.config().ok_or("a fixture with a file")?;
    let crate::BackendConfig::Sqlite(sqlite) = &config.backend else { return Err("a file".into()) };
    let told = Told::default();
    let tell = told.clone();
    let work = on_a_thread(bucket(&store)?.work(WorkOptions::default(), move |task| {
        tell.tell(task.key);
        async { Ok(()) }
    }));
    let mut importer = process::start("importer", &sqlite.path)?;
    assert_eq!(importer.hear()?, "begun");
    std::thread::sleep(3 * sqlite.poll_interval);
    importer.tell("go on")?;
    importer.finish()?;
    until("the task", || told.lines() == ["a"])?;
    store.close().wait()?;
    until("the end", || work.is_finished())?;
    Ok(())
}

fn import_into(path: &std::path::Path) -> CaseResult {
    let store = Store::open(crate::Config::sqlite(path)).wait()?;
    let backend = backend(&store)?;
    let restore = |rows| commit(&backend, TaskBucketOperation::Restore { bucket: "mails".into(), rows });
    let counter = 2;
    restore(vec![TaskBucketRow::Begin { counter }])?;
    process::say("begun");
    process::listen();
    let (key, kind, state) = ("a".into(), TaskKind::ObjectCreated, TriggerState::Behind);
    let (trigger, version, due_at) = (2, 1, 0);
    let row = TriggerRow {
        trigger,
        kind,
        key,
        version,
        state,
        due_at,
        attempts: 0,
        claims: 0,
        holder: 0,
        error: None,
    };
    restore(vec![TaskBucketRow::Trigger(row), TaskBucketRow::End { counter }])?;
    store.close().wait()?;
    process::done()
}

/// Its own instance of the store never hears of the puts: it has to look at the file.
pub(in crate::testing) fn tb_03_puts_of_another_process_are_handled(fixture: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("putter") {
        return put_into(&path);
    }
    let store = fixture.store()?;
    let config = fixture.config().ok_or("a fixture with a file")?;
    let crate::BackendConfig::Sqlite(sqlite) = &config.backend else { return Err("a file".into()) };
    let told = Told::default();
    let tell = told.clone();
    let work = on_a_thread(bucket(&store)?.work(WorkOptions::default(), move |task| {
        tell.tell(task.key);
        async { Ok(()) }
    }));
    let mut putter = process::start("putter", &sqlite.path)?;
    assert_eq!(putter.hear()?, "put");
    until("the task", || told.lines() == ["a"])?;
    putter.tell("go on")?;
    assert_eq!(putter.hear()?, "put");
    std::thread::sleep(2 * sqlite.poll_interval);
    assert_eq!(told.lines(), ["a"], "handled before its time");
    fixture.clock().advance(Duration::from_secs(5));
    until("the second task", || told.lines() == ["a", "b"])?;
    putter.finish()?;
    store.close().wait()?;
    until("the end", || work.is_finished())?;
    Ok(())
}

/// A process of its own, with a clock that began as its parent's did.
fn put_into(path: &std::path::Path) -> CaseResult {
    let clock = Arc::new(ManualClock::new());
    let store = Store::open(crate::Config::sqlite(path).clock(clock)).wait()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "x").wait()?;
    process::say("put");
    process::listen();
    bucket.put("b", "x").not_before(Duration::from_secs(5)).wait()?;
    process::say("put");
    store.close().wait()?;
    process::done()
}
