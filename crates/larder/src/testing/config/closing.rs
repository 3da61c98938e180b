//! Cases of closing, and of opening lazily: cf_05, cf_06.

use crate::{
    backend::Progress,
    error::{BoxError, Error, ErrorKind},
    event::Position,
    event_log::Expected,
    query::Query,
    store::Store,
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, PATIENCE, event, everything, in_parallel, next, none, numbered, orders, refused,
        },
    },
};

pub(in crate::testing) fn cf_05_close_is_idempotent(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    orders(&store)?.append("s", 0, numbered(1)).wait()?;
    let clone = store.clone();
    store.close().wait()?;
    store.close().wait()?;
    clone.close().wait()?;
    in_parallel(4, |_| Ok(store.close().wait()?))?;
    Ok(())
}

/// The name of every call, with what it answers.
fn every_call(store: &Store) -> crate::Result<Vec<(&'static str, Result<(), Error>)>> {
    let (log, things) = (orders(store)?, store.query_db("Things")?);
    let condition = none(Query::all(), Position::START);
    let mut guards = store.batch();
    guards.require_head(&log, "s", 0);
    guards.require_none_match(&log, condition.clone());
    let mut writes = store.batch();
    writes.add(log.append("s", Expected::Any, numbered(1)));
    let dir = std::env::temp_dir().join("larder-testing-never-made.db");
    Ok(vec![
        ("append", log.append("s", Expected::Any, numbered(1)).wait().map(drop)),
        ("append_if", log.append_if(numbered(1), condition).wait().map(drop)),
        ("append_many", log.append_many(numbered(1)).wait().map(drop)),
        ("read", log.read("s", ..).wait().map(drop)),
        ("query", log.query(Query::all()).wait().map(drop)),
        ("each", everything(&log).map(drop)),
        ("streams", log.streams().wait().map(drop)),
        ("head", log.head("s").wait().map(drop)),
        ("info", log.info().wait().map(drop)),
        ("compact", log.compact("s", 1).wait().map(drop)),
        ("raise_mark", log.raise_mark("s", 1).wait().map(drop)),
        ("trim", log.trim(Position::new(1)).wait().map(drop)),
        ("forget", log.forget(Position::new(1)).wait()),
        ("drop_log", log.drop_log().wait()),
        ("audit_conditions", log.audit_conditions(true).wait()),
        ("snapshots.save", log.snapshots().save("s", 1, &1).wait().map(drop)),
        ("snapshots.latest", log.snapshots().latest("s").wait().map(drop)),
        ("snapshots.delete", log.snapshots().delete("s", 1).wait().map(drop)),
        ("snapshots.list", log.snapshots().list("s").wait().map(drop)),
        ("recover", log.snapshots().recover("s", None, || 0, |state, _| Ok(state)).wait().map(drop)),
        ("querydb.save", things.save("a", &serde_json::json!({})).wait().map(drop)),
        ("querydb.delete", things.delete("a").wait().map(drop)),
        ("querydb.increment", things.increment("a", "n", 1).wait().map(drop)),
        ("querydb.purge_expired", things.purge_expired(1).wait().map(drop)),
        ("querydb.load", things.load("a").wait().map(drop)),
        ("querydb.load_one", things.load_one("a").wait().map(drop)),
        ("querydb.scan", things.scan().wait().map(drop)),
        ("querydb.count_items", things.count_items(crate::ItemQuery::key("a")).wait().map(drop)),
        ("querydb.info", things.info().wait().map(drop)),
        ("query_dbs", store.query_dbs().wait().map(drop)),
        ("define", store.define("Things", crate::QueryDbSpec::new()).wait().map(drop)),
        ("task_buckets", store.task_buckets().wait().map(drop)),
        ("task_bucket.info", store.task_bucket("mails")?.info().wait().map(drop)),
        ("export", store.export(crate::TransferOptions::new(), std::io::sink()).wait().map(drop)),
        ("store.snapshots", store.snapshots().wait().map(drop)),
        ("batch", writes.commit().wait().map(drop)),
        ("guards", guards.commit().wait().map(drop)),
        ("logs", store.logs().wait().map(drop)),
        ("stats", store.stats().wait().map(drop)),
        ("verify", store.verify(Progress::default()).wait().map(drop)),
        ("backup", store.backup(dir, Progress::default()).wait()),
    ])
}

