//! Cases of deciders: pr_06.

use std::thread;

use serde::{Deserialize, Serialize};

use crate::{
    decider::{Decider, ExecuteError, ScopedDecider},
    error::ErrorKind,
    event::{NewEvent, Position},
    event_log::EventLog,
    query::{Query, QueryItem},
    testing::{
        fixture::Fixture,
        given::given,
        support::{CaseResult, orders},
    },
};

/// So many seats, taken one by one.
#[derive(Debug, Clone, Copy)]
struct Seats(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum SeatEvent {
    Taken(u64),
}

#[derive(Debug, PartialEq)]
struct Full;

impl Decider for Seats {
    type State = u64;
    type Command = u64;
    type Event = SeatEvent;
    type Rejection = Full;

    fn initial(&self) -> u64 {
        0
    }

    fn evolve(&self, taken: u64, event: &SeatEvent) -> u64 {
        let SeatEvent::Taken(seats) = event;
        taken + seats
    }

    fn decide(&self, taken: &u64, wanted: &u64) -> Result<Vec<SeatEvent>, Full> {
        if taken + wanted > self.0 {
            return Err(Full);
        }
        // One event for each seat, and none for none.
        Ok((0..*wanted).map(|_| SeatEvent::Taken(1)).collect())
    }

    fn tags(&self, _event: &SeatEvent) -> Vec<String> {
        vec!["seats".into()]
    }
}

impl ScopedDecider for Seats {
    fn scope(&self, _command: &u64) -> Query {
        QueryItem::new().types(["Taken"]).tag("seats").into()
    }
}

/// Runs as many commands at once as there are threads, and answers how many were followed.
fn followed(threads: u64, execute: impl Fn() -> bool + Sync) -> usize {
    thread::scope(|scope| {
        let tries: Vec<_> = (0..threads).map(|_| scope.spawn(|| usize::from(execute()))).collect();
        tries.into_iter().map(|tried| tried.join().expect("no panic")).sum()
    })
}

fn rejected_or<T>(result: Result<T, ExecuteError<Full>>) -> bool {
    match result {
        Ok(_) => true,
        Err(ExecuteError::Rejected(Full)) => false,
        Err(ExecuteError::Failed(error)) => panic!("{error:?}"),
    }
}

fn compact(log: &EventLog, through: u64) -> CaseResult {
    Ok(log.compact("s", through).wait().map(drop)?)
}

pub(super) fn pr_06_a_command_is_decided_on_the_state(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let seats = orders(&store)?.decider(Seats(3));
    let done = seats.execute("s", 2).wait().expect("there is room");
    assert_eq!((done.state, done.seq_nr, done.position), (2, 2, Position::new(2)));
    assert_eq!(done.events, [SeatEvent::Taken(1), SeatEvent::Taken(1)]);
    let nothing = seats.execute("s", 0).wait().expect("nothing is fine");
    assert_eq!((nothing.events.len(), nothing.seq_nr, nothing.position), (0, 2, Position::new(2)));
    assert!(matches!(seats.execute("s", 2).wait(), Err(ExecuteError::Rejected(Full))));
    assert_eq!(orders(&store)?.read("s", ..).wait()?.items[0].tags, ["seats"]);
    Ok(())
}

pub(super) fn pr_06_who_was_too_late_decides_again(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let seats = log.decider(Seats(5)).attempts(1_000);
    // Each stream is new: whoever begins it meanwhile must not be taken for a gap.
    for stream in (0..30).map(|n| format!("s{n}")) {
        assert_eq!(followed(8, || rejected_or(seats.execute(&*stream, 1).wait())), 5);
        assert_eq!(log.head(&*stream).wait()?, 5);
    }
    Ok(())
}

pub(super) fn pr_06_attempts_are_bounded(fixture: &dyn Fixture) -> CaseResult {
    /// Always too late: deciding appends.
    struct Late(EventLog);

    impl Decider for Late {
        type State = ();
        type Command = ();
        type Event = SeatEvent;
        type Rejection = Full;

        fn initial(&self) {}

        fn evolve(&self, (): (), _event: &SeatEvent) {}

        fn decide(&self, (): &(), (): &()) -> Result<Vec<SeatEvent>, Full> {
            let other = NewEvent::from_enum(&SeatEvent::Taken(1));
            self.0.append("s", crate::Expected::Any, [other]).wait().expect("it is appended");
            Ok(vec![SeatEvent::Taken(1)])
        }
    }

    let store = fixture.store()?;
    let log = orders(&store)?;
    let result = log.decider(Late(log.clone())).attempts(3).execute("s", ()).wait();
    let Err(ExecuteError::Failed(error)) = result else { panic!("{result:?}") };
    assert!(matches!(error.kind(), ErrorKind::Conflict { expected: 2, actual: 3 }), "{error:?}");
    assert_eq!(log.head("s").wait()?, 3, "a try each");
    Ok(())
}

pub(super) fn pr_06_snapshots_carry_the_state(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let seats = log.decider(Seats(100)).snapshot_every(4);
    for _ in 0..10 {
        seats.execute("s", 1).wait().expect("there is room");
    }
    let latest = log.snapshots().latest("s").wait()?.expect("one was saved");
    assert_eq!((latest.at, latest.decode::<u64>()?), (8, 8));
    compact(&log, 8)?;
    assert_eq!(seats.execute("s", 1).wait().expect("there is room").state, 11);
    // Without snapshots, the state of a compacted stream is not guessed.
    let result = log.decider(Seats(100)).execute("s", 1).wait();
    let Err(ExecuteError::Failed(error)) = result else { panic!("{result:?}") };
    assert_eq!(*error.kind(), ErrorKind::Corrupted);
    Ok(())
}

pub(super) fn pr_06_a_decision_over_a_query_holds(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let seats = log.scoped_decider(Seats(5)).attempts(1_000);
    assert_eq!(followed(8, || rejected_or(seats.execute(1).wait())), 5);
    let taken = log.query(QueryItem::new().types(["Taken"])).wait()?;
    assert_eq!(taken.items.len(), 5);
    let nothing = seats.execute(0).wait().expect("nothing is fine");
    assert_eq!((nothing.state, nothing.position), (5, taken.through));
    Ok(())
}

pub(super) fn pr_06_a_decision_on_hidden_facts_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [NewEvent::from_enum(&SeatEvent::Taken(5)).tag("seats")]).wait()?;
    compact(&log, 1)?;
    let result = log.scoped_decider(Seats(5)).execute(1).wait();
    let Err(ExecuteError::Failed(error)) = result else { panic!("{result:?}") };
    assert!(matches!(error.kind(), ErrorKind::HistoryCompacted { .. }), "{error:?}");
    Ok(())
}

