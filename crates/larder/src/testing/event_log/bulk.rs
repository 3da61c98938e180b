//! Cases of bulk loads and of how large one append may be: el_19.

use uuid::Uuid;

use crate::{
    error::{Error, ErrorKind},
    event::{NewEvent, Position},
    event_log::{BulkEvent, Expected, Loaded},
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, numbered, orders, refused, seq_nrs},
    },
};

pub(in crate::testing) fn el_19_loads_an_iterator_of_any_length(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(log.append_many(Vec::<NewEvent>::new()).wait()?, Loaded::default());
    let events = (0..3_500_u32).map(|n| (format!("s{}", n % 7), NewEvent::new("Loaded", &n).tag("bulk")));
    let loaded = log.append_many(events).wait()?;
    assert_eq!(loaded, Loaded { events: 3_500, last_position: Position::new(3_500) });
    let all = everything(&log)?;
    for (n, event) in (0..).zip(&all) {
        assert_eq!(event.decode::<u32>()?, n);
        assert_eq!(event.seq_nr, u64::from(n / 7) + 1);
    }
    assert_eq!(seq_nrs(&log.read("s3", 499..).wait()?), [499, 500]);
    let streamless = log.append_many([BulkEvent::from(event("A")), BulkEvent::from(("s0", event("B")))]);
    assert_eq!(streamless.wait()?.events, 2);
    Ok(())
}

pub(in crate::testing) fn el_19_memory_is_bounded(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let looking = log.clone();
    // Far into the iterator, what came early must have been committed already.
    let events = (0..5_000_u64).map(move |n| {
        if n % 500 == 0 && n > 2_500 {
            let info = looking.info().wait().ok().flatten();
            assert!(info.is_some_and(|info| info.head.get() + 2_500 >= n), "it gathers without end");
        }
        BulkEvent::from(event("A"))
    });
    assert_eq!(log.append_many(events).wait()?.events, 5_000);
    Ok(())
}

/// What an error of a bulk load says was committed.
fn committed(error: &Error) -> (u64, u64) {
    let number = |key| {
        let value = error.context().iter().find(|(name, _)| *name == key).map(|(_, value)| value);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no `{key}` in {error:?}"))
    };
    (number("committed events"), number("last position"))
}

pub(in crate::testing) fn el_19_an_error_names_the_last_one_committed(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append_if(numbered(3), None).wait()?;
    let bad_at = |bad: u32| {
        (0..5_000).map(move |n| if n == bad { NewEvent::json("A", "{") } else { NewEvent::new("A", &n) })
    };
    for bad in [0, 2_750] {
        let before = everything(&log)?.len() as u64;
        let result = log.append_many(bad_at(bad)).wait();
        let error = refused!(result, ErrorKind::InvalidArgument { field: "payload", .. });
        let (events, last) = committed(&error);
        let all = everything(&log)?;
        assert_eq!(all.len() as u64, before + events, "exactly so many");
        assert!(events <= bad.into());
        if events > 0 {
            let last_one = all.last().ok_or("there is one")?;
            assert_eq!(last_one.position.get(), last);
            assert_eq!(u64::from(last_one.decode::<u32>()?) + 1, events, "in order, from the first");
        }
    }
    Ok(())
}

pub(in crate::testing) fn el_19_an_interrupted_load_can_be_repeated(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let events = |count| (0..count).map(|n: u32| ("s", NewEvent::new("A", &n).id(Uuid::from_u128(n.into()))));
    log.append_many(events(1_700)).wait()?;
    log.append_many(events(2_500)).wait()?;
    let all = everything(&log)?;
    assert_eq!(all.len(), 2_500, "each id once");
    assert!(all.iter().zip(1..).all(|(event, n)| event.seq_nr == n));
    Ok(())
}

pub(in crate::testing) fn el_19_one_append_is_atomic_up_to_its_limit(fixture: &dyn Fixture) -> CaseResult {
    const LIMIT: usize = 100_000;
    let store = fixture.store()?;
    let log = orders(&store)?;
    let events = |count| (0..count).map(|_| event("A"));
    let error = refused!(
        log.append("s", 0, events(LIMIT + 1)).wait(),
        ErrorKind::TooLarge { limit: 100_000, actual: 100_001, .. }
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("append_many")), "{error:?}");
    refused!(log.append_if(events(LIMIT + 1), None).wait(), ErrorKind::TooLarge { .. });
    assert_eq!(log.info().wait()?, None, "nothing was written");

    let appended = log.append("s", 0, events(LIMIT)).wait()?;
    assert_eq!((appended.first_seq_nr, appended.count()), (1, 100_000));
    let last = log.query(Query::all()).descending().limit(1).wait()?;
    assert_eq!((last.items[0].seq_nr, last.items[0].position), (100_000, appended.last_position));
    log.append("s", Expected::Exact(100_000), [event("A")]).wait()?;
    Ok(())
}

pub(in crate::testing) fn el_19_a_batch_is_bounded_too(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let mut batch = store.batch();
    for stream in ["a", "b"] {
        batch.add(log.append(stream, 0, (0..50_001).map(|_| event("A"))));
    }
    refused!(batch.commit().wait(), ErrorKind::TooLarge { limit: 100_000, actual: 100_002, .. });
    assert_eq!(log.info().wait()?, None);
    Ok(())
}
