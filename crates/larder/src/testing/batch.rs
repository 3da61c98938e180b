//! Cases of batches: wb_01 to wb_03, as far as they concern logs.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    batch::WriteBatch,
    error::ErrorKind,
    event::{NewEvent, Position},
    event_log::{Appended, Compacted, Expected},
    query::Query,
    store::Store,
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, event, everything, in_parallel, none, numbered, orders, refused, seq_nrs, tagged,
            typed,
        },
    },
};

const START: Position = Position::START;

pub(super) fn wb_01_appends_commit_together(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    let mut batch = store.batch();
    let first = batch.add(log.append("s", 0, numbered(2)));
    let elsewhere = batch.add(other.append("s", 0, numbered(1)));
    let free = batch.add(log.append_if([event("Free")], None));
    let empty = batch.add(log.append("s", 99, Vec::<NewEvent>::new()));
    let committed = batch.commit().wait()?;
    assert_eq!(committed[first], Appended::new(1, Position::new(1), 2));
    assert_eq!(committed[elsewhere], Appended::new(1, Position::new(1), 1));
    assert_eq!(committed[free], Appended::new(0, Position::new(3), 1));
    assert_eq!(committed[empty], Appended::default());
    assert_eq!((everything(&log)?.len(), everything(&other)?.len()), (3, 1));
    Ok(())
}

pub(super) fn wb_01_an_empty_batch_commits(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    store.batch().commit().wait()?;
    store.batch().id(Uuid::from_u128(1)).commit().wait()?;
    assert_eq!(store.logs().wait()?, []);
    Ok(())
}

pub(super) fn wb_01_operations_see_the_earlier_ones(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut batch = store.batch();
    batch.add(log.append("s", 0, [event("A")]));
    let second = batch.add(log.append("s", 1, [event("B").tag("b")]));
    batch.require_head(&log, "s", 2);
    let compacted = batch.add(log.compact("s", 99));
    let third = batch.add(log.append("s", 2, [event("C")]));
    let raised = batch.add(log.raise_mark("copy", 4));
    let copied = batch.add(log.append("copy", 4, [event("D")]));
    let committed = batch.commit().wait()?;
    assert_eq!((committed[second].last_seq_nr, committed[third].last_seq_nr), (2, 3));
    assert_eq!(committed[compacted], Compacted { through: 2 });
    assert_eq!((committed[raised].through, committed[copied].first_seq_nr), (4, 5));
    assert_eq!(seq_nrs(&log.read("s", ..).wait()?), [3]);
    Ok(())
}

pub(super) fn wb_01_conditions_see_the_batchs_own_events(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut batch = store.batch();
    batch.add(log.append_if([event("A").tag("a")], none(tagged("a"), START)));
    let culprit = batch.add(log.append_if([event("A").tag("a")], none(tagged("a"), START)));
    let error = refused!(batch.commit().wait(), ErrorKind::ConditionFailed { .. });
    assert_eq!(error.index(), Some(culprit.index()));
    let ErrorKind::ConditionFailed { matching } = error.kind() else { panic!("{error:?}") };
    assert_eq!((matching.len(), matching[0].position), (1, Position::new(1)));
    assert_eq!(log.info().wait()?, None);

    let mut batch = store.batch();
    batch.add(log.append_if([event("A").tag("a")], None));
    batch.require_none_match(&log, none(tagged("a"), START));
    assert_eq!(refused!(batch.commit().wait(), ErrorKind::ConditionFailed { .. }).index(), Some(1));
    Ok(())
}

pub(super) fn wb_01_ids_count_within_a_batch(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let given = |event_type| event(event_type).id(Uuid::from_u128(3));
    let mut batch = store.batch();
    let first = batch.add(log.append("s", 0, [given("A")]));
    let retry = batch.add(log.append("s", 0, [given("A")]));
    let committed = batch.commit().wait()?;
    assert_eq!(committed[first], committed[retry]);
    assert_eq!(everything(&log)?.len(), 1);

    let mut batch = store.batch();
    batch.add(log.append("t", 0, [event("A").id(Uuid::from_u128(4))]));
    batch.add(log.append("t", 1, [event("B").id(Uuid::from_u128(4))]));
    assert_eq!(refused!(batch.commit().wait(), ErrorKind::AlreadyExists).index(), Some(1));
    assert_eq!(log.head("t").wait()?, 0);
    Ok(())
}

