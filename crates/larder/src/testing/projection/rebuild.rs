//! Cases of what projections own, and of rebuilds: pr_03.

use super::*;

pub(in crate::testing) fn pr_03_others_cannot_write_what_it_owns(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(1)).wait()?;
    let owner = projection.clone().owns([&counts]);
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&projection, Position::new(1))?;
    refused!(counts.save("k", &json!({})).wait(), ErrorKind::InvalidArgument { field: "QueryDb", .. });
    refused!(counts.delete("all").wait(), ErrorKind::InvalidArgument { field: "QueryDb", .. });
    refused!(counts.increment("all", "n", 1).wait(), ErrorKind::InvalidArgument { field: "QueryDb", .. });
    assert_eq!(counts.info().wait()?.and_then(|info| info.owner).as_deref(), Some("counts"));
    let thief = store.projection("thief")?.owns([&counts]);
    let stolen = thief.run(&log, Query::all(), Counts::new(&counts)).wait();
    refused!(stolen, ErrorKind::InvalidArgument { field: "QueryDb", .. });
    store.close().wait()?;
    Ok(running.join().expect("no panic")?)
}

pub(in crate::testing) fn pr_03_it_writes_nothing_else(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, numbered(1)).wait()?;
    let (owner, other) = (projection.owns([&counts]), store.query_db("Other")?);
    let run = owner
        .run(&log, Query::all(), move |_: &Event, batch: &mut ProjectionBatch| {
            batch.add(other.save("k", &json!({})));
            Ok(())
        })
        .wait();
    refused!(run, ErrorKind::Projector { .. });
    assert!(store.query_db("Other")?.info().wait()?.is_none());
    Ok(())
}

pub(in crate::testing) fn pr_03_a_rebuild_replaces_everything_at_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let spec = QueryDbSpec::new().index(Index::new("by_kind", ["kind"])).changes(true);
    let rows = store.define("Rows", spec).wait()?;
    let owner = store.projection("rows")?.owns([&rows]);
    log.append("s", 0, numbered(20)).wait()?;
    let kind = |rows: &QueryDb, kind: &'static str| {
        let rows = rows.clone();
        move |event: &Event, batch: &mut ProjectionBatch| {
            batch.add(rows.save(format!("k{}", event.seq_nr), &json!({ "kind": kind })));
            Ok(())
        }
    };
    let running = spawn(&owner, &log, kind(&rows, "old"));
    waited(&owner, Position::new(20))?;
    let of = |kind: &str| rows.count_items(ItemQuery::index("by_kind", [kind])).wait();
    let before = rows.load_one("k1").wait()?.expect("it is there").version;
    let mut changes = rows.changes();
    for round in 0..2 {
        // Beside the live runner.
        owner.rebuild(&log, Query::all(), kind(&rows, if round == 0 { "new" } else { "newer" })).wait()?;
        let change = changes.try_next().wait()?.expect("the store is open");
        assert_eq!((change.kind, change.key), (ChangeKind::Replaced, None));
    }
    assert_eq!((of("old")?, of("new")?, of("newer")?), (0, 0, 20));
    let after = rows.load_one("k1").wait()?.expect("it is there").version;
    assert!(after > before, "versions go on: {before}, then {after}");
    let last = log.append("s", 20, numbered(1)).wait()?;
    waited(&owner, last.last_position)?;
    assert_eq!((of("old")?, of("newer")?), (1, 20), "the live runner goes on with the new read model");
    assert_eq!(store.query_dbs().wait()?.len(), 1, "no copy is left to be seen");
    let report = store.verify(crate::Progress::default()).wait()?;
    assert_eq!(report.findings, []);
    store.close().wait()?;
    Ok(running.join().expect("no panic")?)
}

pub(in crate::testing) fn pr_03_a_failed_rebuild_leaves_the_old_one(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&owner, Position::new(3))?;
    let failing = Some(("Counted", Arc::new(AtomicU32::new(u32::MAX))));
    let rebuilt = owner.rebuild(&log, Query::all(), Counts { failing, ..Counts::new(&counts) }).wait();
    refused!(rebuilt, ErrorKind::Projector { .. });
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    owner.rebuild(&log, Query::all(), Counts::new(&counts)).wait()?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    store.close().wait()?;
    Ok(running.join().expect("no panic")?)
}

