//! Cases of how much is held in memory: el_06, el_17.

use std::{sync::Arc, time::Duration};

use crate::{
    event::NewEvent,
    query::Query,
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, next, numbered, orders},
        watched::Watched,
    },
};

/// The most that a page may hold, in events and in bytes: the same for ten events and for ten million.
const PAGE_EVENTS: usize = 1_000;
const PAGE_BYTES: usize = 8 << 20;

/// A store over the fixture's backend, and what is asked of it.
fn watched(fixture: &dyn Fixture) -> crate::Result<(Store, Arc<Watched>)> {
    let watched = Watched::new(backend(&fixture.store()?)?);
    Ok((Store::with_backend(watched.clone()), watched))
}

/// Asserts that every request had both bounds, and gives how many there were.
fn bounded(watched: &Watched) -> usize {
    for read in watched.reads().iter() {
        assert!(read.limit.is_some_and(|limit| limit <= PAGE_EVENTS), "{read:?}");
        assert!(read.max_bytes.is_some_and(|bytes| bytes <= PAGE_BYTES), "{read:?}");
    }
    watched.reads().len()
}

pub(in crate::testing) fn el_06_iteration_holds_one_page(fixture: &dyn Fixture) -> CaseResult {
    let (store, watched) = watched(fixture)?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3_500)).wait()?;
    for mut each in [log.read("s", ..).each(), log.query(Query::all()).descending().each()] {
        watched.reads().clear();
        each.try_next().wait()?;
        assert_eq!(bounded(&watched), 1, "nothing is read ahead");
        while each.try_next().wait()?.is_some() {}
        assert!((4..=5).contains(&bounded(&watched)), "{} reads of 3,500 events", bounded(&watched));
    }
    Ok(())
}

pub(in crate::testing) fn el_06_a_page_is_bounded_in_bytes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, (0..6).map(|_| NewEvent::bytes("Chunk", vec![7; 1_000]))).wait()?;
    let backend = backend(&store)?;
    for (max_bytes, expected) in [(1, 1), (1_000, 1), (2_000, 2), (3_999, 4), (1 << 20, 6)] {
        let request = crate::backend::EventRead {
            log: "orders".into(),
            source: crate::backend::EventSource::Query(Query::all()),
            after: None,
            limit: None,
            max_bytes: Some(max_bytes),
            descending: false,
        };
        let page = crate::wait(backend.read_events(request))?;
        let count = page.items.len();
        assert_eq!(count, expected, "for {max_bytes} bytes: the event that reaches the bound is the last");
        let last = page.items.last().map(|event| event.position);
        assert_eq!(page.next, last.filter(|_| count < 6), "the rest is on the next page");
        assert_eq!(page.through, last.unwrap_or_default());
    }
    Ok(())
}

pub(in crate::testing) fn el_17_a_slow_subscriber_holds_one_page(fixture: &dyn Fixture) -> CaseResult {
    let (store, watched) = watched(fixture)?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(10)).wait()?;
    let mut slow = log.subscribe(Query::all());
    assert_eq!(next(&mut slow)?.seq_nr, 1);
    assert_eq!(bounded(&watched), 1);
    for n in 0..3 {
        log.append("s", 10 + n * 1_000, numbered(1_000)).wait()?;
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(bounded(&watched), 1, "what is committed meanwhile is not gathered");
    for seq_nr in 2..=3_010 {
        assert_eq!(next(&mut slow)?.seq_nr, seq_nr);
    }
    assert!(bounded(&watched) >= 4);
    Ok(())
}
