//! Cases of compacting streams and raising their marks: el_08, el_09.

use crate::{
    backend::HiddenRead,
    error::ErrorKind,
    event::Position,
    event_log::{Compacted, EventLog, Expected},
    operation::wait,
    query::{Query, QueryItem},
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, backend, event, everything, in_parallel, none, numbered, orders, positions, refused,
            seq_nrs, tagged, typed,
        },
    },
};

const START: Position = Position::START;

/// Two streams with tagged events, alternating: `s` at the odd positions, `t` at the even ones.
fn two_streams(log: &EventLog) -> CaseResult {
    for _ in 0..4 {
        log.append("s", Expected::Any, [event("A").tags(["a", "s"])]).wait()?;
        log.append("t", Expected::Any, [event("A").tags(["a", "t"])]).wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn el_08_hides_from_every_read(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    assert_eq!(log.compact("s", 2).wait()?, Compacted { through: 2 });

    assert_eq!(seq_nrs(&log.read("s", ..).wait()?), [3, 4]);
    assert_eq!(seq_nrs(&log.read("s", 1..=2).wait()?), [] as [u64; 0]);
    assert_eq!(seq_nrs(&log.read("s", 2..=3).descending().wait()?), [3]);
    assert_eq!(seq_nrs(&log.read("t", ..).wait()?), [1, 2, 3, 4]);
    let visible = [2, 4, 5, 6, 7, 8];
    for query in [Query::all(), tagged("a"), typed("A")] {
        assert_eq!(positions(&log.query(&query).wait()?), visible, "{query:?}");
        let mut backwards = positions(&log.query(&query).descending().wait()?);
        backwards.reverse();
        assert_eq!(backwards, visible, "{query:?}");
    }
    assert_eq!(positions(&log.query(tagged("s")).limit(1).wait()?), [5]);
    assert_eq!(everything(&log)?.len(), visible.len());
    Ok(())
}

pub(in crate::testing) fn el_08_the_first_hidden_match_can_be_found(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let backend = backend(&store)?;
    let hidden = |query: &Query, after: u64, through: u64| {
        let (log, query) = (log.name().into(), query.clone());
        let (after, through) = (Position::new(after), Position::new(through));
        wait(backend.first_hidden(HiddenRead { log, query, after, through })).map(|at| at.map(Position::get))
    };
    assert_eq!(hidden(&Query::all(), 0, u64::MAX)?, None, "of an unknown log");
    two_streams(&log)?;
    assert_eq!(hidden(&Query::all(), 0, u64::MAX)?, None);
    // 1, 3 and 5 are hidden.
    log.compact("s", 3).wait()?;
    for query in [Query::all(), tagged("a"), tagged("s"), typed("A")] {
        assert_eq!(hidden(&query, 0, u64::MAX)?, Some(1), "{query:?}");
        assert_eq!(hidden(&query, 1, 3)?, Some(3), "{query:?}");
        assert_eq!(hidden(&query, 3, 4)?, None, "{query:?}");
        assert_eq!(hidden(&query, 3, 5)?, Some(5), "{query:?}");
        assert_eq!(hidden(&query, 5, u64::MAX)?, None, "{query:?}");
    }
    assert_eq!(hidden(&tagged("t"), 0, u64::MAX)?, None);
    log.trim(Position::new(4)).wait()?;
    assert_eq!(hidden(&tagged("t"), 0, u64::MAX)?, Some(2));
    log.forget(Position::new(3)).wait()?;
    for query in [Query::all(), tagged("a")] {
        assert_eq!(hidden(&query, 0, u64::MAX)?, Some(4), "{query:?}: what was forgotten is not found");
    }
    Ok(())
}

pub(in crate::testing) fn el_08_keeps_the_mark(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    log.compact("s", 3).wait()?;
    let info = &log.streams().wait()?.items[0];
    assert_eq!((info.head, info.compacted_through, info.is_compacted_empty()), (4, 3, false));
    assert_eq!(info.compacted_position, Position::new(5), "where its last hidden event was");
    assert_eq!(log.info().wait()?.map(|info| info.compacted_through), Some(Position::new(5)));
    assert_eq!(log.append("s", 4, [event("A")]).wait()?.last_seq_nr, 5);
    Ok(())
}

pub(in crate::testing) fn el_08_beyond_the_head_means_the_head(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    assert_eq!(log.compact("s", 99).wait()?, Compacted { through: 4 });
    assert_eq!(log.compact("t", u64::MAX).wait()?, Compacted { through: 4 });
    assert!(everything(&log)?.is_empty());
    log.append("s", 4, numbered(1)).wait()?;
    assert_eq!(seq_nrs(&log.read("s", ..).wait()?), [5], "what comes later is not hidden");
    Ok(())
}

pub(in crate::testing) fn el_08_repetition_and_unknown_streams_are_fine(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.compact("s", 5).wait()?, Compacted { through: 0 }, "unknown log");
    two_streams(&log)?;
    assert_eq!(log.compact("unknown", 5).wait()?, Compacted { through: 0 });
    assert_eq!(log.streams().wait()?.items.len(), 2, "it does not make a stream");
    assert_eq!(log.compact("s", 0).wait()?, Compacted { through: 0 });
    assert_eq!(log.compact("s", 3).wait()?, Compacted { through: 3 });
    assert_eq!(log.compact("s", 3).wait()?, Compacted { through: 3 });
    assert_eq!(log.compact("s", 1).wait()?, Compacted { through: 3 }, "a mark never goes back");
    assert_eq!(seq_nrs(&log.read("s", ..).wait()?), [4]);
    Ok(())
}

pub(in crate::testing) fn el_08_conditions_still_see_what_happened(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    log.compact("s", 4).wait()?;
    let queries = [tagged("s"), QueryItem::new().types(["A"]).tags(["a", "s"]).into()];
    for query in queries {
        let error = refused!(
            log.append_if([event("B")], none(&query, START)).wait(),
            ErrorKind::ConditionFailed { .. }
        );
        let ErrorKind::ConditionFailed { matching } = error.kind() else { panic!("{error:?}") };
        let told: Vec<u64> = matching.iter().map(|event| event.position.get()).collect();
        assert_eq!(told, [1, 3, 5, 7], "{query:?}");
        assert!(matching.iter().all(|event| event.event_type == "A" && event.tags == ["a", "s"]));
    }
    let all = log.append_if([event("B")], none(typed("A"), START)).wait();
    let error = refused!(all, ErrorKind::ConditionFailed { .. });
    let ErrorKind::ConditionFailed { matching } = error.kind() else { panic!("{error:?}") };
    let told: Vec<u64> = matching.iter().map(|event| event.position.get()).collect();
    assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8], "hidden and visible ones in one order");
    log.append_if([event("B")], none(tagged("s"), Position::new(7))).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_08_forget_removes_that_too(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    log.compact("s", 3).wait()?;
    log.forget(Position::new(3)).wait()?;
    let in_the_way = |tag| -> Vec<u64> {
        let result = log.append_if([event("B")], none(tagged(tag), START)).wait();
        match result.map_err(|error| error.kind().clone()) {
            Err(ErrorKind::ConditionFailed { matching }) => {
                matching.iter().map(|event| event.position.get()).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(in_the_way("s"), [5, 7], "only through that position");
    assert_eq!(in_the_way("t"), [2, 4, 6, 8], "visible events are not forgotten");
    log.forget(Position::new(99)).wait()?;
    assert_eq!(in_the_way("s"), [7]);
    assert_eq!(positions(&log.query(Query::all()).wait()?), [2, 4, 6, 7, 8]);
    store.event_log("unknown")?.forget(Position::new(5)).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_08_nobody_sees_half_of_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for round in 0..10 {
        let stream = format!("s{round}");
        log.append(&stream, 0, numbered(200)).wait()?;
        let seen = in_parallel(3, |thread| {
            if thread == 0 {
                log.compact(&stream, 200).wait()?;
                return Ok(Vec::new());
            }
            (0..5).map(|_| Ok(log.read(&stream, ..).wait()?.items.len())).collect::<Result<Vec<_>, _>>()
        })?;
        let seen: Vec<usize> = seen.into_iter().flatten().collect();
        assert!(seen.iter().all(|count| [0, 200].contains(count)), "{seen:?}");
        assert!(log.read(&stream, ..).wait()?.items.is_empty(), "hidden at once");
    }
    Ok(())
}

pub(in crate::testing) fn el_08_a_long_stream_while_others_write(fixture: &dyn Fixture) -> CaseResult {
    const LONG: u64 = 20_000;
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("long", 0, (0..LONG).map(|_| event("A").tag("long"))).wait()?;
    assert_eq!(log.compact("long", LONG - 1).wait()?, Compacted { through: LONG - 1 });
    for n in 0..50 {
        log.append("other", n, [event("B")]).wait()?;
        assert_eq!(log.query(tagged("long")).wait()?.items.len(), 1);
    }
    assert_eq!(seq_nrs(&log.read("long", ..).wait()?), [LONG]);
    let result = log.append_if([event("B")], none(tagged("long"), START)).wait();
    let error = refused!(result, ErrorKind::ConditionFailed { .. });
    let ErrorKind::ConditionFailed { matching } = error.kind() else { panic!("{error:?}") };
    assert_eq!(matching.len(), 10);
    assert_eq!(store.verify(crate::backend::Progress::default()).wait()?.findings, []);
    Ok(())
}

pub(in crate::testing) fn el_08_compaction_is_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    two_streams(&log)?;
    log.compact("s", 3).wait()?;
    log.compact("t", 4).wait()?;
    log.forget(Position::new(2)).wait()?;
    let before = (everything(&log)?, log.streams().wait()?, log.info().wait()?);

    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    assert_eq!((everything(&log)?, log.streams().wait()?, log.info().wait()?), before);
    assert_eq!(positions(&log.query(Query::all()).wait()?), [7]);
    let result = log.append_if([event("B")], none(tagged("t"), START)).wait();
    let error = refused!(result, ErrorKind::ConditionFailed { .. });
    let ErrorKind::ConditionFailed { matching } = error.kind() else { panic!("{error:?}") };
    assert_eq!(matching.iter().map(|event| event.position.get()).collect::<Vec<_>>(), [4, 6, 8]);
    Ok(())
}

pub(in crate::testing) fn el_09_raises_the_mark_of_an_empty_stream(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.raise_mark("copy", 5).wait()?, Compacted { through: 5 });
    assert_eq!(log.head("copy").wait()?, 5);
    assert!(log.read("copy", ..).wait()?.items.is_empty());
    let info = &log.streams().wait()?.items[0];
    assert_eq!((info.head, info.compacted_through, info.compacted_position), (5, 5, START));
    assert!(info.is_compacted_empty());
    refused!(log.append("copy", 0, [event("A")]).wait(), ErrorKind::Conflict { expected: 0, actual: 5 });
    assert_eq!(log.append("copy", 5, numbered(2)).wait()?.first_seq_nr, 6);

    log.append("compacted", 0, numbered(3)).wait()?;
    log.compact("compacted", 3).wait()?;
    assert_eq!(log.raise_mark("compacted", 8).wait()?, Compacted { through: 8 });
    assert_eq!(log.append("compacted", 8, numbered(1)).wait()?.last_seq_nr, 9);
    Ok(())
}

pub(in crate::testing) fn el_09_live_events_refuse_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    refused!(log.raise_mark("s", 9).wait(), ErrorKind::InvalidArgument { .. });
    log.compact("s", 2).wait()?;
    refused!(log.raise_mark("s", 9).wait(), ErrorKind::InvalidArgument { .. });
    assert_eq!((log.head("s").wait()?, log.read("s", ..).wait()?.items.len()), (3, 1));
    Ok(())
}

pub(in crate::testing) fn el_09_never_lowers(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.raise_mark("s", 5).wait()?;
    assert_eq!(log.raise_mark("s", 5).wait()?, Compacted { through: 5 });
    assert_eq!(log.raise_mark("s", 2).wait()?, Compacted { through: 5 });
    assert_eq!(log.raise_mark("s", 0).wait()?, Compacted { through: 5 });
    assert_eq!(log.head("s").wait()?, 5);
    Ok(())
}
