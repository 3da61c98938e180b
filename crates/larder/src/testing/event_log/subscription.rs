//! Cases of subscriptions: el_17.

use std::{thread, time::Duration};

use crate::{
    error::ErrorKind,
    event::{Event, Position},
    event_log::Expected,
    query::Query,
    subscription::Subscription,
    testing::{
        fixture::Fixture,
        support::{
            CaseResult, PATIENCE, event, everything, in_parallel, next, numbered, orders, refused, tagged,
            typed,
        },
    },
};

/// Long enough to see that nothing comes.
const A_MOMENT: Duration = Duration::from_millis(50);

/// Asserts that nothing comes.
fn silent(subscription: &mut Subscription<Event>) {
    let item = subscription.try_next().wait_timeout(A_MOMENT);
    assert!(item.is_none(), "{item:?}");
}

/// The positions of the next events.
fn positions(subscription: &mut Subscription<Event>, count: usize) -> Result<Vec<u64>, crate::BoxError> {
    (0..count).map(|_| Ok(next(subscription)?.position.get())).collect()
}

pub(in crate::testing) fn el_17_first_the_past_then_live(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(2)).wait()?;
    let mut live = log.subscribe(Query::all());
    assert_eq!(positions(&mut live, 2)?, [1, 2]);
    silent(&mut live);
    log.append("t", 0, numbered(2)).wait()?;
    log.append_if(numbered(1), None).wait()?;
    assert_eq!(positions(&mut live, 3)?, [3, 4, 5]);
    silent(&mut live);
    Ok(())
}

pub(in crate::testing) fn el_17_after_is_exclusive(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(4)).wait()?;
    let mut some = log.subscribe(Query::all()).after(Position::new(2));
    assert_eq!(positions(&mut some, 2)?, [3, 4]);
    let mut none = log.subscribe(Query::all()).after(Position::new(4));
    silent(&mut none);
    log.append("s", 4, numbered(1)).wait()?;
    assert_eq!((positions(&mut some, 1)?, positions(&mut none, 1)?), (vec![5], vec![5]));
    let mut all = log.subscribe(Query::all()).after(None);
    assert_eq!(positions(&mut all, 5)?, [1, 2, 3, 4, 5]);
    Ok(())
}

pub(in crate::testing) fn el_17_only_what_matches(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut subscriptions =
        [log.subscribe(typed("A")), log.subscribe(tagged("x")), log.subscribe_stream("s")];
    subscriptions.iter_mut().for_each(silent);
    for _ in 0..2 {
        log.append("s", Expected::Any, [event("A"), event("B").tag("x")]).wait()?;
        log.append("t", Expected::Any, [event("A").tag("x")]).wait()?;
        store.event_log("other")?.append_if([event("A").tag("x")], None).wait()?;
    }
    let [typed, tagged, stream] = &mut subscriptions;
    assert_eq!(positions(typed, 4)?, [1, 3, 4, 6]);
    assert_eq!(positions(tagged, 4)?, [2, 3, 5, 6]);
    assert_eq!(positions(stream, 4)?, [1, 2, 4, 5]);
    subscriptions.iter_mut().for_each(silent);
    Ok(())
}

pub(in crate::testing) fn el_17_a_refused_append_never_shows(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut live = log.subscribe(Query::all());
    silent(&mut live);
    refused!(log.append("s", 3, numbered(2)).wait(), ErrorKind::Conflict { .. });
    let mut batch = store.batch();
    batch.add(log.append("s", 0, numbered(2)));
    batch.require_head(&log, "s", 9);
    refused!(batch.commit().wait(), ErrorKind::Conflict { .. });
    silent(&mut live);
    log.append("t", 0, [event("Seen")]).wait()?;
    assert_eq!(next(&mut live)?.event_type, "Seen");
    Ok(())
}

pub(in crate::testing) fn el_17_no_gap_while_writers_never_stop(fixture: &dyn Fixture) -> CaseResult {
    const WRITERS: usize = 3;
    const EACH: usize = 150;
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if(numbered(1_500), None).wait()?;
    let expected = 1_500 + WRITERS * EACH * 2;
    let seen = in_parallel(WRITERS + 2, |thread| {
        if thread < WRITERS {
            for _ in 0..EACH {
                log.append(format!("s{thread}"), Expected::Any, numbered(2)).wait()?;
            }
            return Ok(Vec::new());
        }
        positions(&mut log.subscribe(Query::all()), expected)
    })?;
    let all: Vec<u64> = everything(&log)?.iter().map(|event| event.position.get()).collect();
    assert_eq!(all.len(), expected);
    for seen in &seen[WRITERS..] {
        assert!(*seen == all, "exactly once, in order, nothing missing");
    }
    Ok(())
}

