//! Cases of writes as futures: el_02, el_16. Everywhere else they are waited on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{
    error::ErrorKind,
    event::Position,
    event_log::Expected,
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, next, none, numbered, orders, refused, tagged},
    },
};

/// Polls once, which sends a write on its way.
fn start<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub(in crate::testing) fn el_02_awaiting_answers_as_waiting(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let awaited = crate::wait(log.append("s", 0, numbered(2)))?;
    assert_eq!((awaited.first_seq_nr, awaited.last_seq_nr, awaited.last_position.get()), (1, 2, 2));
    let awaited = crate::wait(async { log.append("s", 2, numbered(1)).await })?;
    assert_eq!(awaited.last_seq_nr, 3);
    refused!(crate::wait(log.append("s", 2, numbered(1))), ErrorKind::Conflict { expected: 2, actual: 3 });
    let guarded = log.append_if(numbered(1), none(Query::all(), Position::START));
    refused!(crate::wait(guarded), ErrorKind::ConditionFailed { .. });
    assert_eq!(crate::wait(log.read("s", ..))?.items.len(), 3);
    assert_eq!(crate::wait(log.head("s"))?, 3);
    assert_eq!(crate::wait(log.compact("s", 1))?.through, 1);
    Ok(())
}

pub(in crate::testing) fn el_02_an_unpolled_write_does_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    drop(log.append("s", 0, numbered(1)));
    let mut batch = store.batch();
    batch.add(log.append("s", 0, numbered(1)));
    drop(batch.commit());
    assert_eq!(log.info().wait()?, None);
    Ok(())
}

pub(in crate::testing) fn el_02_a_polled_write_commits_though_dropped(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(1)).wait()?;
    let mut live = log.subscribe(Query::all()).after(Position::new(1));
    for n in 2..20 {
        let mut write = log.append("s", Expected::Any, [event("Dropped")]);
        let answer = start(&mut write);
        assert!(!matches!(answer, Poll::Ready(Err(_))), "{answer:?}");
        drop(write);
        assert_eq!(next(&mut live)?.seq_nr, n);
    }
    Ok(())
}

pub(in crate::testing) fn el_16_many_writes_in_flight_of_one_thread(fixture: &dyn Fixture) -> CaseResult {
    const COUNT: u64 = 300;
    let store = fixture.store()?;
    let log = orders(&store)?;
    // All of them are on their way before the first one is waited on; some cannot but lose.
    let mut writes = Vec::new();
    for n in 0..COUNT {
        let tag = format!("pair:{}", n / 2);
        let mut write = log
            .append(format!("s{}", n % 7), Expected::Any, [event("A").tag(&tag)])
            .condition(none(tagged(&tag), Position::START));
        let answer = start(&mut write);
        writes.push((write, answer));
    }
    let mut accepted = 0;
    for (write, answer) in writes {
        let answer = match answer {
            Poll::Ready(answer) => answer,
            Poll::Pending => crate::wait(write),
        };
        match answer {
            Ok(_) => accepted += 1,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::ConditionFailed { .. }), "{error:?}"),
        }
    }
    assert_eq!(accepted, COUNT / 2, "one of each pair");
    assert_eq!(everything(&log)?.len() as u64, COUNT / 2);
    Ok(())
}

pub(in crate::testing) fn el_16_a_refused_write_leaves_its_group_alone(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("taken", 0, numbered(1)).wait()?;
    let mut writes = Vec::new();
    for n in 0..60 {
        let stream = if n % 3 == 1 { "taken".to_owned() } else { format!("s{n}") };
        let mut write = log.append(stream, 0, numbered(2));
        let answer = start(&mut write);
        writes.push((n, write, answer));
    }
    for (n, write, answer) in writes {
        let answer = match answer {
            Poll::Ready(answer) => answer,
            Poll::Pending => crate::wait(write),
        };
        if n % 3 == 1 {
            refused!(answer, ErrorKind::Conflict { expected: 0, actual: 1 });
        } else {
            assert_eq!(answer?.last_seq_nr, 2);
        }
    }
    assert_eq!(everything(&log)?.len(), 1 + 2 * 40);
    Ok(())
}
