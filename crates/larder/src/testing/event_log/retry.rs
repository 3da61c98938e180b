//! Cases of idempotent retry: el_15.

use uuid::Uuid;

use crate::{
    error::ErrorKind,
    event::{NewEvent, Position},
    event_log::{Appended, EventLog, Expected},
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, in_parallel, none, numbered, orders, refused},
    },
};

const START: Position = Position::START;

/// An event of this type under this id.
fn given(event_type: &str, id: u128) -> NewEvent {
    event(event_type).id(Uuid::from_u128(id))
}

pub(in crate::testing) fn el_15_a_retry_answers_as_the_first_time(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if(numbered(2), None).wait()?;
    let append = || log.append("s", 0, [given("A", 1), given("B", 2), event("C")]).wait();
    let first = append()?;
    assert_eq!(append()?, first);
    log.append("s", 3, numbered(1)).wait()?;
    assert_eq!(append()?, first, "also when the stream has moved on");
    assert_eq!(everything(&log)?.len(), 6);

    let append_if = || log.append_if([given("A", 11), given("B", 12)], None).wait();
    let first = append_if()?;
    assert_eq!((first.last_seq_nr, first.count()), (0, 2));
    assert_eq!(append_if()?, first);
    assert_eq!(everything(&log)?.len(), 8);
    Ok(())
}

pub(in crate::testing) fn el_15_ids_are_checked_before_the_guards(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let guard = none(Query::all(), START);
    let append = || log.append("s", 0, [given("A", 1)]).condition(guard.clone()).wait();
    let first = append()?;
    assert_eq!(append()?, first, "its own event is in the way of neither guard");
    assert_eq!(log.append("s", 9, [given("A", 1)]).wait()?, first, "guards are no part of an append");
    let result = log.append("s", 9, [given("B", 1)]).condition(guard.clone()).wait();
    refused!(result, ErrorKind::AlreadyExists);
    Ok(())
}

pub(in crate::testing) fn el_15_any_other_reuse_already_exists(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [given("A", 1), given("B", 2)]).wait()?;
    let reuses: Vec<(&str, &str, Vec<NewEvent>)> = vec![
        ("another stream", "t", vec![given("A", 1), given("B", 2)]),
        ("another order", "s", vec![given("B", 2), given("A", 1)]),
        ("another type", "s", vec![given("A", 1), given("C", 2)]),
        ("another payload", "s", vec![given("A", 1), NewEvent::json("B", "1").id(Uuid::from_u128(2))]),
        ("bytes for JSON", "s", vec![given("A", 1), NewEvent::bytes("B", "null").id(Uuid::from_u128(2))]),
        ("a part", "s", vec![given("A", 1)]),
        ("the other part", "s", vec![given("B", 2)]),
        ("more", "s", vec![given("A", 1), given("B", 2), given("C", 3)]),
        ("more without id", "s", vec![given("A", 1), given("B", 2), event("C")]),
        ("a new one before", "s", vec![given("C", 3), given("A", 1)]),
        ("one without its id", "s", vec![given("A", 1), event("B")]),
    ];
    for (what, stream, events) in reuses {
        let result = log.append(stream, Expected::Any, events).wait();
        let error = result.expect_err(what);
        assert_eq!(*error.kind(), ErrorKind::AlreadyExists, "{what}: {error:?}");
    }
    refused!(log.append_if([given("A", 1), given("B", 2)], None).wait(), ErrorKind::AlreadyExists);
    assert_eq!(everything(&log)?.len(), 2);
    log.append("s", 2, [given("C", 3)]).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_15_an_id_twice_in_one_append(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let twice = || [given("A", 1), given("A", 1)];
    refused!(log.append("s", 0, twice()).wait(), ErrorKind::AlreadyExists);
    refused!(log.append_if(twice(), None).wait(), ErrorKind::AlreadyExists);
    assert_eq!(log.info().wait()?, None);
    log.append("s", 0, [given("A", 1)]).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_15_ids_belong_to_a_log(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    for name in ["a", "b"] {
        let log = store.event_log(name)?;
        log.append("s", 0, [given("A", 1)]).wait()?;
        assert_eq!(everything(&log)?[0].given_id(), Some(Uuid::from_u128(1)));
    }
    Ok(())
}

pub(in crate::testing) fn el_15_ids_of_a_refused_append_stay_free(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(1)).wait()?;
    refused!(log.append("s", 0, [given("A", 1)]).wait(), ErrorKind::Conflict { .. });
    let result = log.append_if([given("A", 1)], none(Query::all(), START)).wait();
    refused!(result, ErrorKind::ConditionFailed { .. });
    assert_eq!(log.append("other", 0, [given("B", 1)]).wait()?.last_seq_nr, 1);
    Ok(())
}

/// Appends under ids, hides everything, and gives what retries must answer.
fn hidden(log: &EventLog) -> crate::Result<[Appended; 2]> {
    let first = log.append("s", Expected::Any, [given("A", 1), given("B", 2)]).wait()?;
    let second = log.append_if([given("C", 3)], None).wait()?;
    log.compact("s", 2).wait()?;
    log.trim(second.last_position).wait()?;
    log.forget(second.last_position).wait()?;
    Ok([first, second])
}

fn retried(log: &EventLog) -> crate::Result<[Appended; 2]> {
    let first = log.append("s", 0, [given("A", 1), given("B", 2)]).wait()?;
    let second = log.append_if([given("C", 3)], None).wait()?;
    Ok([first, second])
}

pub(in crate::testing) fn el_15_compaction_keeps_the_ids(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = hidden(&log)?;
    assert_eq!(retried(&log)?, answers);
    refused!(log.append("s", 2, [given("A", 2)]).wait(), ErrorKind::AlreadyExists);
    assert!(everything(&log)?.is_empty());
    Ok(())
}

pub(in crate::testing) fn el_15_ids_are_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let kept = log.append("kept", 0, [given("A", 7), event("B")]).wait()?;
    let answers = hidden(&log)?;
    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    assert_eq!(retried(&log)?, answers);
    assert_eq!(log.append("kept", 0, [given("A", 7), event("B")]).wait()?, kept);
    refused!(log.append("kept", 2, [given("B", 7)]).wait(), ErrorKind::AlreadyExists);
    Ok(())
}

pub(in crate::testing) fn el_15_concurrent_retries_write_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for round in 0..20_u128 {
        let events = || [given("A", 2 * round), given("B", 2 * round + 1)];
        let answers = in_parallel(6, |_| Ok(log.append("s", Expected::Any, events()).wait()?))?;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    assert_eq!(everything(&log)?.len(), 40);
    Ok(())
}

pub(in crate::testing) fn el_15_any_uuid_is_an_id(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(1), Uuid::now_v7(), Uuid::new_v4()] {
        let append = || log.append("s", Expected::Any, [event("A").id(id)]).wait();
        let first = append()?;
        assert_eq!(append()?, first, "{id}");
        let last = log.read("s", ..).descending().limit(1).wait()?;
        assert_eq!((last.items[0].id, last.items[0].given_id()), (id, Some(id)));
    }
    Ok(())
}

pub(in crate::testing) fn el_15_many_ids(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let chunk = |n: u128| (n * 100..(n + 1) * 100).map(|id| given("A", id));
    let answers: Vec<Appended> =
        (0..10).map(|n| log.append("s", Expected::Any, chunk(n)).wait()).collect::<Result<_, _>>()?;
    for (n, answer) in (0..10).zip(answers) {
        assert_eq!(log.append("s", 0, chunk(n)).wait()?, answer);
    }
    assert_eq!(log.head("s").wait()?, 1_000);
    Ok(())
}
