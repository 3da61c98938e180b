//! Cases of appending to streams: el_01 to el_05, el_07.

use std::time::{Duration, SystemTime};

use crate::{
    clock::Clock,
    error::ErrorKind,
    event::{NewEvent, Payload, Position},
    event_log::{Appended, Expected},
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, numbered, orders, positions, refused, seq_nrs},
    },
};

use uuid::Uuid;

pub(in crate::testing) fn el_01_new_event_fields(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let id = Uuid::from_u128(7);
    let new = NewEvent::json("Placed", r#"{ "total": 1.50 }"#)
        .metadata_json(r#"{ "by":"ada" }"#)
        .tags(["customer:c1", "a", "region:eu"])
        .id(id);
    log.append("order-1", 0, [new]).wait()?;

    let page = log.read("order-1", ..).wait()?;
    let [event] = &page.items[..] else { panic!("one event, not {page:?}") };
    assert_eq!(&*event.log, "orders");
    assert_eq!(event.position, Position::new(1));
    assert_eq!(event.stream.as_deref(), Some("order-1"));
    assert_eq!(event.seq_nr, 1);
    assert_eq!((event.id, event.given_id()), (id, Some(id)));
    assert_eq!(event.event_type, "Placed");
    assert_eq!(event.payload, Payload::Json(r#"{ "total": 1.50 }"#.into()));
    assert_eq!(event.metadata.as_deref(), Some(r#"{ "by":"ada" }"#));
    assert_eq!(event.tags, ["customer:c1", "a", "region:eu"]);
    assert_eq!(event.recorded_at, fixture.clock().now());
    assert_eq!(everything(&log)?, page.items, "a query gives what a stream read gives");
    Ok(())
}

pub(in crate::testing) fn el_01_an_event_without_a_stream(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let appended = log.append_if([event("Seen"), event("Seen")], None).wait()?;
    assert_eq!(appended, Appended::new(0, Position::new(1), 2));

    for event in everything(&log)? {
        assert_eq!((event.stream, event.seq_nr, event.metadata), (None, 0, None));
        assert!(event.tags.is_empty());
    }
    assert!(log.streams().wait()?.items.is_empty());
    Ok(())
}

pub(in crate::testing) fn el_01_an_id_is_derived_from_log_and_position(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, other) = (orders(&store)?, store.event_log("other")?);
    for log in [&log, &other] {
        log.append("s", 0, numbered(2)).wait()?;
    }
    let ids: Vec<Uuid> =
        everything(&log)?.into_iter().chain(everything(&other)?).map(|event| event.id).collect();
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "each position of each log has its own: {ids:?}");
    let again: Vec<Uuid> = log.read("s", ..).wait()?.into_iter().map(|event| event.id).collect();
    assert_eq!(again, ids[..2], "it is the same at every read");
    assert!(everything(&log)?.iter().all(|event| event.given_id().is_none()));
    Ok(())
}

pub(in crate::testing) fn el_01_recorded_at_is_the_clocks_microsecond(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let at = |nanos| SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, nanos);
    fixture.clock().set(at(123_456_789));
    log.append("s", 0, [event("A")]).wait()?;
    fixture.clock().advance(Duration::from_secs(5));
    log.append("s", 1, [event("B")]).wait()?;

    let times: Vec<SystemTime> = everything(&log)?.iter().map(|event| event.recorded_at).collect();
    assert_eq!(times, [at(123_456_000), at(123_456_000) + Duration::from_secs(5)]);
    Ok(())
}

pub(in crate::testing) fn el_01_time_before_the_epoch_is_the_epoch(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    fixture.clock().set(SystemTime::UNIX_EPOCH - Duration::from_secs(3_600));
    log.append("s", 0, [event("A")]).wait()?;
    assert_eq!(everything(&log)?[0].recorded_at, SystemTime::UNIX_EPOCH);
    fixture.clock().set(SystemTime::UNIX_EPOCH + Duration::from_secs(250_000_000_000));
    log.append("s", 1, [event("A")]).wait()?;
    assert_eq!(everything(&log)?[1].recorded_at, fixture.clock().now(), "some thousand years on");
    Ok(())
}

pub(in crate::testing) fn el_01_repeated_tags_are_kept_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A").tags(["b", "a", "b", "a"])]).wait()?;
    assert_eq!(everything(&log)?[0].tags, ["b", "a"]);
    Ok(())
}

pub(in crate::testing) fn el_02_consecutive_numbers_and_positions(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.append("a", 0, numbered(3)).wait()?, Appended::new(1, Position::new(1), 3));
    let second = log.append("b", 0, numbered(2)).wait()?;
    assert_eq!((second.first_seq_nr, second.last_seq_nr), (1, 2));
    assert!(second.first_position > Position::new(3));
    let third = log.append("a", 3, numbered(2)).wait()?;
    assert_eq!((third.first_seq_nr, third.last_seq_nr, third.count()), (4, 5, 2));
    assert!(third.first_position > second.last_position);

    let page = log.read("a", ..).wait()?;
    assert_eq!(seq_nrs(&page), [1, 2, 3, 4, 5]);
    assert_eq!(positions(&page)[..3], [1, 2, 3]);
    assert_eq!(positions(&page)[3..], [third.first_position.get(), third.last_position.get()]);
    let payloads: Vec<u64> = page.items.iter().map(crate::Event::decode).collect::<Result<_, _>>()?;
    assert_eq!(payloads, [1, 2, 3, 1, 2], "they are in the order given");
    Ok(())
}

pub(in crate::testing) fn el_03_exact_needs_the_head(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A"), event("B")]).wait()?;
    assert_eq!(log.append("s", 2, [event("C")]).wait()?.last_seq_nr, 3);
    assert_eq!(log.append("s", Expected::Exact(3), [event("D")]).wait()?.last_seq_nr, 4);
    Ok(())
}

pub(in crate::testing) fn el_03_a_stale_number_is_a_conflict(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    for expected in 0..3 {
        let result = log.append("s", expected, [event("A")]).wait();
        let error = refused!(result, ErrorKind::Conflict { expected: told, actual: 3 } if *told == expected);
        assert!(error.is_conflict() && !error.is_retryable());
    }
    Ok(())
}

pub(in crate::testing) fn el_03_a_gap_is_a_conflict(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    refused!(log.append("s", 1, [event("A")]).wait(), ErrorKind::Conflict { expected: 1, actual: 0 });
    log.append("s", 0, numbered(3)).wait()?;
    refused!(log.append("s", 4, [event("A")]).wait(), ErrorKind::Conflict { expected: 4, actual: 3 });
    let result = log.append("s", u64::MAX, [event("A")]).wait();
    refused!(result, ErrorKind::Conflict { expected: u64::MAX, actual: 3 });
    Ok(())
}

pub(in crate::testing) fn el_03_a_conflict_writes_and_publishes_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    let before = (everything(&log)?, log.streams().wait()?, log.info().wait()?);
    let mut live = log.subscribe(Query::all()).after(Position::new(3));
    assert!(live.try_next().wait_timeout(Duration::ZERO).is_none());

    refused!(log.append("s", 2, numbered(5)).wait(), ErrorKind::Conflict { .. });
    refused!(log.append("new", 2, numbered(5)).wait(), ErrorKind::Conflict { .. });

    assert_eq!((everything(&log)?, log.streams().wait()?, log.info().wait()?), before);
    assert!(live.try_next().wait_timeout(Duration::from_millis(50)).is_none());
    Ok(())
}