pub(in crate::testing) fn cf_05_every_call_after_close_is_closed(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let handle = orders(&store)?;
    handle.append("s", 0, numbered(1)).wait()?;
    let backend = crate::testing::support::backend(&store)?;
    store.clone().close().wait()?;
    for (call, result) in every_call(&store)? {
        let error = result.expect_err(call);
        assert_eq!(*error.kind(), ErrorKind::Closed, "{call}: {error:?}");
    }
    refused!(handle.head("s").wait(), ErrorKind::Closed);

    // The backend itself, too: another store may share it.
    let raw = Store::with_backend(backend);
    for (call, result) in every_call(&raw)? {
        let error = result.expect_err(call);
        assert_eq!(*error.kind(), ErrorKind::Closed, "the backend's {call}: {error:?}");
    }
    Ok(())
}

pub(in crate::testing) fn cf_05_closing_while_others_write(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = in_parallel(5, |thread| {
        if thread == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            store.close().wait()?;
            return Ok(());
        }
        for _ in 0..100_000 {
            match log.append(format!("s{thread}"), Expected::Any, [event("A")]).wait() {
                Ok(_) => {}
                Err(error) if *error.kind() == ErrorKind::Closed => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Err("the store never closed".into())
    });
    answers?;
    Ok(())
}

pub(in crate::testing) fn cf_05_dropping_every_handle_keeps_what_was_written(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut live = log.subscribe(Query::all());
    log.append("s", 0, numbered(3)).wait()?;
    next(&mut live)?;
    // Not closed.
    drop((live, log, store));
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.append("s", 3, numbered(1)).wait()?.last_seq_nr, 4);
    Ok(())
}

pub(in crate::testing) fn cf_06_the_first_operation_opens(fixture: &dyn Fixture) -> CaseResult {
    let config = || fixture.config().ok_or("a built-in backend has a configuration");
    let lazy = |config| -> Result<Store, BoxError> { Ok(Store::lazy(config)?) };
    assert_eq!(orders(&lazy(config()?)?)?.append("s", 0, numbered(1)).wait()?.last_seq_nr, 1);
    lazy(config()?)?.logs().wait()?;
    lazy(config()?)?.stats().wait()?;
    let store = lazy(config()?)?;
    let mut live = orders(&store)?.subscribe(Query::all());
    live.try_next().wait_timeout(std::time::Duration::from_millis(10));
    orders(&store)?.append_if([event("Live")], None).wait()?;
    while live.try_next().wait_timeout(PATIENCE).ok_or("silent")??.ok_or("ended")?.event_type != "Live" {}
    Ok(())
}

pub(in crate::testing) fn cf_06_many_first_operations_open_once(fixture: &dyn Fixture) -> CaseResult {
    let config = fixture.config().ok_or("a built-in backend has a configuration")?;
    let store = Store::lazy(config)?;
    in_parallel(8, |thread| {
        let log = orders(&store)?;
        Ok(log.append(format!("s{thread}"), 0, numbered(1)).wait()?)
    })?;
    assert_eq!(everything(&orders(&store)?)?.len(), 8, "they all met in one store");
    Ok(())
}

pub(in crate::testing) fn cf_06_a_lazy_store_can_be_closed_unopened(fixture: &dyn Fixture) -> CaseResult {
    let config = fixture.config().ok_or("a built-in backend has a configuration")?;
    let store = Store::lazy(config)?;
    let mut live = orders(&store)?.subscribe(Query::all());
    store.close().wait()?;
    store.close().wait()?;
    refused!(orders(&store)?.head("s").wait(), ErrorKind::Closed);
    assert!(live.try_next().wait()?.is_none());
    Ok(())
}
