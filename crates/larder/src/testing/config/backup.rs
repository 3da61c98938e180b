//! Cases of copying a store: fm_03.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::sqlite::{count, fill};
use crate::{
    backend::Progress,
    config::Config,
    error::ErrorKind,
    event_log::Expected,
    query::Query,
    store::Store,
    testing::{
        fixture::{Fixture, ScratchDir},
        support::{CaseResult, event, everything, in_parallel, numbered, orders, refused, tagged},
    },
};

pub(in crate::testing) fn fm_03_a_backup_is_the_same_store(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (path, copy) = (dir.path().join("store.db"), dir.path().join("copy.db"));
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let log = orders(&store)?;
    for n in 0..50 {
        let new = [event("A").tags(["all".to_owned(), format!("n:{n}")]).id(Uuid::from_u128(n))];
        log.append(format!("s{}", n % 5), Expected::Any, new).wait()?;
    }
    log.compact("s1", 4).wait()?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = Progress::new({
        let seen = seen.clone();
        move |done, total| seen.lock().unwrap_or_else(PoisonError::into_inner).push((done, total))
    });
    store.backup(&copy, progress).wait()?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(seen.last().is_some_and(|(done, total)| done == total), "it ends with all of it: {seen:?}");
    assert!(seen.is_sorted());

    let twin = Store::open(Config::sqlite(&copy)).wait()?;
    let same = orders(&twin)?;
    assert_eq!(everything(&same)?, everything(&log)?);
    assert_eq!(same.streams().wait()?, log.streams().wait()?);
    assert_eq!(same.query(tagged("n:7")).wait()?, log.query(tagged("n:7")).wait()?);
    assert_eq!(twin.logs().wait()?, store.logs().wait()?);
    assert!(twin.verify(Progress::default()).wait()?.is_sound());
    // From here on each goes its own way.
    same.append("s0", Expected::Any, numbered(3)).wait()?;
    log.append("s0", Expected::Any, numbered(1)).wait()?;
    assert_eq!((same.head("s0").wait()?, log.head("s0").wait()?), (13, 11));
    Ok(())
}

pub(in crate::testing) fn fm_03_a_backup_while_writers_write(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let store = Store::open(Config::sqlite(dir.path().join("store.db"))).wait()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5_000)).wait()?;
    in_parallel(2, |thread| {
        for n in 0..5 {
            if thread == 0 {
                store.backup(dir.path().join(format!("copy{n}.db")), Progress::default()).wait()?;
            } else {
                for _ in 0..10 {
                    log.append("t", Expected::Any, [event("A"), event("B")]).wait()?;
                }
            }
        }
        Ok(())
    })?;
    let all = everything(&log)?;
    for n in 0..5 {
        let copy = Store::open(Config::sqlite(dir.path().join(format!("copy{n}.db")))).wait()?;
        let copied =
            orders(&copy)?.query(Query::all()).each().wait_iter().collect::<crate::Result<Vec<_>>>()?;
        assert_eq!(copied[..], all[..copied.len()], "it is what there was at some moment");
        assert!(copied.len() >= 5_000 && copied.len() % 2 == 0, "no append is torn");
        assert!(copy.verify(Progress::default()).wait()?.is_sound());
        copy.close().wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn fm_03_a_backup_overwrites_nothing(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (path, other) = (dir.path().join("store.db"), dir.path().join("notes.txt"));
    fill(&path, 2)?;
    fs::write(&other, "mine")?;
    let store = Store::open(Config::sqlite(&path)).wait()?;
    refused!(store.backup(&other, Progress::default()).wait(), ErrorKind::AlreadyExists);
    refused!(store.backup(&path, Progress::default()).wait(), ErrorKind::AlreadyExists);
    let nowhere = dir.path().join("not/there/copy.db");
    refused!(store.backup(nowhere, Progress::default()).wait(), ErrorKind::Io);
    assert_eq!(fs::read_to_string(other)?, "mine");
    assert_eq!(count(&store)?, 2);
    Ok(())
}