pub(in crate::testing) fn pr_03_a_failed_rebuild_leaves_nothing(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let failing = Some(("Counted", Arc::new(AtomicU32::new(u32::MAX))));
    let rebuilt = owner.rebuild(&log, Query::all(), Counts { failing, ..Counts::new(&counts) }).wait();
    refused!(rebuilt, ErrorKind::Projector { .. });
    let info = owner.info().wait()?.expect("it is registered");
    assert!(
        info.rebuild.is_none() && info.failure.is_none(),
        "the projection itself has not stopped: {info:?}"
    );
    assert!(!has_copy(&store)?, "the copy is gone");
    Ok(())
}

pub(in crate::testing) fn pr_03_dropped_in_a_rebuild_it_leaves_no_copy(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let begun = Arc::new(AtomicU32::new(0));
    let stuck = owner.rebuild(&log, Query::all(), Stuck(begun.clone()));
    left_alone(stuck, || begun.load(Ordering::SeqCst) > 0);
    assert!(has_copy(&store)?, "the rebuild is under way");
    owner.drop_projection().wait()?;
    assert!(!has_copy(&store)?, "the copy went with the projection");
    assert!(counts.info().wait()?.is_some_and(|info| info.owner.is_none()), "the QueryDb stays");
    // Another may own it, and rebuild it.
    let next = store.projection("next")?.owns([&counts]);
    next.rebuild(&log, Query::all(), Counts::new(&counts)).wait()?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    assert_eq!(store.verify(crate::Progress::default()).wait()?.findings, []);
    Ok(())
}

/// Whether the copy that a rebuild of `Counts` fills is there.
fn has_copy(store: &Store) -> Result<bool> {
    let backend = backend(store)?;
    let copy = wait(backend.query_db_info("Counts~rebuild".into()))?;
    Ok(copy.is_some())
}

pub(in crate::testing) fn pr_03_a_requested_rebuild_is_done_by_the_runner(
    fixture: &dyn Fixture,
) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    refused!(projection.request_rebuild().wait(), ErrorKind::NotFound);
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&owner, Position::new(3))?;
    let mut changes = counts.changes();
    owner.request_rebuild().wait()?;
    assert_eq!(changes.try_next().wait()?.map(|change| change.kind), Some(ChangeKind::Replaced));
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    let info = owner.info().wait()?.expect("it runs");
    assert_eq!((info.rebuild_requested, info.rebuild), (false, None));
    store.close().wait()?;
    Ok(running.join().expect("no panic")?)
}

/// Never gets done with an event.
struct Stuck(Arc<AtomicU32>);

impl Projector for Stuck {
    async fn project(&mut self, _: &Event, _: &mut ProjectionBatch) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

/// Drives it until it has come so far, and then no more, as if its process had ended.
fn left_alone(running: Call<()>, until: impl Fn() -> bool) {
    let mut running = Box::pin(running.into_future());
    let mut context = Context::from_waker(Waker::noop());
    while !until() {
        assert!(running.as_mut().poll(&mut context).is_pending(), "it does not end");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(in crate::testing) fn pr_03_a_requested_rebuild_outlives_its_runner(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let read = || owner.checkpoint().wait().is_ok_and(|checkpoint| checkpoint == Position::new(3));
    left_alone(owner.run(&log, Query::all(), Counts::new(&counts)), read);
    owner.request_rebuild().wait()?;
    let begun = Arc::new(AtomicU32::new(0));
    let stuck = owner.run(&log, Query::all(), Stuck(begun.clone()));
    left_alone(stuck, || begun.load(Ordering::SeqCst) > 0);
    let info = owner.info().wait()?.expect("it has run");
    assert_eq!((info.rebuild_requested, info.rebuild), (true, Some(Position::START)));
    let mut changes = counts.changes();
    let running = spawn(&owner, &log, Counts::new(&counts));
    assert_eq!(changes.try_next().wait()?.map(|change| change.kind), Some(ChangeKind::Replaced));
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    assert_eq!(owner.info().wait()?.map(|info| info.rebuild_requested), Some(false));
    ended(&store, running)
}

pub(in crate::testing) fn pr_03_a_request_ends_with_a_failed_rebuild(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&owner, Position::new(3))?;
    log.compact("s", 2).wait()?;
    owner.request_rebuild().wait()?;
    refused!(running.join().expect("no panic"), ErrorKind::HistoryCompacted { .. });
    let info = owner.info().wait()?.expect("it has run");
    assert!(!info.rebuild_requested && info.failure.is_some(), "{info:?}");
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 3 }));
    // The next one goes on as if nothing had been asked.
    let running = spawn(&owner, &log, Counts::new(&counts));
    let last = log.append("s", 3, numbered(1)).wait()?;
    waited_after_failure(&owner, last.last_position)?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 4 }));
    ended(&store, running)
}

