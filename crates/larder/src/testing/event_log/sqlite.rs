//! Cases of several processes on one SQLite file: el_11, el_16, el_18.

use std::{path::Path, time::Duration};

use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    config::Config,
    error::ErrorKind,
    event::Position,
    event_log::Expected,
    query::Query,
    store::Store,
    testing::{
        fixture::{Fixture, ScratchDir},
        process,
        support::{CaseResult, event, everything, next, none, numbered, orders, positions, refused, tagged},
    },
};

const START: Position = Position::START;

fn open(path: &Path) -> crate::Result<Store> {
    Store::open(Config::sqlite(path)).wait()
}

pub(in crate::testing) fn el_11_positions_are_not_reused_after_vacuum(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = open(&path)?;
    let log = orders(&store)?;
    log.append("kept", 0, numbered(2)).wait()?;
    let head = log.append("s", 0, numbered(5)).wait()?.last_position;
    log.compact("s", 5).wait()?;
    log.forget(head).wait()?;
    let before = everything(&log)?;
    store.close().wait()?;
    let connection = Connection::open(&path)?;
    connection.execute_batch("VACUUM")?;
    connection.close().map_err(|(_, error)| error)?;

    let store = open(&path)?;
    let log = orders(&store)?;
    assert_eq!(everything(&log)?, before, "nothing moves");
    assert!(log.append("s", 5, numbered(1)).wait()?.first_position > head);
    Ok(())
}

/// A child that does what it is told, one line at a time, on its own store.
fn obey(path: &Path) -> CaseResult {
    let store = open(path)?;
    let log = orders(&store)?;
    process::say("open");
    while let Some(line) = process::listen() {
        let answer = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["append", stream, expected] => {
                log.append(stream, expected.parse::<u64>()?, [event("Theirs").tag("theirs")]).wait().map(drop)
            }
            ["append_if", tag, after] => {
                let condition = none(tagged(tag), after.parse()?);
                log.append_if([event("Theirs").tag(tag)], condition).wait().map(drop)
            }
            ["append_id", id] => {
                let new = event("Theirs").id(Uuid::from_u128(id.parse()?));
                log.append("ids", Expected::Any, [new]).wait().map(drop)
            }
            ["compact", stream, through] => log.compact(stream, through.parse()?).wait().map(drop),
            ["drop"] => log.drop_log().wait(),
            _ => Err(crate::Error::invalid("order", line)),
        };
        process::say(answer.map_or_else(|error| error.kind().name(), |()| "ok"));
    }
    store.close().wait()?;
    process::done()
}