pub(in crate::testing) fn el_17_many_subscribers_at_the_switch(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    // Each starts anew while the writer writes, so that the switch from past to live falls anywhere.
    in_parallel(4, |thread| {
        if thread == 0 {
            for n in 0..300 {
                log.append("s", n, [event("A")]).wait()?;
            }
            return Ok(());
        }
        for _ in 0..15 {
            let mut live = log.subscribe(Query::all());
            let seen = positions(&mut live, 20)?;
            assert!(seen.iter().copied().eq(1..=20), "{seen:?}");
            let mut tail = log.subscribe_stream("s").after(Position::new(100));
            let seen = positions(&mut tail, 20)?;
            assert!(seen.iter().copied().eq(101..=120), "{seen:?}");
        }
        Ok(())
    })?;
    Ok(())
}

pub(in crate::testing) fn el_17_a_slow_subscriber_loses_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut slow = log.subscribe(Query::all());
    silent(&mut slow);
    for n in 0..5 {
        log.append("s", n * 1_000, numbered(1_000)).wait()?;
    }
    let seen = positions(&mut slow, 5_000)?;
    assert!(seen.into_iter().eq(1..=5_000));
    Ok(())
}

pub(in crate::testing) fn el_17_giving_up_waiting_loses_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut live = log.subscribe(Query::all());
    let writer = thread::spawn({
        let log = log.clone();
        move || (0..100).try_for_each(|n| log.append("s", n, numbered(1)).wait().map(drop))
    });
    let (mut seen, mut waits) = (Vec::new(), 0);
    while seen.len() < 100 {
        match live.try_next().wait_timeout(Duration::from_micros(200)) {
            Some(event) => seen.push(event?.ok_or("it ended")?.seq_nr),
            None => waits += 1,
        }
        assert!(waits < 500_000, "events are missing");
    }
    writer.join().map_err(|_| "the writer panicked")??;
    assert!(seen.into_iter().eq(1..=100));
    Ok(())
}

pub(in crate::testing) fn el_17_closing_ends_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(1)).wait()?;
    let waiting = thread::spawn({
        let mut live = log.subscribe(Query::all());
        move || -> Result<bool, crate::BoxError> {
            next(&mut live)?;
            let end = live.try_next().wait_timeout(PATIENCE).ok_or("it never ended")?;
            let again = live.try_next().wait_timeout(PATIENCE).ok_or("it started again")?;
            Ok(end?.is_none() && again?.is_none())
        }
    });
    let mut unread = log.subscribe(Query::all());
    thread::sleep(A_MOMENT);
    store.close().wait()?;
    assert!(waiting.join().map_err(|_| "it panicked")??, "one that waits is woken");
    assert!(unread.try_next().wait()?.is_none());
    assert!(log.subscribe_stream("s").try_next().wait()?.is_none(), "one of a closed store");
    Ok(())
}

pub(in crate::testing) fn el_17_compacted_history_is_told_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(4)).wait()?;
    log.append("t", 0, numbered(2)).wait()?;
    log.compact("s", 3).wait()?;
    let mut all = log.subscribe(Query::all());
    let told = refused!(all.try_next().wait(), ErrorKind::HistoryCompacted { .. });
    assert_eq!(*told.kind(), ErrorKind::HistoryCompacted { through: Position::new(3) });
    assert_eq!(positions(&mut all, 3)?, [4, 5, 6], "it goes on with what is left");

    let mut from_below = log.subscribe(Query::all()).after(Position::new(2));
    refused!(from_below.try_next().wait(), ErrorKind::HistoryCompacted { .. });
    let mut from_above = log.subscribe(Query::all()).after(Position::new(3));
    assert_eq!(positions(&mut from_above, 3)?, [4, 5, 6]);
    Ok(())
}

pub(in crate::testing) fn el_17_a_streams_own_compaction_is_told(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(2)).wait()?;
    log.append("t", 0, numbered(2)).wait()?;
    log.compact("s", 1).wait()?;
    assert_eq!(positions(&mut log.subscribe_stream("t"), 2)?, [3, 4], "another stream's is no loss");
    let mut compacted = log.subscribe_stream("s");
    refused!(compacted.try_next().wait(), ErrorKind::HistoryCompacted { .. });
    assert_eq!(positions(&mut compacted, 1)?, [2]);
    log.trim(Position::new(4)).wait()?;
    refused!(log.subscribe_stream("t").try_next().wait(), ErrorKind::HistoryCompacted { .. });
    refused!(log.subscribe(Query::all()).try_next().wait(), ErrorKind::HistoryCompacted { .. });
    Ok(())
}

pub(in crate::testing) fn el_17_compaction_and_drops_do_not_end_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(2)).wait()?;
    let mut live = log.subscribe(Query::all());
    assert_eq!(positions(&mut live, 2)?, [1, 2]);
    log.compact("s", 2).wait()?;
    log.drop_log().wait()?;
    silent(&mut live);
    let position = log.append("s", 0, numbered(1)).wait()?.last_position.get();
    assert_eq!(positions(&mut live, 1)?, [position]);
    Ok(())
}