pub(in crate::testing) fn el_03_any_always_succeeds(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for n in 1..=3 {
        assert_eq!(log.append("s", Expected::Any, [event("A")]).wait()?.last_seq_nr, n);
    }
    Ok(())
}

pub(in crate::testing) fn el_04_an_empty_append_checks_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let empty = || Vec::<NewEvent>::new();
    let in_the_way = crate::testing::support::none(Query::all(), Position::START);

    assert_eq!(log.append("s", 7, empty()).wait()?, Appended::default());
    assert_eq!(log.info().wait()?, None, "not even a log is made");
    log.append("s", 0, numbered(1)).wait()?;
    assert_eq!(log.append("s", 7, empty()).wait()?.count(), 0);
    assert_eq!(log.append_if(empty(), in_the_way.clone()).wait()?, Appended::default());
    assert_eq!(log.append("t", 9, empty()).condition(in_the_way).wait()?, Appended::default());
    assert_eq!(everything(&log)?.len(), 1);
    assert_eq!(log.streams().wait()?.items.len(), 1);
    Ok(())
}

pub(in crate::testing) fn el_05_one_bad_event_writes_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let bad = [
        NewEvent::json("A", "{"),
        NewEvent::new("A", &std::collections::HashMap::from([((1, 2), 3)])), // keys that JSON has not
        event(""),
        event("A").tag(""),
        event("A").tags((0..65).map(|n| format!("tag-{n}"))),
        event("A").metadata_json("[]"),
        event("A").metadata_json("{"),
        NewEvent::bytes("A", vec![0; (1 << 20) + 1]),
    ];
    for bad in bad {
        let shown = format!("{:.200}", format!("{bad:?}"));
        let result = log.append("s", 0, [event("A"), bad, event("C")]).wait();
        let error = result.expect_err(&shown);
        let refused = matches!(error.kind(), ErrorKind::InvalidArgument { .. } | ErrorKind::TooLarge { .. });
        assert!(refused, "{shown}: {error:?}");
        assert_eq!(log.info().wait()?, None, "after {shown}");
    }
    assert_eq!(log.head("s").wait()?, 0);
    log.append("s", 0, [event("A")]).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_07_head_of_an_unknown_stream(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.head("s").wait()?, 0);
    store.event_log("other")?.append("s", 0, numbered(2)).wait()?;
    log.append("t", 0, numbered(1)).wait()?;
    assert_eq!(log.head("s").wait()?, 0, "a stream belongs to its log");
    Ok(())
}

