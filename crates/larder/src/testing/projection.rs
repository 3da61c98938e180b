//! Cases of projections: pr_01 to pr_05, and the guard of el_08. Those of rebuilds have a file of their own.

pub(super) mod rebuild;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    error::{BoxError, Error, ErrorKind, Result},
    event::{Event, NewEvent, Position},
    event_log::{EventLog, Expected},
    operation::{Call, wait},
    projection::{FailurePolicy, Projection, ProjectionBatch, Projector},
    query::{Query, QueryItem},
    query_db::{ChangeKind, Index, ItemQuery, QueryDb, QueryDbSpec},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, PATIENCE, backend, numbered, orders, refused},
    },
};

/// Counts events by type, and remembers each stream's last number: by loading what it wrote before.
struct Counts {
    counts: QueryDb,
    /// Fails at events of this type, so often.
    failing: Option<(&'static str, Arc<AtomicU32>)>,
}

impl Counts {
    fn new(counts: &QueryDb) -> Self {
        Self { counts: counts.clone(), failing: None }
    }
}

impl Projector for Counts {
    async fn project(&mut self, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
        batch.add(self.counts.increment("all", &event.event_type, 1));
        if let Some((event_type, left)) = &self.failing
            && *event_type == event.event_type
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            return Err(format!("no {event_type} please").into());
        }
        let stream = event.stream.as_deref().unwrap_or("none");
        let seen = match batch.load_one(&self.counts, stream).await? {
            Some(item) => item.decode::<Value>()?["events"].as_u64().unwrap_or(0),
            None => 0,
        };
        batch.add(self.counts.save(stream, &json!({ "events": seen + 1, "last": event.position })));
        Ok(())
    }
}

/// Runs a projection on a thread of its own.
fn spawn(
    projection: &Projection,
    log: &EventLog,
    projector: impl Projector + 'static,
) -> JoinHandle<Result<()>> {
    let running = projection.run(log, Query::all(), projector);
    thread::spawn(move || running.wait())
}

fn ended(store: &Store, running: JoinHandle<Result<()>>) -> CaseResult {
    store.close().wait()?;
    Ok(running.join().expect("the projection did not panic")?)
}

fn waited(projection: &Projection, position: Position) -> Result<()> {
    let reached = projection.wait_for_at_most(position, PATIENCE).wait()?;
    assert!(reached, "the projection does not reach {position}");
    Ok(())
}

fn item(query_db: &QueryDb, key: &str) -> Result<Value> {
    query_db.load_one(key).wait()?.map_or(Ok(Value::Null), |item| item.decode())
}

fn parts(fixture: &dyn Fixture) -> Result<(Store, EventLog, QueryDb, Projection)> {
    let store = fixture.store()?;
    let (log, counts, projection) = (orders(&store)?, store.query_db("Counts")?, store.projection("counts")?);
    Ok((store, log, counts, projection))
}

pub(super) fn pr_01_each_event_takes_effect_once(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&projection, &log, Counts::new(&counts));
    waited(&projection, Position::new(3))?;
    let last = log.append("t", 0, [NewEvent::new("Late", &1)]).wait()?;
    waited(&projection, last.last_position)?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3, "Late": 1 }));
    assert_eq!(item(&counts, "s")?, json!({ "events": 3, "last": 3 }));
    assert_eq!(projection.checkpoint().wait()?, Position::new(4));
    let stats = store.stats().wait()?.projections;
    assert_eq!(stats, store.projections().wait()?);
    assert_eq!((stats.len(), stats[0].checkpoint), (1, Position::new(4)));
    assert_eq!(store.verify(crate::Progress::default()).wait()?.projections, 1);
    ended(&store, running)
}

pub(super) fn pr_01_it_goes_on_after_its_checkpoint(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(2)).wait()?;
    projection.set_checkpoint(Position::new(1)).wait()?;
    let running = spawn(&projection, &log, Counts::new(&counts));
    waited(&projection, Position::new(2))?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 1 }));
    ended(&store, running)
}

pub(super) fn pr_01_loads_see_the_batchs_own_writes(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    // All in one commit: only what was added before tells the count.
    log.append("s", 0, numbered(50)).wait()?;
    let running = spawn(&projection.clone().batch_events(100), &log, Counts::new(&counts));
    waited(&projection, Position::new(50))?;
    assert_eq!(item(&counts, "s")?["events"], 50);
    ended(&store, running)
}

