//! Cases of reading streams and listing them: el_06, el_10.

use std::ops::Bound;

use crate::{
    error::{Error, ErrorKind},
    event::NewEvent,
    event_log::{Expected, StreamInfo},
    limits::Limits,
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, numbered, orders, refused, seq_nrs},
    },
};

pub(in crate::testing) fn el_06_both_ends_are_inclusive(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for _ in 0..5 {
        log.append("other", Expected::Any, numbered(1)).wait()?;
        log.append("s", Expected::Any, numbered(1)).wait()?;
    }
    let read =
        |from, to| -> crate::Result<Vec<u64>> { log.read("s", (from, to)).wait().map(|page| seq_nrs(&page)) };
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(read(Included(2), Included(4))?, [2, 3, 4]);
    assert_eq!(read(Included(3), Included(3))?, [3]);
    assert_eq!(read(Included(2), Excluded(4))?, [2, 3]);
    assert_eq!(read(Excluded(2), Included(4))?, [3, 4]);
    assert_eq!(read(Unbounded, Unbounded)?, [1, 2, 3, 4, 5]);
    assert_eq!(read(Included(0), Included(u64::MAX))?, [1, 2, 3, 4, 5]);
    assert_eq!(read(Included(4), Unbounded)?, [4, 5]);
    assert_eq!(read(Unbounded, Included(2))?, [1, 2]);
    assert_eq!(read(Included(4), Included(99))?, [4, 5]);
    Ok(())
}

pub(in crate::testing) fn el_06_nothing_there_is_an_empty_page(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert!(log.read("s", ..).wait()?.items.is_empty(), "unknown log");
    log.append("s", 0, numbered(3)).wait()?;
    let empty = |page: crate::Page<crate::Event>| page.items.is_empty() && page.next.is_none();
    assert!(empty(log.read("unknown", ..).wait()?));
    assert!(empty(log.read("s", 4..).wait()?), "from beyond the head");
    assert!(empty(log.read("s", u64::MAX..).wait()?));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
    let reversed = log.read("s", 3..=1);
    assert!(empty(reversed.wait()?), "from > to");
    assert!(empty(log.read("s", 2..2).wait()?));
    assert!(empty(log.read("s", ..1).wait()?));
    assert!(empty(log.read("s", 0..=0).wait()?));
    assert!(empty(log.read("s", 4..).descending().wait()?));
    Ok(())
}

pub(in crate::testing) fn el_06_backwards(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5)).wait()?;
    assert_eq!(seq_nrs(&log.read("s", ..).descending().wait()?), [5, 4, 3, 2, 1]);
    assert_eq!(seq_nrs(&log.read("s", 2..=4).descending().wait()?), [4, 3, 2]);
    let last = log.read("s", ..).descending().limit(2).wait()?;
    assert_eq!(seq_nrs(&last), [5, 4]);
    let rest = log.read("s", ..).descending().after(last.next).wait()?;
    assert_eq!((seq_nrs(&rest), rest.next), (vec![3, 2, 1], None));
    Ok(())
}

pub(in crate::testing) fn el_06_a_limit_leads_to_the_next_page(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for _ in 0..7 {
        log.append("s", Expected::Any, numbered(1)).wait()?;
        log.append("other", Expected::Any, numbered(1)).wait()?;
    }
    for (descending, limit) in [(false, 1), (false, 3), (false, 7), (true, 2), (true, 7)] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let read = log.read("s", 1..=7).limit(limit).after(after);
            let page = if descending { read.descending() } else { read }.wait()?;
            assert!(page.items.len() <= limit);
            found.extend(seq_nrs(&page));
            after = page.next;
            match after {
                None => break,
                Some(next) => assert_eq!(page.items.last().map(|event| event.position), Some(next)),
            }
        }
        let mut expected: Vec<u64> = (1..=7).collect();
        if descending {
            expected.reverse();
        }
        assert_eq!(found, expected, "by {limit}");
    }
    let first = log.read("s", ..).limit(3).wait()?;
    assert_eq!(seq_nrs(&first), [1, 2, 3]);
    assert!(first.next.is_some(), "there is more");
    refused!(log.read("s", ..).limit(0).wait(), ErrorKind::InvalidArgument { field: "limit", .. });
    Ok(())
}

pub(in crate::testing) fn el_06_everything_or_too_large(fixture: &dyn Fixture) -> CaseResult {
    let limits = Limits { read_events: 10, ..Limits::default() };
    let store = fixture.open(limits)?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(10)).wait()?;
    assert_eq!(log.read("s", ..).wait()?.items.len(), 10, "the bound itself is fine");
    log.append("s", 10, numbered(1)).wait()?;

    let too_large = |error: Error| {
        let ErrorKind::TooLarge { limit: 10, actual, .. } = error.kind() else { panic!("{error:?}") };
        assert!(*actual > 10);
    };
    too_large(log.read("s", ..).wait().expect_err("11 events"));
    too_large(log.read("s", ..).descending().wait().expect_err("11 events"));
    too_large(log.query(Query::all()).wait().expect_err("11 events"));
    assert_eq!(seq_nrs(&log.read("s", 2..).wait()?).len(), 10, "a part within the bound");
    let page = log.read("s", ..).limit(11).wait()?;
    assert_eq!((page.items.len(), page.next), (11, None), "a limit is the caller's word");
    let each: Vec<_> = log.read("s", ..).each().wait_iter().collect::<crate::Result<_>>()?;
    assert_eq!(each.len(), 11);
    Ok(())
}

