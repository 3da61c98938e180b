//! Cases of many at once on one store: el_11, el_16. The oracle that re-checks random histories is in
//! `tests/concurrency.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    error::ErrorKind,
    event::Position,
    event_log::Expected,
    query::Query,
    testing::{
        fixture::Fixture,
        support::{CaseResult, event, everything, in_parallel, none, orders, tagged, typed},
    },
};

const WRITERS: usize = 8;
const ROUNDS: u64 = 25;

/// Asserts that one writer of each round won and all others lost fairly.
fn one_winner_each(answers: &[Vec<crate::Result<crate::Appended>>]) {
    for round in 0..answers[0].len() {
        let results: Vec<_> = answers.iter().map(|writer| &writer[round]).collect();
        let winners = results.iter().filter(|result| result.is_ok()).count();
        let fair = results.iter().all(|result| match result {
            Ok(_) => true,
            Err(error) => error.is_conflict(),
        });
        assert!(winners == 1 && fair, "round {round}: {results:?}");
    }
}

pub(in crate::testing) fn el_16_one_wins_the_same_expectation(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = in_parallel(WRITERS, |_| {
        let append = |round| log.append("s", Expected::Exact(round), [event("A")]).wait();
        Ok((0..ROUNDS).map(append).collect::<Vec<_>>())
    })?;
    // A writer that runs ahead meets a gap, so a round may have no winner, but never two.
    let mut won = Vec::new();
    for (round, result) in answers.iter().flat_map(|writer| (0..).zip(writer)) {
        match result {
            Ok(appended) => {
                assert_eq!(appended.first_seq_nr, round + 1, "it won what it expected");
                won.push(round);
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error:?}"),
        }
    }
    won.sort_unstable();
    let head = log.head("s").wait()?;
    assert!(head > 0 && won.iter().copied().eq(0..head), "each number was given once: {won:?}");
    Ok(())
}

pub(in crate::testing) fn el_16_one_creates_each_stream(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = in_parallel(WRITERS, |_| {
        let append = |round| log.append(format!("s{round}"), 0, [event("A"), event("B")]).wait();
        Ok((0..ROUNDS).map(append).collect::<Vec<_>>())
    })?;
    one_winner_each(&answers);
    assert_eq!(everything(&log)?.len() as u64, 2 * ROUNDS);
    Ok(())
}

pub(in crate::testing) fn el_16_one_wins_overlapping_conditions(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = in_parallel(WRITERS, |writer| {
        let append = |round: u64| {
            let (type_, tag) = (format!("Type{round}"), format!("round:{round}"));
            // Half of them guard by type and half by tag: each event is in everybody's way.
            let query = if writer % 2 == 0 { typed(&type_) } else { tagged(&tag) };
            let new = event(&type_).tags([tag, "all".to_owned()]);
            log.append_if([new], none(query, Position::START)).wait()
        };
        Ok((0..ROUNDS).map(append).collect::<Vec<_>>())
    })?;
    one_winner_each(&answers);
    assert_eq!(everything(&log)?.len() as u64, ROUNDS);
    Ok(())
}

pub(in crate::testing) fn el_16_stream_guard_against_condition(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let answers = in_parallel(WRITERS, |writer| {
        let append = |round: u64| {
            let (stream, tag) = (format!("s{round}"), format!("round:{round}"));
            let condition = none(tagged(&tag), Position::START);
            let new = [event("A").tag(tag)];
            if writer % 2 == 0 {
                log.append(stream, 0, new).condition(condition).wait()
            } else {
                log.append_if(new, condition).wait()
            }
        };
        Ok((0..ROUNDS).map(append).collect::<Vec<_>>())
    })?;
    one_winner_each(&answers);
    Ok(())
}

pub(in crate::testing) fn el_16_own_streams_do_not_disturb_each_other(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    in_parallel(WRITERS, |writer| {
        for n in 0..50 {
            log.append(format!("s{writer}"), n, [event("A")]).wait()?;
        }
        Ok(())
    })?;
    assert_eq!(everything(&log)?.len(), WRITERS * 50);
    for writer in 0..WRITERS {
        assert_eq!(log.head(format!("s{writer}")).wait()?, 50);
    }
    Ok(())
}

pub(in crate::testing) fn el_11_a_reader_is_never_overtaken(fixture: &dyn Fixture) -> CaseResult {
    const EACH: u64 = 60;
    let store = fixture.store()?;
    let log = orders(&store)?;
    let writing = AtomicUsize::new(WRITERS);
    let seen = in_parallel(WRITERS + 2, |thread| {
        let mut seen: Vec<u64> = Vec::new();
        if thread < WRITERS {
            let written = (0..EACH).try_for_each(|_| {
                log.append(format!("s{thread}"), Expected::Any, [event("A"), event("B")]).wait().map(drop)
            });
            writing.fetch_sub(1, Ordering::SeqCst);
            written?;
            return Ok(seen);
        }
        loop {
            let last_look = writing.load(Ordering::SeqCst) == 0;
            let after = seen.last().map(|last| Position::new(*last));
            let page = log.query(Query::all()).after(after).wait()?;
            assert_eq!(page.items.len() % 2, 0, "an append is seen whole or not at all");
            assert!(page.through.get() >= page.items.last().map_or(0, |event| event.position.get()));
            seen.extend(page.into_iter().map(|event| event.position.get()));
            if last_look {
                return Ok(seen);
            }
        }
    })?;
    let all: Vec<u64> = everything(&log)?.iter().map(|event| event.position.get()).collect();
    assert_eq!(all.len() as u64, WRITERS as u64 * EACH * 2);
    for seen in &seen[WRITERS..] {
        assert!(*seen == all, "nothing came below what was already read");
    }
    Ok(())
}
