//! Cases of trimming and dropping logs: el_21.

use uuid::Uuid;

use crate::{
    error::ErrorKind,
    event::Position,
    event_log::{EventLog, Expected, Trimmed},
    query::Query,
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, event, everything, none, numbered, orders, positions, refused, seq_nrs, tagged, typed,
        },
    },
};

const START: Position = Position::START;

/// Positions 1 and 4 without a stream, 2 and 5 in `s`, 3 and 6 in `t`.
fn mixed(log: &EventLog) -> CaseResult {
    for _ in 0..2 {
        log.append_if([event("Free").tag("a")], None).wait()?;
        log.append("s", Expected::Any, [event("A").tag("a")]).wait()?;
        log.append("t", Expected::Any, [event("A").tag("b")]).wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn el_21_trim_hides_by_position(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    mixed(&log)?;
    assert_eq!(log.trim(Position::new(4)).wait()?, Trimmed { through: Position::new(4) });
    assert_eq!(positions(&log.query(Query::all()).wait()?), [5, 6], "events without a stream too");
    assert_eq!(positions(&log.query(tagged("a")).wait()?), [5]);
    assert_eq!(positions(&log.query(typed("Free")).wait()?), [] as [u64; 0]);
    assert_eq!(positions(&log.query(typed("A")).descending().wait()?), [6, 5]);
    assert_eq!(seq_nrs(&log.read("s", ..).wait()?), [2]);
    assert_eq!(log.info().wait()?.map(|info| (info.head.get(), info.compacted_through.get())), Some((6, 4)));
    Ok(())
}

pub(in crate::testing) fn el_21_trim_raises_the_marks_of_streams(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    mixed(&log)?;
    log.append("late", 0, numbered(1)).wait()?;
    log.trim(Position::new(5)).wait()?;
    let told: Vec<_> = log
        .streams()
        .wait()?
        .into_iter()
        .map(|info| (info.stream.clone(), info.head, info.compacted_through, info.compacted_position.get()))
        .collect();
    let expected = [("late", 1, 0, 0), ("s", 2, 2, 5), ("t", 2, 1, 3)];
    assert_eq!(told, expected.map(|(stream, head, mark, position)| (stream.into(), head, mark, position)));
    assert_eq!(log.append("s", 2, numbered(1)).wait()?.last_seq_nr, 3);
    Ok(())
}

pub(in crate::testing) fn el_21_trim_beyond_the_head_and_again(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.trim(Position::new(9)).wait()?, Trimmed { through: Position::new(0) }, "unknown log");
    mixed(&log)?;
    assert_eq!(log.trim(START).wait()?, Trimmed { through: Position::new(0) });
    assert_eq!(log.trim(Position::new(3)).wait()?, Trimmed { through: Position::new(3) });
    assert_eq!(
        log.trim(Position::new(1)).wait()?,
        Trimmed { through: Position::new(3) },
        "it never goes back"
    );
    assert_eq!(positions(&log.query(Query::all()).wait()?), [4, 5, 6]);
    assert_eq!(log.trim(Position::new(99)).wait()?, Trimmed { through: Position::new(6) });
    assert!(everything(&log)?.is_empty());
    let next = log.append("s", 2, numbered(1)).wait()?;
    assert_eq!(positions(&log.query(Query::all()).wait()?), [next.last_position.get()]);
    Ok(())
}

pub(in crate::testing) fn el_21_conditions_still_see_trimmed_events(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    mixed(&log)?;
    log.compact("s", 1).wait()?;
    log.trim(Position::new(4)).wait()?;
    let in_the_way = |query: Query| -> Vec<u64> {
        match log.append_if([event("B")], none(query, START)).wait().map_err(|error| error.kind().clone()) {
            Err(ErrorKind::ConditionFailed { matching }) => {
                matching.iter().map(|event| event.position.get()).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(in_the_way(Query::all()), [1, 2, 3, 4, 5, 6], "each once");
    assert_eq!(in_the_way(tagged("a")), [1, 2, 4, 5]);
    assert_eq!(in_the_way(typed("Free")), [1, 4]);
    log.forget(Position::new(4)).wait()?;
    assert_eq!(in_the_way(Query::all()), [5, 6]);
    log.append_if([event("B")], none(typed("Free"), START)).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_21_trimming_is_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    mixed(&log)?;
    log.trim(Position::new(4)).wait()?;
    let before = (everything(&log)?, log.streams().wait()?, log.info().wait()?);
    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    assert_eq!((everything(&log)?, log.streams().wait()?, log.info().wait()?), before);
    assert_eq!(log.trim(Position::new(1)).wait()?, Trimmed { through: Position::new(4) });
    Ok(())
}

pub(in crate::testing) fn el_21_drop_log_removes_everything(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    log.audit_conditions(true).wait()?;
    mixed(&log)?;
    mixed(&other)?;
    let id = Uuid::from_u128(5);
    log.append_if([event("A").id(id)], none(typed("X"), START)).wait()?;
    log.compact("t", 1).wait()?;
    log.drop_log().wait()?;

    assert!(everything(&log)?.is_empty());
    assert!(log.streams().wait()?.items.is_empty());
    assert_eq!(log.head("s").wait()?, 0, "its streams are gone");
    let heads: Vec<_> =
        store.logs().wait()?.into_iter().map(|info| (info.log.clone(), info.head.get())).collect();
    assert_eq!(heads, [("orders".to_owned(), 7), ("other".to_owned(), 6)], "it is listed with its head");
    assert_eq!(everything(&other)?.len(), 6, "others are left alone");

    let appended = log.append_if([event("B").id(id)], none(Query::all(), START)).wait()?;
    assert!(appended.last_position > Position::new(7), "no trace, no id, but the positions");
    assert_eq!(log.append("s", 0, numbered(1)).wait()?.last_seq_nr, 1);
    assert_eq!(store.verify(crate::backend::Progress::default()).wait()?.findings, []);
    Ok(())
}

pub(in crate::testing) fn el_21_dropping_again_or_an_unknown_log_is_fine(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.drop_log().wait()?;
    mixed(&log)?;
    log.drop_log().wait()?;
    log.drop_log().wait()?;
    assert!(everything(&log)?.is_empty());
    Ok(())
}

pub(in crate::testing) fn el_21_a_dropped_log_stays_dropped(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    mixed(&log)?;
    log.drop_log().wait()?;
    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    assert!(everything(&log)?.is_empty() && log.streams().wait()?.items.is_empty());
    assert_eq!(log.info().wait()?.map(|info| info.head.get()), Some(6));
    refused!(log.append("s", 2, numbered(1)).wait(), ErrorKind::Conflict { expected: 2, actual: 0 });
    Ok(())
}