pub(super) fn pr_06_large_facts_are_not_taken_for_hidden(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for _ in 0..12 {
        // JSON of a megabyte, nearly all of it blank.
        let large = format!("1{}", " ".repeat(900 << 10));
        log.append_if([NewEvent::json("Taken", large).tag("seats")], None).wait()?;
    }
    log.append("s", 0, [NewEvent::new("Unrelated", &1)]).wait()?;
    compact(&log, 1)?;
    let done = log.scoped_decider(Seats(20)).execute(1).wait().expect("nothing in the scope is hidden");
    assert_eq!(done.state, 13);
    Ok(())
}

pub(super) fn pr_06_given_when_then(_fixture: &dyn Fixture) -> CaseResult {
    given(Seats(2), [SeatEvent::Taken(1)])
        .when(1)
        .then([SeatEvent::Taken(1)])
        .then_state(|taken| *taken == 2);
    given(Seats(2), [SeatEvent::Taken(1)]).when(2).rejected(Full);
    let wrong = std::panic::catch_unwind(|| given(Seats(2), []).when(1).then([])).expect_err("it must fail");
    let said = wrong.downcast_ref::<String>().expect("it says why");
    assert!(said.contains("expected no events") && said.contains(r#"{"Taken":1}"#), "{said}");
    assert!(std::panic::catch_unwind(|| given(Seats(2), []).when(1).rejected(Full)).is_err());
    Ok(())
}