pub(super) fn wb_01_the_first_failing_guard_fails_everything(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    log.append("s", 0, numbered(3)).wait()?;
    let before = (everything(&log)?, log.streams().wait()?, store.logs().wait()?);
    let mut batch = store.batch();
    batch.add(other.append("s", 0, numbered(2)));
    batch.add(log.append("t", 0, numbered(2)));
    batch.add(log.compact("s", 3));
    batch.add(log.trim(Position::new(9)));
    batch.add(log.raise_mark("u", 9));
    batch.add(log.audit_conditions(true));
    let culprit = batch.add(log.append("s", 7, numbered(1)));
    batch.add(log.append("s", 8, numbered(1)));
    let error = refused!(batch.commit().wait(), ErrorKind::Conflict { expected: 7, actual: 3 });
    assert_eq!(error.index(), Some(culprit.index()), "the first one is named");
    assert_eq!((everything(&log)?, log.streams().wait()?, store.logs().wait()?), before);
    Ok(())
}

pub(super) fn wb_01_maintenance_in_a_batch(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    log.append("s", 0, [event("A"), event("A")]).wait()?;
    other.append("s", 0, numbered(3)).wait()?;
    let mut batch = store.batch();
    let trimmed = batch.add(log.trim(Position::new(1)));
    batch.add(log.forget(Position::new(1)));
    batch.add(other.drop_log());
    batch.add(log.audit_conditions(true));
    let guarded = batch.add(log.append("s", 2, [event("B")]).condition(none(typed("A"), Position::new(2))));
    let reborn = batch.add(other.append("s", 0, numbered(1)));
    let committed = batch.commit().wait()?;
    assert_eq!((committed[trimmed].through, committed[guarded].last_seq_nr), (Position::new(1), 3));
    assert!(committed[reborn].last_position > Position::new(3) && committed[reborn].last_seq_nr == 1);
    assert_eq!(log.info().wait()?.map(|info| info.audits_conditions), Some(true));
    assert_eq!(store.verify(crate::backend::Progress::default()).wait()?.conditions, 1);
    Ok(())
}

pub(super) fn wb_01_a_bad_operation_is_named(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut batch = store.batch();
    batch.add(log.append("s", 0, numbered(1)));
    let bad = batch.add(log.append("s", 1, [NewEvent::json("A", "{")]));
    let error = refused!(batch.commit().wait(), ErrorKind::InvalidArgument { field: "payload", .. });
    assert_eq!(error.index(), Some(bad.index()));
    let mut batch = store.batch();
    batch.add(log.append("s", 0, numbered(1)));
    let live = batch.add(log.raise_mark("s", 5));
    let error = refused!(batch.commit().wait(), ErrorKind::InvalidArgument { .. });
    assert_eq!(error.index(), Some(live.index()));
    assert_eq!(log.info().wait()?, None);
    Ok(())
}

pub(super) fn wb_01_handles_of_another_store_are_refused(fixture: &dyn Fixture) -> CaseResult {
    let (store, foreign) = (fixture.store()?, Store::memory());
    let mut batch = store.batch();
    batch.add(orders(&store)?.append("s", 0, numbered(1)));
    let bad = batch.add(orders(&foreign)?.append("s", 0, numbered(1)));
    let error = refused!(batch.commit().wait(), ErrorKind::InvalidArgument { field: "batch", .. });
    assert_eq!(error.index(), Some(bad.index()));

    let mut batch = store.batch();
    batch.require_head(&orders(&foreign)?, "s", 0);
    refused!(batch.commit().wait(), ErrorKind::InvalidArgument { field: "batch", .. });
    let mut batch = store.batch();
    batch.require_none_match(&orders(&foreign)?, none(Query::all(), START));
    refused!(batch.commit().wait(), ErrorKind::InvalidArgument { field: "batch", .. });
    assert_eq!(store.logs().wait()?, []);
    Ok(())
}

pub(super) fn wb_01_readers_see_all_or_nothing(fixture: &dyn Fixture) -> CaseResult {
    const BATCHES: usize = 40;
    let store = fixture.store()?;
    let log = orders(&store)?;
    in_parallel(3, |thread| {
        if thread == 0 {
            for _ in 0..BATCHES {
                let mut batch = store.batch();
                for stream in ["a", "b", "c"] {
                    batch.add(log.append(stream, Expected::Any, [event("A")]));
                }
                batch.commit().wait()?;
            }
            return Ok(());
        }
        loop {
            let count = log.query(Query::all()).wait()?.items.len();
            assert_eq!(count % 3, 0, "a batch was seen in part");
            if count == 3 * BATCHES {
                return Ok(());
            }
        }
    })?;
    Ok(())
}

