//! Batches with items: wb_01 to wb_03.

use std::time::Duration;

use uuid::Uuid;

use super::{defined, next_change, raw, state, things};
use crate::{
    batch::WriteBatch,
    error::ErrorKind,
    query_db::{ChangeKind, Index, ItemQuery, Number, QueryDb, QueryDbSpec},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, everything, in_parallel, numbered, orders, refused},
    },
};

pub(in crate::testing) fn wb_01_items_and_events_commit_together(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, things) = (orders(&store)?, things(&store)?);
    things.save("old", &raw("{}")).wait()?;
    let mut batch = store.batch();
    let placed = batch.add(log.append("s", 0, numbered(2)));
    let saved = batch.add(things.save("a", &raw(r#"{"n":1}"#)));
    let counted = batch.add(things.increment("a", "n", 41));
    let both = batch.add(things.save_batch([("b", raw("{}")), ("b", raw("{}"))]));
    let deleted = batch.add(things.delete_batch(["old", "b", "none"]));
    batch.require_version(&things, "a", 3);
    let purged = batch.add(things.purge_expired(9));
    let committed = batch.commit().wait()?;
    assert_eq!((committed[placed].last_seq_nr, committed[saved].version), (2, 2));
    assert_eq!(committed[counted], Number::from(42), "it sees the save before it");
    let versions: Vec<_> = committed[both].iter().map(|saved| (saved.version, saved.added)).collect();
    assert_eq!(versions, [(4, true), (5, false)]);
    assert_eq!((committed[deleted], committed[purged]), (2, 0));
    assert_eq!((everything(&log)?.len(), things.scan().wait()?.items.len()), (2, 1));
    Ok(())
}

pub(in crate::testing) fn wb_01_a_failing_batch_leaves_no_trace(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let spec = || QueryDbSpec::new().index(Index::new("by", ["k"])).changes(true);
    let (things, fresh) = (defined(&store, spec())?, store.query_db("Fresh")?);
    for key in ["a", "b", "c"] {
        things.save(key, &raw(r#"{"k":"x","n":1}"#)).ttl(Duration::from_secs(9)).wait()?;
    }
    let before = (state(&things)?, store.query_dbs().wait()?, store.stats().wait()?);
    let changes: [&dyn Fn(&mut WriteBatch); 7] = [
        &|batch| _ = batch.add(things.save("a", &raw(r#"{"k":"y"}"#))),
        &|batch| _ = batch.add(things.delete("b")),
        &|batch| _ = batch.add(things.increment("c", "n", 1)),
        &|batch| _ = batch.add(things.drop_index("by")),
        &|batch| _ = batch.add(things.drop_query_db()),
        &|batch| _ = batch.add(fresh.save("a", &raw("{}"))),
        &|batch| _ = batch.add(log.append("s", 0, numbered(1))),
    ];
    for last in 1..=changes.len() {
        let mut batch = store.batch();
        changes[..last].iter().for_each(|change| change(&mut batch));
        batch.require_version(&things, "none", 9);
        let error = refused!(batch.commit().wait(), ErrorKind::Conflict { expected: 9, actual: 0 });
        assert_eq!(error.index(), Some(last));
        assert_eq!((state(&things)?, store.query_dbs().wait()?, store.stats().wait()?), before, "{last}");
        assert_eq!(things.count_items(ItemQuery::index("by", ["x"])).wait()?, 3, "{last}");
    }
    assert_eq!(things.save("a", &raw("{}")).wait()?.version, 4);
    assert_eq!(next_change(&mut things.changes().after(3))?.0, 4);
    assert!(store.verify(crate::backend::Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn wb_01_a_bad_item_is_named_by_its_operation(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    for bad in [
        things.save("", &raw("{}")),
        things.save("a", &raw("[]")),
        things.save("a", &raw(r#"{"a":1,"a":1}"#)),
        things.save("a", &raw("{}")).if_present(),
        things.save("b", &raw("{}")).if_absent(),
        things.save("b", &raw("{}")).if_version(7),
    ] {
        let mut batch = store.batch();
        batch.add(things.save("b", &raw("{}")));
        let culprit = batch.add(bad);
        batch.add(things.save("c", &raw("{}")));
        let Err(error) = batch.commit().wait() else { panic!("it was accepted") };
        assert_eq!(error.index(), Some(culprit.index()), "{error:?}");
        assert_eq!(state(&things)?, (vec![], None));
    }
    let elsewhere = Store::memory().query_db("Things")?;
    let mut batch = store.batch();
    batch.add(elsewhere.save("a", &raw("{}")));
    refused!(batch.commit().wait(), ErrorKind::InvalidArgument { field: "batch", .. });
    Ok(())
}

pub(in crate::testing) fn wb_02_require_version(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let log = orders(&store)?;
    let guarded = |key: &str, version: Option<u64>| {
        let mut batch = store.batch();
        let guard = batch.require_version(&things, key, version);
        batch.add(log.append("s", crate::event_log::Expected::Any, numbered(1)));
        batch.commit().wait().map(drop).map_err(|error| (error.index() == Some(guard.index()), error))
    };
    assert!(guarded("a", None).is_ok(), "of a QueryDb that does not exist");
    assert_eq!(store.query_dbs().wait()?, [], "a guard makes nothing");
    let (is_named, error) = guarded("a", Some(1)).expect_err("there is none");
    assert!(is_named && matches!(error.kind(), ErrorKind::Conflict { expected: 1, actual: 0 }), "{error:?}");
    things.save("a", &raw("{}")).wait()?;
    things.save("a", &raw("{}")).wait()?;
    assert!(guarded("a", Some(2)).is_ok());
    let (is_named, error) = guarded("a", Some(1)).expect_err("it is 2");
    assert!(is_named && matches!(error.kind(), ErrorKind::Conflict { expected: 1, actual: 2 }), "{error:?}");
    let (_, error) = guarded("a", None).expect_err("it is there");
    assert!(matches!(error.kind(), ErrorKind::Conflict { expected: 0, actual: 2 }), "{error:?}");
    assert_eq!(everything(&log)?.len(), 2, "nothing was written with a failed guard");
    Ok(())
}

pub(in crate::testing) fn wb_01_readers_never_see_half_of_the_items(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new().sub_id_field("s").index(Index::new("by", ["k"]));
    let things = defined(&store, spec)?;
    let move_all = |things: &QueryDb, k: &str| {
        let items = ["1", "2", "3", "4"].map(|s| ("p", serde_json::json!({ "s": s, "k": k })));
        things.save_batch(items).wait().map(drop)
    };
    move_all(&things, "x")?;
    in_parallel(3, |thread| {
        for round in 0..100 {
            if thread == 0 {
                move_all(&things, if round % 2 == 0 { "y" } else { "x" })?;
                continue;
            }
            let page = things.query(ItemQuery::index("by", ["x"])).wait()?;
            assert!([0, 4].contains(&page.items.len()), "{page:?}");
            let seen: std::collections::BTreeSet<String> =
                things.load("p").wait()?.into_iter().map(|item| item.json[8..].to_owned()).collect();
            assert_eq!(seen.len(), 4);
        }
        Ok(())
    })?;
    Ok(())
}

pub(in crate::testing) fn wb_03_items_answer_as_the_first_time(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let mut changes = things.changes();
    let once = || -> crate::Result<_> {
        let mut batch = store.batch().id(Uuid::from_u128(9));
        let saved = batch.add(things.save("a", &raw("{}")));
        let counted = batch.add(things.increment("a", "n", 0.5));
        let both = batch.add(things.save_batch([("b", raw("{}")), ("é", raw("{}"))]));
        let deleted = batch.add(things.delete("b"));
        let committed = batch.commit().wait()?;
        Ok((committed[saved].clone(), committed[counted], committed[both].clone(), committed[deleted]))
    };
    let first = once()?;
    assert_eq!(once()?, first);
    assert_eq!(things.info().wait()?.map(|info| info.version), Some(5));
    for version in 1..=5 {
        assert_eq!(next_change(&mut changes)?.0, version);
    }
    things.save("z", &raw("{}")).wait()?;
    assert_eq!(
        next_change(&mut changes)?,
        (6, ChangeKind::Added, "z".into()),
        "the repetition changed nothing"
    );
    Ok(())
}