/// A store, and another process on the same file.
fn with_another_process(
    case: impl FnOnce(&Store, &mut dyn FnMut(&str) -> Result<String, crate::BoxError>) -> CaseResult,
) -> CaseResult {
    if let Some(path) = process::role("another") {
        return obey(&path);
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = open(&path)?;
    let mut child = process::start("another", &path)?;
    assert_eq!(child.hear()?, "open");
    case(&store, &mut |order| {
        child.tell(order)?;
        child.hear()
    })?;
    child.finish()?;
    assert_eq!(store.verify(crate::backend::Progress::default()).wait()?.findings, []);
    Ok(())
}

pub(in crate::testing) fn el_18_live_subscribers_hear_another_process(_: &dyn Fixture) -> CaseResult {
    with_another_process(|store, order| {
        let log = orders(store)?;
        let mut live = log.subscribe(Query::all());
        assert!(live.try_next().wait_timeout(Duration::from_millis(50)).is_none());
        for n in 0..5 {
            assert_eq!(order(&format!("append s {n}"))?, "ok");
            // The default interval is 250 ms; the rest is for a busy machine.
            let heard = live.try_next().wait_timeout(Duration::from_secs(5));
            let heard = heard.ok_or("it was not heard in time")??.ok_or("it ended")?;
            assert_eq!((heard.seq_nr, heard.event_type.as_str()), (n + 1, "Theirs"));
        }
        Ok(())
    })
}

pub(in crate::testing) fn el_18_ours_and_theirs_in_one_order(_: &dyn Fixture) -> CaseResult {
    with_another_process(|store, order| {
        let log = orders(store)?;
        let mut live = log.subscribe(tagged("theirs"));
        let (mut own, mut theirs) = (0, 0);
        for n in 0..20 {
            if n % 3 == 0 {
                log.append("ours", own, [event("Ours").tag("theirs")]).wait()?;
                own += 1;
            } else {
                assert_eq!(order(&format!("append theirs {theirs}"))?, "ok");
                theirs += 1;
            }
        }
        let heard: Vec<u64> =
            (0..20).map(|_| Ok(next(&mut live)?.position.get())).collect::<Result<_, crate::BoxError>>()?;
        assert_eq!(heard, positions(&log.query(Query::all()).wait()?));
        Ok(())
    })
}

pub(in crate::testing) fn el_16_another_process_is_seen_by_every_guard(_: &dyn Fixture) -> CaseResult {
    with_another_process(|store, order| {
        let log = orders(store)?;
        for round in 0..10 {
            // Their write makes ours stale, and ours theirs: in streams, conditions and ids.
            assert_eq!(order(&format!("append s {}", 2 * round))?, "ok");
            refused!(log.append("s", 2 * round, numbered(1)).wait(), ErrorKind::Conflict { .. });
            log.append("s", 2 * round + 1, numbered(1)).wait()?;
            assert_eq!(order(&format!("append s {}", 2 * round + 1))?, "Conflict");

            let (ours, theirs) = (format!("ours{round}"), format!("theirs{round}"));
            assert_eq!(order(&format!("append_if {theirs} 0"))?, "ok");
            let result = log.append_if([event("A")], none(tagged(&theirs), START)).wait();
            refused!(result, ErrorKind::ConditionFailed { .. });
            log.append_if([event("A").tag(&ours)], none(tagged(&ours), START)).wait()?;
            assert_eq!(order(&format!("append_if {ours} 0"))?, "ConditionFailed");

            let id = Uuid::from_u128(u128::from(round));
            assert_eq!(order(&format!("append_id {round}"))?, "ok");
            let result = log.append("other", Expected::Any, [event("A").id(id)]).wait();
            refused!(result, ErrorKind::AlreadyExists);
        }
        assert_eq!(log.head("s").wait()?, 20);
        Ok(())
    })
}

pub(in crate::testing) fn el_16_another_process_compacts_and_drops(_: &dyn Fixture) -> CaseResult {
    with_another_process(|store, order| {
        let log = orders(store)?;
        let head = log.append("s", 0, numbered(5)).wait()?.last_position;
        assert_eq!(order("compact s 3")?, "ok");
        assert_eq!(log.read("s", ..).wait()?.items.len(), 2);
        assert_eq!(log.append("s", 5, numbered(1)).wait()?.last_seq_nr, 6);
        assert_eq!(order("append s 6")?, "ok");
        assert_eq!(order("drop")?, "ok");
        assert_eq!((log.head("s").wait()?, everything(&log)?.len()), (0, 0));
        let appended = log.append("s", 0, numbered(1)).wait()?;
        assert!(appended.last_position.get() > head.get() + 2 && appended.last_seq_nr == 1);
        assert_eq!(order("append s 1")?, "ok");
        assert_eq!(log.head("s").wait()?, 2);
        Ok(())
    })
}

pub(in crate::testing) fn el_16_one_process_wins_each_stream(_: &dyn Fixture) -> CaseResult {
    const ROUNDS: u64 = 40;
    if let Some(path) = process::role("rival") {
        let store = open(&path)?;
        let log = orders(&store)?;
        process::say("ready");
        process::listen();
        let mut won = 0;
        for round in 0..ROUNDS {
            match log.append(format!("s{round}"), 0, [event("A")]).wait() {
                Ok(_) => won += 1,
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        store.close().wait()?;
        process::say(&won.to_string());
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = open(&path)?;
    let mut rivals = [process::start("rival", &path)?, process::start("rival", &path)?];
    for rival in &mut rivals {
        assert_eq!(rival.hear()?, "ready");
    }
    for rival in &mut rivals {
        rival.tell("go")?;
    }
    let mut won = 0;
    for mut rival in rivals {
        won += rival.hear()?.parse::<u64>()?;
        rival.finish()?;
    }
    assert_eq!(won, ROUNDS, "one winner for each");
    assert_eq!(everything(&orders(&store)?)?.len() as u64, ROUNDS);
    Ok(())
}

pub(in crate::testing) fn el_16_processes_that_always_write_yield(_: &dyn Fixture) -> CaseResult {
    const EACH: u64 = 200;
    if let Some(path) = process::role("busy") {
        let store = open(&path)?;
        let log = orders(&store)?;
        process::say("ready");
        let stream = process::listen().ok_or("the parent is gone")?;
        for n in 0..EACH {
            log.append(&stream, n, [event("A")]).wait()?;
        }
        store.close().wait()?;
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = open(&path)?;
    let mut children = [process::start("busy", &path)?, process::start("busy", &path)?];
    for (n, child) in children.iter_mut().enumerate() {
        assert_eq!(child.hear()?, "ready");
        child.tell(&format!("child{n}"))?;
    }
    let log = orders(&store)?;
    for n in 0..EACH {
        log.append("parent", n, [event("A")]).wait()?;
    }
    for child in children {
        child.finish()?;
    }
    assert_eq!(everything(&log)?.len() as u64, 3 * EACH, "nobody was refused");
    Ok(())
}

pub(in crate::testing) fn el_16_past_the_busy_timeout_it_is_locked(_: &dyn Fixture) -> CaseResult {
    if let Some(path) = process::role("holder") {
        let connection = Connection::open(path)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        process::say("holding");
        process::listen();
        connection.execute_batch("ROLLBACK")?;
        process::done();
    }
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path).busy_timeout(Duration::from_millis(200))).wait()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(1)).wait()?;
    let mut holder = process::start("holder", &path)?;
    assert_eq!(holder.hear()?, "holding");
    let error = refused!(log.append("s", 1, numbered(1)).wait(), ErrorKind::Locked);
    assert!(error.is_retryable());
    let mut batch = store.batch();
    batch.add(log.append("s", 1, numbered(1)));
    refused!(batch.commit().wait(), ErrorKind::Locked);
    assert_eq!((log.head("s").wait()?, everything(&log)?.len()), (1, 1), "reads go on, nothing was written");
    holder.finish()?;
    assert_eq!(log.append("s", 1, numbered(1)).wait()?.last_seq_nr, 2);
    Ok(())
}