pub(super) fn wb_02_require_head(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    log.compact("s", 3).wait()?;
    let guards = |heads: &[(&str, u64)]| {
        let mut batch = store.batch();
        for (stream, head) in heads {
            batch.require_head(&log, *stream, *head);
        }
        batch.commit().wait()
    };
    guards(&[("s", 3), ("unknown", 0)])?;
    let error = refused!(guards(&[("s", 3), ("s", 2)]), ErrorKind::Conflict { expected: 2, actual: 3 });
    assert_eq!(error.index(), Some(1));
    refused!(guards(&[("unknown", 1)]), ErrorKind::Conflict { expected: 1, actual: 0 });
    refused!(guards(&[("", 0)]), ErrorKind::InvalidArgument { field: "stream", .. });
    assert_eq!(log.streams().wait()?.items.len(), 1, "a guard writes nothing");
    Ok(())
}

pub(super) fn wb_02_require_none_match(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    log.append_if([event("A").tag("a")], None).wait()?;
    let before = (store.logs().wait()?, everything(&log)?);
    let mut batch = store.batch();
    batch.require_none_match(&log, none(tagged("b"), START));
    batch.require_none_match(&log, none(tagged("a"), Position::new(1)));
    batch.require_none_match(&other, none(Query::all(), START));
    batch.commit().wait()?;
    assert_eq!((store.logs().wait()?, everything(&log)?), before, "a guard writes nothing");

    let mut batch = store.batch();
    batch.add(other.append("s", 0, numbered(1)));
    batch.require_none_match(&log, none(typed("A"), START));
    let error = refused!(batch.commit().wait(), ErrorKind::ConditionFailed { .. });
    assert_eq!(error.index(), Some(1));
    assert_eq!((store.logs().wait()?, everything(&log)?), before, "and stops what does");
    Ok(())
}

/// A batch under this id that appends two events where the head is 0.
fn identified(store: &Store, id: u128) -> crate::Result<WriteBatch> {
    let log = orders(store)?;
    let mut batch = store.batch().id(Uuid::from_u128(id));
    batch.add(log.append("s", 0, [event("A")]));
    batch.add(log.append_if([event("B")], none(typed("B"), START)));
    Ok(batch)
}

/// What the batch of [`identified`] answered.
fn answers(store: &Store, id: u128) -> crate::Result<[Appended; 2]> {
    let log = orders(store)?;
    let mut batch = store.batch().id(Uuid::from_u128(id));
    let first = batch.add(log.append("s", 0, [event("A")]));
    let second = batch.add(log.append_if([event("B")], none(typed("B"), START)));
    let committed = batch.commit().wait()?;
    Ok([committed[first], committed[second]])
}

pub(super) fn wb_03_a_repeated_batch_answers_as_the_first_time(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let first = answers(&store, 1)?;
    assert_eq!(first[0], Appended::new(1, Position::new(1), 1));
    assert_eq!(answers(&store, 1)?, first, "although both guards fail by now");
    log.compact("s", 1).wait()?;
    log.append("s", 1, numbered(3)).wait()?;
    assert_eq!(answers(&store, 1)?, first);
    assert_eq!(log.head("s").wait()?, 4);
    refused!(identified(&store, 2)?.commit().wait(), ErrorKind::Conflict { .. });
    Ok(())
}

pub(super) fn wb_03_another_number_of_operations_already_exists(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    identified(&store, 1)?.commit().wait()?;
    let mut longer = identified(&store, 1)?;
    longer.add(log.append("t", 0, numbered(1)));
    refused!(longer.commit().wait(), ErrorKind::AlreadyExists);
    let mut shorter = store.batch().id(Uuid::from_u128(1));
    shorter.add(log.append("t", 0, numbered(1)));
    refused!(shorter.commit().wait(), ErrorKind::AlreadyExists);
    assert_eq!(log.head("t").wait()?, 0);
    Ok(())
}