pub(super) fn pr_01_two_runners_do_not_both_apply(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let runners: Vec<_> = (0..2).map(|_| spawn(&projection, &log, Counts::new(&counts))).collect();
    let mut lost = None;
    for n in 0..2_000 {
        let last = log.append("s", Expected::Any, numbered(1)).wait()?;
        waited(&projection, last.last_position)?;
        if n > 10 && runners.iter().any(JoinHandle::is_finished) {
            lost = Some(n + 1);
            break;
        }
    }
    let events = lost.expect("one of two runners loses, sooner or later");
    assert_eq!(item(&counts, "all")?, json!({ "Counted": events }), "no event counts twice");
    store.close().wait()?;
    let ends: Vec<_> = runners.into_iter().map(|runner| runner.join().expect("no panic")).collect();
    let conflicts = ends.iter().filter(|end| end.as_ref().is_err_and(Error::is_conflict)).count();
    assert_eq!(conflicts, 1, "{ends:?}");
    Ok(())
}

pub(super) fn pr_01_a_checkpoint_is_compared(fixture: &dyn Fixture) -> CaseResult {
    let (store, _, counts, projection) = parts(fixture)?;
    let mut batch = store.batch();
    batch.add(counts.save("k", &json!({})));
    batch.add(projection.set_checkpoint(Position::new(7)));
    batch.commit().wait()?;
    assert_eq!(projection.checkpoint().wait()?, Position::new(7));
    assert_eq!(store.projections().wait()?.len(), 1);
    Ok(())
}

pub(super) fn pr_01_another_log_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(1)).wait()?;
    let running = spawn(&projection, &log, Counts::new(&counts));
    waited(&projection, Position::new(1))?;
    let other = store.event_log("other")?;
    let second = projection.run(&other, Query::all(), Counts::new(&counts)).wait();
    refused!(second, ErrorKind::InvalidArgument { field: "log", .. });
    ended(&store, running)
}

pub(super) fn pr_02_it_stops_before_a_failing_event(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, [NewEvent::new("Good", &1), NewEvent::new("Bad", &2), NewEvent::new("Good", &3)])
        .wait()?;
    let failing = Some(("Bad", Arc::new(AtomicU32::new(u32::MAX))));
    let error =
        spawn(&projection, &log, Counts { failing, ..Counts::new(&counts) }).join().expect("no panic");
    refused!(error, ErrorKind::Projector { position } if *position == Position::new(2));
    assert_eq!(
        item(&counts, "all")?,
        json!({ "Good": 1 }),
        "what came before counts, the failing event does not"
    );
    let info = projection.info().wait()?.expect("it has run");
    let failure = info.failure.expect("it is recorded");
    assert_eq!((info.checkpoint, failure.position), (Position::new(1), Position::new(2)));
    assert!(failure.error.contains("no Bad please"), "{failure:?}");
    refused!(projection.wait_for(Position::new(3)).wait(), ErrorKind::Projector { .. });
    // Mended, it goes on.
    let running = spawn(&projection, &log, Counts::new(&counts));
    waited_after_failure(&projection, Position::new(3))?;
    assert_eq!(projection.info().wait()?.and_then(|info| info.failure), None);
    assert_eq!(item(&counts, "all")?, json!({ "Good": 2, "Bad": 1 }));
    ended(&store, running)
}