pub(in crate::testing) fn el_06_iteration_over_many_pages(fixture: &dyn Fixture) -> CaseResult {
    const COUNT: u64 = 2_500; // more than two of its pages
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(COUNT)).wait()?;
    log.append("other", 0, numbered(10)).wait()?;
    let seq_nr = |event: crate::Result<crate::Event>| event.map(|event| event.seq_nr);

    let up: Vec<u64> = log.read("s", ..).each().wait_iter().map(seq_nr).collect::<Result<_, _>>()?;
    assert!(up.iter().copied().eq(1..=COUNT), "{} events", up.len());
    let down = log.read("s", ..).descending().each().wait_iter().map(seq_nr);
    assert!(down.collect::<Result<Vec<_>, _>>()?.into_iter().eq((1..=COUNT).rev()));
    let part = log.read("s", 990..=1_010).limit(7).each().wait_iter().map(seq_nr);
    assert!(part.collect::<Result<Vec<_>, _>>()?.into_iter().eq(990..=1_010));
    Ok(())
}

pub(in crate::testing) fn el_06_iteration_over_large_payloads(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for n in 0..9_u8 {
        log.append("s", u64::from(n), [NewEvent::bytes("Chunk", vec![n; 1 << 20])]).wait()?;
    }
    let mut n = 0;
    for event in log.read("s", ..).each().wait_iter() {
        assert!(event?.payload.as_bytes().iter().all(|byte| *byte == n));
        n += 1;
    }
    assert_eq!(n, 9);
    Ok(())
}

pub(in crate::testing) fn el_06_iteration_while_writers_write(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(20)).wait()?;
    let mut each = log.read("s", ..).limit(5).each();
    let mut found = Vec::new();
    while let Some(event) = each.try_next().wait()? {
        found.push(event.seq_nr);
        if found.len() == 10 {
            log.append("s", 20, numbered(5)).wait()?;
        }
    }
    let (all, start) = (found.len() as u64, found[0]);
    assert!(found.into_iter().eq(start..start + all) && start == 1 && all >= 20, "no gap, no repetition");
    Ok(())
}

pub(in crate::testing) fn el_10_streams_ascend_by_bytes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    // Neither by UTF-16 nor by any locale, and not without regard to case.
    let sorted = [" ", "10", "9", "Z", "a", "a b", "a-b", "ab", "b", "é", "日", "\u{fffd}", "😀"];
    assert!(sorted.is_sorted());
    for (n, stream) in sorted.iter().enumerate() {
        let stream = sorted[(n * 5) % sorted.len()].to_owned() + &stream[..0];
        log.append(stream, Expected::Any, numbered(2)).wait()?;
        store.event_log("other")?.append(format!("not-{n}"), 0, numbered(1)).wait()?;
    }
    let names =
        |page: crate::Page<StreamInfo>| -> Vec<String> { page.into_iter().map(|info| info.stream).collect() };
    assert_eq!(names(log.streams().wait()?), sorted);
    let mut reversed = sorted;
    reversed.reverse();
    assert_eq!(names(log.streams().descending().wait()?), reversed);
    Ok(())
}

pub(in crate::testing) fn el_10_pages_of_streams(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert!(log.streams().wait()?.items.is_empty());
    for stream in ["d", "b", "a", "c", "e"] {
        log.append(stream, 0, numbered(1)).wait()?;
    }
    let page = log.streams().limit(2).wait()?;
    assert_eq!(page.items.iter().map(|info| info.stream.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let rest = log.streams().after(page.next).wait()?;
    assert_eq!(rest.items.iter().map(|info| info.stream.as_str()).collect::<Vec<_>>(), ["c", "d", "e"]);
    assert_eq!(rest.next, None);
    let between = log.streams().after("bb".to_owned()).limit(1).wait()?;
    assert_eq!(between.items[0].stream, "c", "`after` need not be a stream");
    assert!(log.streams().after("e".to_owned()).wait()?.items.is_empty());
    let each: Vec<_> =
        log.streams().limit(2).each().wait_iter().collect::<crate::Result<Vec<StreamInfo>>>()?;
    assert_eq!(each.iter().map(|info| info.stream.as_str()).collect::<String>(), "abcde", "each once");
    Ok(())
}

pub(in crate::testing) fn el_10_compacted_empty_streams_are_flagged(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("full", 0, numbered(2)).wait()?;
    log.append("half", 0, numbered(2)).wait()?;
    let last = log.append("none", 0, [event("A"), event("B")]).wait()?.last_position;
    log.compact("half", 1).wait()?;
    log.compact("none", 2).wait()?;
    log.raise_mark("only-a-mark", 7).wait()?;

    let streams = log.streams().wait()?.items;
    let told: Vec<_> = streams
        .iter()
        .map(|info| (info.stream.as_str(), info.head, info.compacted_through, info.is_compacted_empty()))
        .collect();
    let expected =
        [("full", 2, 0, false), ("half", 2, 1, false), ("none", 2, 2, true), ("only-a-mark", 7, 7, true)];
    assert_eq!(told, expected);
    assert_eq!(streams[2].compacted_position, last);
    Ok(())
}
