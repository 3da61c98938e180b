//! Cases of a SQLite file that is open elsewhere, in this process or another: cf_03, cf_05.

use std::{
    future::Future as _,
    path::PathBuf,
    pin::Pin,
    sync::mpsc,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use rusqlite::Connection;

use super::sqlite::{count, fill, url};
use crate::{
    config::Config,
    error::ErrorKind,
    query::Query,
    store::Store,
    testing::{
        fixture::{Fixture, ScratchDir},
        process,
        support::{CaseResult, next, numbered, orders, refused},
    },
};

pub(in crate::testing) fn cf_03_reset_of_a_file_in_use_is_locked(fixture: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("writer") {
        let connection = Connection::open(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        process::say("writing");
        process::listen();
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join(format!("{}.db", fixture.name()));
    fill(&path, 3)?;
    let mut writer = process::start("writer", &path)?;
    assert_eq!(writer.hear()?, "writing");
    refused!(Store::open(url(&path, "?reset&busy_timeout=100")).wait(), ErrorKind::Locked);
    writer.finish()?;
    let store = Store::open(url(&path, "")).wait()?;
    assert_eq!(count(&store)?, 3, "nothing was wiped");
    store.close().wait()?;
    let store = Store::open(url(&path, "?reset&busy_timeout=100")).wait()?;
    assert_eq!(count(&store)?, 0, "once it is free it can be");
    Ok(())
}

pub(in crate::testing) fn cf_03_reset_waits_for_an_idle_process_too(_: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("idle") {
        let store = Store::open(Config::sqlite(path)).wait()?;
        assert_eq!(count(&store)?, 3);
        process::say("idle");
        process::listen();
        assert_eq!(orders(&store)?.append("s", 3, numbered(1)).wait()?.last_seq_nr, 4);
        store.close().wait()?;
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 3)?;
    let mut idle = process::start("idle", &path)?;
    assert_eq!(idle.hear()?, "idle");
    refused!(Store::open(url(&path, "?reset&busy_timeout=100")).wait(), ErrorKind::Locked);
    idle.tell("go on")?;
    idle.finish()?;
    let store = Store::open(url(&path, "")).wait()?;
    assert_eq!(count(&store)?, 4, "nothing was wiped");
    Ok(())
}

pub(in crate::testing) fn cf_03_reset_of_what_this_process_has_open_is_locked(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = Store::open(url(&path, "")).wait()?;
    orders(&store)?.append("s", 0, numbered(2)).wait()?;
    refused!(Store::open(url(&path, "?reset&busy_timeout=100")).wait(), ErrorKind::Locked);
    assert_eq!(orders(&store)?.append("s", 2, numbered(1)).wait()?.last_seq_nr, 3);
    store.close().wait()?;
    assert_eq!(count(&Store::open(url(&path, "?reset")).wait()?)?, 0);
    Ok(())
}

pub(in crate::testing) fn cf_05_the_same_file_is_one_instance(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    // Polling could not tell of a write within the patience of this case.
    let config = |path: PathBuf| Config::sqlite(path).poll_interval(Duration::from_secs(3_600));
    let first = Store::open(config(path.clone())).wait()?;
    let second = Store::open(config(dir.path().join(".").join("store.db"))).wait()?;
    let mut live = orders(&first)?.subscribe(Query::all());
    assert!(live.try_next().wait_timeout(Duration::from_millis(20)).is_none());
    orders(&second)?.append("s", 0, numbered(1)).wait()?;
    assert_eq!(next(&mut live)?.seq_nr, 1);
    orders(&first)?.append("s", 1, numbered(1)).wait()?;
    assert_eq!(orders(&second)?.head("s").wait()?, 2);
    Ok(())
}

pub(in crate::testing) fn cf_05_closing_one_leaves_the_other(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let first = Store::open(Config::sqlite(&path)).wait()?;
    let second = Store::open(Config::sqlite(&path)).wait()?;
    let mut live = orders(&second)?.subscribe(Query::all());
    orders(&first)?.append("s", 0, numbered(1)).wait()?;
    first.close().wait()?;
    refused!(orders(&first)?.head("s").wait(), ErrorKind::Closed);
    assert_eq!(next(&mut live)?.seq_nr, 1);
    orders(&second)?.append("s", 1, numbered(1)).wait()?;
    assert_eq!(next(&mut live)?.seq_nr, 2, "it goes on");
    second.close().wait()?;
    assert!(live.try_next().wait()?.is_none());
    assert_eq!(dir.names()?, ["store.db"], "the last one cleans up");
    Ok(())
}

pub(in crate::testing) fn cf_05_dropping_does_not_wait(_: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("holder") {
        let connection = Connection::open(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        process::say("holding");
        process::listen();
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 1)?;
    let store = Store::open(Config::sqlite(&path).busy_timeout(Duration::from_secs(60))).wait()?;
    let log = orders(&store)?;
    let mut holder = process::start("holder", &path)?;
    assert_eq!(holder.hear()?, "holding");
    // A write is on its way, and cannot get on.
    let mut stuck = log.append("s", 1, numbered(1));
    let polled = Pin::new(&mut stuck).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let (dropped, heard) = mpsc::channel();
    thread::spawn(move || {
        drop((stuck, log, store));
        dropped.send(())
    });
    heard.recv_timeout(Duration::from_secs(10)).map_err(|_| "dropping the last handle waits")?;
    holder.finish()?;
    Ok(())
}

pub(in crate::testing) fn cf_05_another_process_takes_over(_: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("heir") {
        let store = Store::open(Config::sqlite(path)).wait()?;
        assert_eq!(orders(&store)?.append("s", 2, numbered(2)).wait()?.last_seq_nr, 4);
        store.close().wait()?;
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 2)?;
    process::start("heir", &path)?.finish()?;
    let store = Store::open(Config::sqlite(&path)).wait()?;
    assert_eq!(orders(&store)?.head("s").wait()?, 4);
    Ok(())
}