pub(in crate::testing) fn el_07_head_follows_appends(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for n in 1..=3 {
        log.append("a", Expected::Any, numbered(2)).wait()?;
        log.append("b", Expected::Any, numbered(1)).wait()?;
        assert_eq!((log.head("a").wait()?, log.head("b").wait()?), (2 * n, n));
    }
    Ok(())
}

pub(in crate::testing) fn el_07_head_never_goes_back(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let last = log.append("s", 0, numbered(4)).wait()?.last_position;
    log.compact("s", 2).wait()?;
    assert_eq!(log.head("s").wait()?, 4);
    log.compact("s", 4).wait()?;
    assert_eq!(log.head("s").wait()?, 4, "compacted empty");
    log.trim(last).wait()?;
    log.forget(last).wait()?;
    assert_eq!(log.head("s").wait()?, 4, "trimmed and forgotten");
    refused!(log.append("s", 0, [event("A")]).wait(), ErrorKind::Conflict { expected: 0, actual: 4 });
    assert_eq!(log.append("s", 4, [event("A")]).wait()?.last_seq_nr, 5);
    Ok(())
}

pub(in crate::testing) fn el_07_head_is_there_after_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("kept", 0, numbered(3)).wait()?;
    log.append("emptied", 0, numbered(5)).wait()?;
    log.compact("emptied", 5).wait()?;
    log.raise_mark("raised", 9).wait()?;

    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    for (stream, head) in [("kept", 3), ("emptied", 5), ("raised", 9)] {
        assert_eq!(log.head(stream).wait()?, head, "{stream}");
        let result = log.append(stream, head - 1, [event("A")]).wait();
        refused!(result, ErrorKind::Conflict { actual, .. } if *actual == head);
        assert_eq!(log.append(stream, head, [event("A")]).wait()?.last_seq_nr, head + 1);
    }
    Ok(())
}