pub(in crate::testing) fn pr_03_a_rebuild_over_compacted_history_must_be_allowed(
    fixture: &dyn Fixture,
) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(4)).wait()?;
    let running = spawn(&owner, &log, Counts::new(&counts));
    waited(&owner, Position::new(4))?;
    log.compact("s", 2).wait()?;
    let rebuilt = owner.rebuild(&log, Query::all(), Counts::new(&counts)).wait();
    refused!(rebuilt, ErrorKind::HistoryCompacted { .. });
    owner.clone().allow_compacted(true).rebuild(&log, Query::all(), Counts::new(&counts)).wait()?;
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 2 }));
    store.close().wait()?;
    Ok(running.join().expect("no panic")?)
}

pub(in crate::testing) fn pr_03_history_that_goes_meanwhile_is_told(fixture: &dyn Fixture) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]).batch_events(1);
    log.append("s", 0, numbered(4)).wait()?;
    let read = || owner.checkpoint().wait().is_ok_and(|checkpoint| checkpoint == Position::new(4));
    left_alone(owner.run(&log, Query::all(), Counts::new(&counts)), read);
    let (compacted, rows) = (log.clone(), counts.clone());
    let compacts = move |event: &Event, batch: &mut ProjectionBatch| {
        batch.add(rows.increment("all", &event.event_type, 1));
        // Unread by the rebuild, and read by the projection: nobody refuses it.
        compacted.compact("s", 3).wait().map(drop).map_err(BoxError::from)
    };
    refused!(owner.rebuild(&log, Query::all(), compacts).wait(), ErrorKind::HistoryCompacted { .. });
    assert_eq!(item(&counts, "all")?, json!({ "Counted": 4 }), "the old one is as it was");
    assert!(!has_copy(&store)?);
    Ok(())
}

pub(in crate::testing) fn pr_03_a_runner_goes_on_after_a_rebuild_beside_it(
    fixture: &dyn Fixture,
) -> CaseResult {
    let (store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    let good = Query::from(QueryItem::new().types(["Good"]));
    let begun = log.append("s", Expected::Any, [NewEvent::new("Good", &1)]).wait()?;
    let run = owner.run(&log, good.clone(), Counts::new(&counts));
    let running = thread::spawn(move || run.wait());
    waited(&owner, begun.last_position)?;
    // The runner passes over this one and keeps its checkpoint; the rebuild moves it.
    log.append("s", Expected::Any, [NewEvent::new("Other", &1)]).wait()?;
    owner.rebuild(&log, good, Counts::new(&counts)).wait()?;
    let last = log.append("s", Expected::Any, [NewEvent::new("Good", &1)]).wait()?;
    waited(&owner, last.last_position)?;
    assert_eq!(item(&counts, "all")?, json!({ "Good": 2 }));
    assert_eq!(owner.info().wait()?.map(|info| info.rebuilds), Some(1));
    ended(&store, running)
}

pub(in crate::testing) fn pr_03_a_rebuild_tries_again(fixture: &dyn Fixture) -> CaseResult {
    let (_store, log, counts, projection) = parts(fixture)?;
    log.append("s", 0, [NewEvent::new("Bad", &1)]).wait()?;
    let left = Arc::new(AtomicU32::new(2));
    let policy = FailurePolicy::Retry { attempts: 3, backoff: Duration::from_secs(60) };
    let projector = Counts { failing: Some(("Bad", left)), ..Counts::new(&counts) };
    let rebuild = projection.owns([&counts]).on_failure(policy).rebuild(&log, Query::all(), projector);
    let rebuilding = thread::spawn(move || rebuild.wait());
    while !rebuilding.is_finished() {
        fixture.clock().advance(Duration::from_secs(30));
        thread::sleep(Duration::from_millis(1));
    }
    rebuilding.join().expect("no panic")?;
    assert_eq!(item(&counts, "all")?, json!({ "Bad": 1 }));
    Ok(())
}

pub(in crate::testing) fn pr_03_a_checkpoint_beyond_the_log_is_told(fixture: &dyn Fixture) -> CaseResult {
    let (_store, log, counts, projection) = parts(fixture)?;
    let owner = projection.owns([&counts]);
    log.append("s", 0, numbered(3)).wait()?;
    owner.set_checkpoint(Position::new(100)).wait()?;
    let rebuilt = owner.rebuild(&log, Query::all(), Counts::new(&counts)).wait();
    refused!(rebuilt, ErrorKind::InvalidArgument { .. });
    Ok(())
}