/// Waits while the failure of before may still be recorded.
fn waited_after_failure(projection: &Projection, position: Position) -> Result<()> {
    for _ in 0..10_000 {
        if projection.checkpoint().wait()? >= position {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("the projection does not reach {position}");
}

pub(super) fn pr_02_it_tries_again(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, [NewEvent::new("Bad", &1)]).wait()?;
    let left = Arc::new(AtomicU32::new(3));
    let policy = FailurePolicy::Retry { attempts: 5, backoff: Duration::from_secs(60) };
    let projector = Counts { failing: Some(("Bad", left.clone())), ..Counts::new(&counts) };
    let running = spawn(&projection.clone().on_failure(policy), &log, projector);
    for _ in 0..10_000 {
        if projection.checkpoint().wait()? == Position::new(1) {
            break;
        }
        // The backoff goes by the store's clock.
        fixture.clock().advance(Duration::from_secs(30));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((left.load(Ordering::SeqCst), item(&counts, "all")?), (0, json!({ "Bad": 1 })));
    ended(&store, running)
}

pub(super) fn pr_02_it_passes_over_into_dead_letters(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, [NewEvent::new("Good", &1), NewEvent::new("Bad", &2), NewEvent::new("Good", &3)])
        .wait()?;
    let failing = Some(("Bad", Arc::new(AtomicU32::new(u32::MAX))));
    let skipping = projection.clone().on_failure(FailurePolicy::Skip);
    let running = spawn(&skipping, &log, Counts { failing, ..Counts::new(&counts) });
    waited(&projection, Position::new(3))?;
    assert_eq!(item(&counts, "all")?, json!({ "Good": 2 }));
    let letters = projection.dead_letters().wait()?;
    assert_eq!((letters.len(), letters[0].position, &*letters[0].event_type), (1, Position::new(2), "Bad"));
    assert_eq!(projection.info().wait()?.map(|info| info.dead_letters), Some(1));
    projection.remove_dead_letter(Position::new(2)).wait()?;
    assert_eq!(projection.dead_letters().wait()?, []);
    ended(&store, running)
}

pub(super) fn pr_02_long_errors_are_kept_in_part(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, _, projection) = parts(fixture)?;
    log.append("s", 0, numbered(1)).wait()?;
    // One byte, then three each: the bound falls inside a character.
    let failing = |_: &Event, _: &mut ProjectionBatch| Err(format!("!{}", "€".repeat(100_000)).into());
    refused!(projection.run(&log, Query::all(), failing).wait(), ErrorKind::Projector { .. });
    let failure = projection.info().wait()?.and_then(|info| info.failure).expect("it is recorded");
    let running = spawn(&projection.clone().on_failure(FailurePolicy::Skip), &log, failing);
    waited_after_failure(&projection, Position::new(1))?;
    let letters = projection.dead_letters().wait()?;
    let lengths = (failure.error.len(), letters[0].error.len());
    assert_eq!(lengths, (4_096, 4_096), "as many whole characters as fit into 4 KiB");
    ended(&store, running)
}

pub(super) fn pr_02_a_refused_write_fails_its_event_alone(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(5)).wait()?;
    let skipping = projection.clone().on_failure(FailurePolicy::Skip);
    let rows = counts.clone();
    let running = spawn(&skipping, &log, move |event: &Event, batch: &mut ProjectionBatch| {
        // Refused when it is committed, with whatever else is in the batch.
        let item = if event.seq_nr == 3 { json!([3]) } else { json!({ "n": event.seq_nr }) };
        batch.add(rows.save(format!("k{}", event.seq_nr), &item));
        Ok(())
    });
    waited(&projection, Position::new(5))?;
    assert_eq!(counts.scan().wait()?.items.len(), 4);
    assert_eq!(projection.dead_letters().wait()?[0].position, Position::new(3));
    ended(&store, running)
}

pub(super) fn pr_02_refused_writes_and_failures_of_one_page(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    counts.save("there", &json!({})).wait()?;
    let types = ["Refused", "Bad", "Good", "Refused", "Good"];
    log.append("s", 0, types.map(|event_type| NewEvent::new(event_type, &1))).wait()?;
    let rows = counts.clone();
    let projector = move |event: &Event, batch: &mut ProjectionBatch| {
        match event.event_type.as_str() {
            "Refused" => batch.add(rows.save("there", &json!({})).if_absent()),
            "Bad" => return Err(BoxError::from("no")),
            _ => batch.add(rows.increment("all", "good", 1)),
        }
        Ok(())
    };
    let running = spawn(&projection.clone().on_failure(FailurePolicy::Skip), &log, projector);
    waited(&projection, Position::new(5))?;
    let letters: Vec<_> =
        projection.dead_letters().wait()?.iter().map(|letter| letter.position.get()).collect();
    assert_eq!((letters, item(&counts, "all")?), (vec![1, 2, 4], json!({ "good": 2 })));
    ended(&store, running)
}

pub(super) fn pr_02_compacted_history_is_told(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(5)).wait()?;
    log.compact("s", 3).wait()?;
    let run = projection.run(&log, Query::all(), Counts::new(&counts)).wait();
    refused!(run, ErrorKind::HistoryCompacted { through } if *through == Position::new(3));
    let running = spawn(&projection.clone().allow_compacted(true), &log, Counts::new(&counts));
    waited(&projection, Position::new(5))?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 2 }));
    ended(&store, running)
}

