//! Cases of append conditions: el_13, el_14, el_22.

use crate::{
    backend::{HistoryRow, Operation, Progress},
    error::{ErrorKind, MatchingEvent},
    event::{Event, Position},
    event_log::{EventLog, Expected},
    query::{AppendCondition, Query, QueryItem},
    testing::{
        fixture::Fixture,
        support::{CaseResult, Numbers, event, everything, none, numbered, orders, refused, tagged, typed},
    },
};

const START: Position = Position::START;

/// Appends under a condition, an event that no condition here looks for.
fn guarded(log: &EventLog, query: impl Into<Query>, after: Position) -> crate::Result<crate::Appended> {
    log.append_if([event("Decided").tag("decision")], none(query, after)).wait()
}

/// The positions that stood in the way.
fn in_the_way(result: crate::Result<crate::Appended>) -> Vec<u64> {
    let error = refused!(result, ErrorKind::ConditionFailed { .. });
    assert!(error.is_conflict() && !error.is_retryable());
    let ErrorKind::ConditionFailed { matching } = error.kind() else { return Vec::new() };
    matching.iter().map(|event| event.position.get()).collect()
}

pub(in crate::testing) fn el_13_it_tells_what_matches(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if([event("A").tags(["z", "y"]), event("B").tag("y"), event("C")], None).wait()?;
    let error = refused!(guarded(&log, tagged("y"), START), ErrorKind::ConditionFailed { .. });
    let told = |position, event_type: &str, tags: &[&str]| MatchingEvent {
        position: Position::new(position),
        event_type: event_type.into(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let expected = vec![told(1, "A", &["z", "y"]), told(2, "B", &["y"])];
    assert_eq!(*error.kind(), ErrorKind::ConditionFailed { matching: expected });
    Ok(())
}

pub(in crate::testing) fn el_13_it_tells_the_first_ten(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for _ in 0..15 {
        log.append_if([event("A").tag("a"), event("B").tag("b")], None).wait()?;
    }
    let odd: Vec<u64> = (1..20).step_by(2).collect();
    assert_eq!(in_the_way(guarded(&log, tagged("a"), START)), odd);
    assert_eq!(in_the_way(guarded(&log, typed("A"), START)), odd);
    assert_eq!(in_the_way(guarded(&log, Query::all(), START)), (1..=10).collect::<Vec<_>>());
    assert_eq!(in_the_way(guarded(&log, tagged("a"), Position::new(25))), [27, 29]);
    Ok(())
}

pub(in crate::testing) fn el_13_after_is_exclusive(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if([event("A").tag("a"), event("A").tag("a"), event("B")], None).wait()?;
    assert_eq!(in_the_way(guarded(&log, tagged("a"), Position::new(1))), [2]);
    guarded(&log, tagged("a"), Position::new(2))?;
    guarded(&log, tagged("a"), Position::new(99))?;
    Ok(())
}

pub(in crate::testing) fn el_13_start_means_any_at_all(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    guarded(&log, tagged("decision"), START)?;
    assert_eq!(in_the_way(guarded(&log, tagged("decision"), START)), [1]);
    log.append_if([event("A")], None).wait()?;
    assert_eq!(everything(&log)?.len(), 2, "without a condition nothing is checked");
    Ok(())
}

pub(in crate::testing) fn el_13_by_type_by_tag_and_by_anything(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    guarded(&store.event_log("empty")?, Query::all(), START)?;
    log.append("s", 0, [event("A").tags(["x", "y"])]).wait()?;
    log.append_if([event("B").tag("x")], None).wait()?;
    log.append_if([event("C")], None).wait()?;

    assert_eq!(in_the_way(guarded(&log, typed("A"), START)), [1]);
    assert_eq!(in_the_way(guarded(&log, tagged("x"), START)), [1, 2]);
    assert_eq!(in_the_way(guarded(&log, QueryItem::new().tags(["x", "y"]), START)), [1]);
    assert_eq!(in_the_way(guarded(&log, QueryItem::new().types(["B", "C"]), START)), [2, 3]);
    assert_eq!(in_the_way(guarded(&log, typed_and_tagged("B", "x"), START)), [2]);
    assert_eq!(in_the_way(guarded(&log, Query::all(), Position::new(1))), [2, 3]);
    let either = Query::from([typed_and_tagged("A", "y"), QueryItem::new().types(["C"])]);
    assert_eq!(in_the_way(guarded(&log, either, START)), [1, 3]);
    Ok(())
}

fn typed_and_tagged(event_type: &str, tag: &str) -> QueryItem {
    QueryItem::new().types([event_type]).tag(tag)
}

pub(in crate::testing) fn el_13_what_does_not_match_is_no_obstacle(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if([event("A").tag("x"), event("B").tag("y")], None).wait()?;
    store.event_log("other")?.append_if([event("C").tag("z")], None).wait()?;
    guarded(&log, QueryItem::new().tags(["x", "y"]), START)?;
    guarded(&log, typed_and_tagged("A", "y"), START)?;
    guarded(&log, typed("C"), START)?;
    guarded(&log, tagged("z"), START)?;
    guarded(&log, tagged("unheard-of"), START)?;
    Ok(())
}

pub(in crate::testing) fn el_13_its_own_events_do_not_count(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let defined = || [event("Defined").tag("course:c1"), event("Defined").tag("course:c1")];
    log.append_if(defined(), none(tagged("course:c1"), START)).wait()?;
    assert_eq!(in_the_way(log.append_if(defined(), none(tagged("course:c1"), START)).wait()), [1, 2]);
    Ok(())
}

pub(in crate::testing) fn el_13_a_failed_condition_writes_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A")]).wait()?;
    let before = (everything(&log)?, log.info().wait()?, log.streams().wait()?);
    in_the_way(guarded(&log, typed("A"), START));
    in_the_way(log.append("t", 0, numbered(3)).condition(none(Query::all(), START)).wait());
    assert_eq!((everything(&log)?, log.info().wait()?, log.streams().wait()?), before);
    Ok(())
}

pub(in crate::testing) fn el_13_random_conditions_decide_by_definition(fixture: &dyn Fixture) -> CaseResult {
    const TYPES: [&str; 3] = ["A", "B", "C"];
    const TAGS: [&str; 5] = ["t1", "t2", "t3", "t4", "t5"];
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut numbers = Numbers(13);
    let mut model: Vec<Event> = Vec::new();
    for round in 0..300 {
        let tags = numbers.some_of(&TAGS, 2);
        let types = numbers.some_of(&TYPES, 2);
        let item = QueryItem::new().types(types).tags(tags);
        let query = if item == QueryItem::new() { Query::all() } else { item.into() };
        let head = model.last().map_or(0, |event| event.position.get());
        let after = Position::new((head + 2).saturating_sub(numbers.below(12)));
        let new = event(numbers.one_of(&TYPES)).tags(numbers.some_of(&TAGS, 2));

        let matches =
            |event: &&Event| event.position > after && query.matches(&event.event_type, &event.tags);
        let expected: Vec<u64> =
            model.iter().filter(matches).map(|event| event.position.get()).take(10).collect();
        let result = log.append_if([new], none(&query, after)).wait();
        if expected.is_empty() {
            let position = result?.last_position;
            model = everything(&log)?;
            assert_eq!(model.last().map(|event| event.position), Some(position), "round {round}");
        } else {
            assert_eq!(in_the_way(result), expected, "round {round}: {query:?} after {after}");
        }
    }
    assert_eq!(everything(&log)?, model);
    assert!(model.len() > 50, "both decisions were common: {} accepted of 300", model.len());
    Ok(())
}

pub(in crate::testing) fn el_14_both_guards_in_one_append(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A").tag("x")]).wait()?;
    let append = |expected: Expected, tag: &str| {
        log.append("s", expected, [event("B")]).condition(none(tagged(tag), START)).wait()
    };
    refused!(append(0.into(), "free"), ErrorKind::Conflict { expected: 0, actual: 1 });
    assert_eq!(in_the_way(append(1.into(), "x")), [1]);
    assert_eq!(in_the_way(append(Expected::Any, "x")), [1]);
    let both = append(0.into(), "x").expect_err("both fail");
    assert!(both.is_conflict());
    assert_eq!(everything(&log)?.len(), 1, "either failing fails both");
    assert_eq!(append(1.into(), "free")?.last_seq_nr, 2);
    Ok(())
}

/// Turns the audit on and makes these decisions.
fn audited(log: &EventLog, conditions: &[AppendCondition]) -> CaseResult {
    log.audit_conditions(true).wait()?;
    for condition in conditions {
        log.append_if([event("Decided").tag("decision")], condition.clone()).wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn el_22_auditing_is_off_by_default(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    guarded(&log, typed("A"), START)?;
    assert_eq!(log.info().wait()?.map(|info| info.audits_conditions), Some(false));
    assert_eq!(store.verify(Progress::default()).wait()?.conditions, 0);
    Ok(())
}

pub(in crate::testing) fn el_22_verify_replays_each_decision(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    guarded(&log, typed("A"), START)?;
    let head = log.append("s", 0, [event("A")]).wait()?.last_position;
    audited(&log, &[none(typed("A"), head), none(typed("B"), START), none(tagged("x"), START)])?;
    log.append("s", 1, [event("B").tag("x")]).condition(none(typed("C"), START)).wait()?;
    log.append("s", 2, [event("A")]).wait()?;
    in_the_way(guarded(&log, typed("B"), START));
    assert_eq!(log.info().wait()?.map(|info| info.audits_conditions), Some(true));
    let report = store.verify(Progress::default()).wait()?;
    assert_eq!((report.conditions, report.findings), (4, vec![]), "those accepted since it was turned on");

    log.audit_conditions(false).wait()?;
    guarded(&log, typed("D"), START)?;
    assert_eq!(log.info().wait()?.map(|info| info.audits_conditions), Some(false));
    assert_eq!(store.verify(Progress::default()).wait()?.conditions, 4, "what was kept stays");
    Ok(())
}

pub(in crate::testing) fn el_22_a_broken_decision_is_found(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if([event("A").tag("x"), event("B").tag("y")], None).wait()?;
    let broken = HistoryRow::Condition { position: Position::new(4), condition: none(tagged("x"), START) };
    // A copy in which the second event claims that nothing with the first one's tag was before it.
    let copy = store.event_log("copy")?;
    let seed = copy.append_if([event("Seed"), event("Seed")], None).wait()?.last_position;
    let moved = |event: Event| {
        let position = Position::new(event.position.get() + seed.get());
        HistoryRow::Event(Event { log: "copy".into(), position, ..event })
    };
    let mut rows: Vec<_> = everything(&log)?.into_iter().map(moved).collect();
    rows.push(broken);
    let operation = Operation::Restore { log: "copy".into(), rows };
    let request =
        crate::backend::CommitRequest { id: None, operations: vec![operation], on_callers_thread: false };
    crate::wait(crate::testing::support::backend(&store)?.commit(request))?;

    let report = store.verify(Progress::default()).wait()?;
    assert_eq!(report.conditions, 1);
    let broken = report.findings.iter().filter(|finding| finding.problem.contains("condition"));
    let broken: Vec<_> = broken.map(|finding| (finding.log.as_deref(), finding.position)).collect();
    assert_eq!(broken, [(Some("copy"), Some(Position::new(4)))], "{report:?}");
    Ok(())
}

pub(in crate::testing) fn el_22_compaction_breaks_no_decision(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let head = log.append("s", 0, [event("A").tag("x"), event("A").tag("x")]).wait()?.last_position;
    audited(&log, &[none(tagged("x"), head), none(typed("B"), START)])?;
    let head = log.append("t", 0, [event("B")]).wait()?.last_position;
    let verified = || store.verify(Progress::default()).wait().map(|report| report.findings);
    log.compact("s", 2).wait()?;
    assert_eq!(verified()?, []);
    log.trim(head).wait()?;
    assert_eq!(verified()?, []);
    log.forget(head).wait()?;
    assert_eq!(verified()?, []);
    Ok(())
}

pub(in crate::testing) fn el_22_auditing_is_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    audited(&orders(&store)?, &[none(typed("A"), START)])?;
    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    guarded(&log, typed("B"), START)?;
    assert_eq!(log.info().wait()?.map(|info| info.audits_conditions), Some(true));
    let report = store.verify(Progress::default()).wait()?;
    assert_eq!((report.conditions, report.findings), (2, vec![]));
    Ok(())
}