pub(super) fn wb_03_another_batch_already_exists(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    let things = store.query_db("Things")?;
    let commit = |add: &dyn Fn(&mut WriteBatch)| {
        let mut batch = store.batch().id(Uuid::from_u128(1));
        add(&mut batch);
        batch.commit().wait().map(drop)
    };
    let json = serde_json::json!({});
    let different: [&dyn Fn(&mut WriteBatch); 13] = [
        &|batch| _ = batch.add(log.append("s", Expected::Any, [event("A")])),
        &|batch| _ = batch.add(log.append("s", Expected::Any, [event("A"), event("A")])),
        &|batch| _ = batch.add(log.append("t", Expected::Any, [event("A")])),
        &|batch| _ = batch.add(other.append("s", Expected::Any, [event("A")])),
        &|batch| _ = batch.add(log.append_if([event("A")], None)),
        &|batch| _ = batch.add(log.compact("s", 1)),
        &|batch| _ = batch.add(log.raise_mark("s", 1)),
        &|batch| _ = batch.add(things.save("a", &json)),
        &|batch| _ = batch.add(things.save("b", &json)),
        &|batch| _ = batch.add(store.query_db("Other").expect("a name").save("a", &json)),
        &|batch| _ = batch.add(things.delete("a")),
        &|batch| _ = batch.add(things.purge_expired(1)),
        &|batch| _ = batch.add(log.snapshots().save("s", 1, &json)),
    ];
    for (mine, first) in different.iter().enumerate() {
        fixture.clock().advance(Duration::from_secs(25 * 60 * 60));
        commit(first)?;
        let before = (store.stats().wait()?, store.query_dbs().wait()?);
        for (theirs, second) in different.iter().enumerate() {
            match commit(second) {
                Ok(()) => assert_eq!(mine, theirs, "it passed for another one"),
                Err(error) => {
                    assert_eq!(*error.kind(), ErrorKind::AlreadyExists, "{mine} then {theirs}: {error:?}");
                    assert_ne!(mine, theirs, "it is the same");
                }
            }
        }
        assert_eq!((store.stats().wait()?, store.query_dbs().wait()?), before, "{mine}");
        log.drop_log().wait()?;
    }
    Ok(())
}

pub(super) fn wb_03_the_id_of_a_failed_batch_stays_free(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let in_the_way = log.append_if([event("B")], None).wait()?.last_position;
    refused!(identified(&store, 1)?.commit().wait(), ErrorKind::ConditionFailed { .. });
    log.trim(in_the_way).wait()?;
    log.forget(in_the_way).wait()?;
    assert_eq!(answers(&store, 1)?[0].last_seq_nr, 1);
    Ok(())
}

pub(super) fn wb_03_every_outcome_is_kept(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5)).wait()?;
    let commit = || {
        let mut batch = store.batch().id(Uuid::from_u128(9));
        batch.require_head(&log, "s", 5);
        let compacted = batch.add(log.compact("s", 3));
        let raised = batch.add(log.raise_mark("copy", 7));
        let trimmed = batch.add(log.trim(Position::new(4)));
        batch.add(log.forget(Position::new(1)));
        batch.add(log.audit_conditions(false));
        let empty = batch.add(log.append("s", 0, Vec::<NewEvent>::new()));
        let appended = batch.add(log.append("s", 5, numbered(2)));
        let committed = batch.commit().wait()?;
        let compactions =
            [committed[compacted].through, committed[raised].through, committed[trimmed].through.get()];
        Ok::<_, crate::Error>((compactions, committed[empty], committed[appended]))
    };
    let first = commit()?;
    assert_eq!(first.0, [3, 7, 4]);
    log.raise_mark("other", 9).wait()?;
    assert_eq!(commit()?, first);
    assert_eq!(log.head("s").wait()?, 7);
    Ok(())
}

pub(super) fn wb_03_ids_are_kept_for_a_day(fixture: &dyn Fixture) -> CaseResult {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let store = fixture.store()?;
    let log = orders(&store)?;
    let commit = || {
        let mut batch = store.batch().id(Uuid::from_u128(1));
        let slot = batch.add(log.append("s", Expected::Any, [event("A")]));
        batch.commit().wait().map(|committed| committed[slot].last_seq_nr)
    };
    assert_eq!(commit()?, 1);
    fixture.clock().advance(DAY - Duration::from_secs(1));
    assert_eq!(commit()?, 1, "a second before");
    fixture.clock().advance(Duration::from_secs(2));
    assert_eq!(commit()?, 2, "a second after it is a new batch");
    assert_eq!(commit()?, 2);
    Ok(())
}

pub(super) fn wb_03_ids_are_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let first = answers(&store, 1)?;
    let store = fixture.reopen(store)?;
    assert_eq!(answers(&store, 1)?, first);
    assert_eq!(everything(&orders(&store)?)?.len(), 2);
    Ok(())
}

pub(super) fn wb_03_concurrent_repetitions_write_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    for round in 0..10 {
        let all = in_parallel(6, |_| {
            let log = orders(&store)?;
            let mut batch = store.batch().id(Uuid::from_u128(round));
            let slot = batch.add(log.append("s", Expected::Any, [event("A")]));
            Ok(batch.commit().wait()?[slot])
        })?;
        assert!(all.iter().all(|answer| *answer == all[0]), "{all:?}");
    }
    assert_eq!(orders(&store)?.head("s").wait()?, 10);
    Ok(())
}