pub(super) fn pr_04_waiting_ends_when_it_has_come_so_far(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let reached = projection.wait_for_at_most(Position::new(1), Duration::from_millis(0)).wait()?;
    assert!(!reached, "nothing runs it");
    let only_good = QueryItem::new().types(["Good"]);
    let running = {
        let running = projection.run(&log, only_good, Counts::new(&counts));
        thread::spawn(move || running.wait())
    };
    log.append("s", 0, [NewEvent::new("Good", &1)]).wait()?;
    let other = log.append("s", 1, [NewEvent::new("Other", &1)]).wait()?;
    // It does not read that event, and has nothing left to read before it.
    waited(&projection, other.last_position)?;
    assert_eq!(item(&counts, "all")?, json!({ "Good": 1 }));
    // The longest patience has no end that a clock could tell.
    assert!(projection.wait_for_at_most(other.last_position, Duration::MAX).wait()?);
    ended(&store, running)
}

pub(super) fn pr_05_batches_give_the_same_as_single_events(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for n in 0..60 {
        let event_type = ["Good", "Odd", "Bad"][n % 3];
        log.append(format!("s{}", n % 4), Expected::Any, [NewEvent::new(event_type, &n)]).wait()?;
    }
    let mut results = Vec::new();
    for events in [1, 7, 500] {
        let counts = store.query_db(format!("Counts{events}"))?;
        let projection = store.projection(format!("counts{events}"))?.batch_events(events);
        let failing = Some(("Bad", Arc::new(AtomicU32::new(u32::MAX))));
        let skipping = projection.clone().on_failure(FailurePolicy::Skip);
        drop(spawn(&skipping, &log, Counts { failing, ..Counts::new(&counts) }));
        waited(&projection, Position::new(60))?;
        let items: Vec<_> =
            counts.scan().wait()?.items.into_iter().map(|item| (item.key, item.json)).collect();
        results.push((items, projection.dead_letters().wait()?.len()));
    }
    assert_eq!(results[0].1, 20);
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
    Ok(store.close().wait()?)
}

pub(super) fn el_08_unread_history_is_not_compacted(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, _, projection) = parts(fixture)?;
    log.append("s", 0, numbered(5)).wait()?;
    let running = spawn(&projection, &log, |event: &Event, _: &mut ProjectionBatch| match event.seq_nr {
        4 => Err("here it stops".into()),
        _ => Ok(()),
    });
    refused!(running.join().expect("no panic"), ErrorKind::Projector { .. });
    let behind = |error: &Error| match error.kind() {
        ErrorKind::ProjectionBehind { projection, checkpoint } => {
            assert_eq!((projection.as_str(), *checkpoint), ("counts", Position::new(3)));
        }
        other => panic!("{other:?}"),
    };
    behind(&log.compact("s", 4).wait().expect_err("it was not read"));
    behind(&log.trim(Position::new(5)).wait().expect_err("it was not read"));
    behind(&log.drop_log().wait().expect_err("it was not read"));
    log.compact("s", 3).wait()?;
    assert_eq!(log.compact("s", 4).force().wait()?.through, 4);
    log.trim(Position::new(5)).force().wait()?;
    log.drop_log().force().wait()?;
    projection.drop_projection().wait()?;
    assert!(projection.info().wait()?.is_none());
    let _ = store;
    Ok(())
}

pub(super) fn pr_01_checkpoints_are_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&projection.owns([&counts]), &log, Counts::new(&counts));
    waited(&store.projection("counts")?, Position::new(3))?;
    ended(&store, running)?;
    let (store, log, counts, projection) = parts(fixture)?;
    let info = projection.info().wait()?.expect("it was kept");
    assert_eq!((info.checkpoint, info.log.as_deref()), (Position::new(3), Some("orders")));
    assert_eq!((info.owns, info.query), (vec!["Counts".to_owned()], Some(Query::all())));
    let running = spawn(&projection.owns([&counts]), &log, Counts::new(&counts));
    let last = log.append("s", 3, numbered(1)).wait()?;
    waited(&store.projection("counts")?, last.last_position)?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 4 }));
    ended(&store, running)
}
