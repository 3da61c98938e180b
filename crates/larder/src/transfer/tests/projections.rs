//! Projections: they go on where they were, or are rebuilt, and never from a checkpoint that does not fit.

use std::{
    future::{Future as _, poll_fn},
    io::Cursor,
    task::Poll,
};

use super::{
    Limits, Meddling, NewEvent, Position, Query, QueryItem, Shared, Store, altered, check_export, exported,
    import, lines_of,
};
use crate::{
    DeadLetter, ErrorKind, Event, EventLog, FailurePolicy, Progress, Projection, ProjectionBatch, QueryDb,
    Result, TransferOptions, Transferred,
    backend::{CommitRequest, Operation, ProjectionOperation},
    wait,
};

fn commit(store: &Store, operations: Vec<ProjectionOperation>) {
    let operations = operations.into_iter().map(Operation::Projection).collect();
    let request = CommitRequest { id: None, operations, on_callers_thread: false };
    wait(wait(store.backend()).unwrap().commit(request)).unwrap();
}

/// Runs a projection on a store's events until it has seen this position, or has failed.
fn run(projection: &Projection, log: &EventLog, counts: &QueryDb, through: u64) -> Result<()> {
    let counts = counts.clone();
    let running = projection.run(log, Query::all(), move |event: &Event, batch: &mut ProjectionBatch| {
        if event.event_type == "Bad" {
            return Err("it is bad".into());
        }
        batch.add(counts.increment("all", "events", 1));
        Ok(())
    });
    // It ends with a failure, or is left behind at its place.
    let mut running = Box::pin(running);
    let mut waiting = Box::pin(projection.wait_for(Position::new(through)));
    wait(poll_fn(move |context| match running.as_mut().poll(context) {
        Poll::Pending => waiting.as_mut().poll(context),
        ended => ended,
    }))
}

/// A log of ten events, and a projection that counts them into a QueryDb that it owns.
struct Parts {
    store: Store,
    log: EventLog,
    counts: QueryDb,
    projection: Projection,
}

impl Parts {
    fn of(store: Store) -> Self {
        let (log, counts) = (store.event_log("orders").unwrap(), store.query_db("Counts").unwrap());
        let projection = store.projection("counts").unwrap().owns([&counts]);
        Self { store, log, counts, projection }
    }

    fn new() -> Self {
        let this = Self::of(Store::memory());
        this.append(10);
        run(&this.projection, &this.log, &this.counts, 10).unwrap();
        this
    }

    fn append(&self, events: usize) {
        let new = (0..events).map(|_| NewEvent::json("A", "1"));
        self.log.append_if(new, None).wait().unwrap();
    }

    fn catch_up(&self) {
        let head = self.log.info().wait().unwrap().unwrap().head;
        run(&self.projection, &self.log, &self.counts, head.get()).unwrap();
    }

    fn count(&self) -> String {
        self.counts.load_one("all").wait().unwrap().map(|item| item.json).unwrap_or_default()
    }
}

fn letter(position: u64) -> DeadLetter {
    DeadLetter::new(Position::new(position), "Bad", format!("no {position}\n"), position * 1_000)
}

/// With every kind of record: one that owns, one that has stopped, one that is only a checkpoint, one with letters.
fn varied() -> Store {
    let parts = Parts::new();
    let (store, log) = (&parts.store, &parts.log);
    log.append_if([NewEvent::json("Bad", "1")], None).wait().unwrap();
    let other = store.query_db("Other").unwrap();
    let stopped = store.projection("stopped").unwrap();
    assert!(run(&stopped, log, &other, 11).is_err());
    let skipping = store.projection("skipping").unwrap().on_failure(FailurePolicy::Skip);
    run(&skipping, log, &other, 11).unwrap();
    store.projection("own-loop").unwrap().set_checkpoint(Position::new(7)).wait().unwrap();
    let query: Query = [QueryItem::new().types(["A"]), QueryItem::new().tag("t")].into();
    let (projection, log) = ("letters".into(), "orders".into());
    let mut operations = vec![ProjectionOperation::Register { projection, log, query, owns: vec![] }];
    operations.extend((1..=2_345).map(|n| {
        let projection = "letters".into();
        ProjectionOperation::AddDeadLetter { projection, letter: letter(n) }
    }));
    commit(store, operations);
    store.projection("counts").unwrap().request_rebuild().wait().unwrap();
    store.clone()
}

#[test]
fn projections_come_back_line_by_line() {
    let store = varied();
    let original = exported(&store);
    let copy = Store::memory();
    let imported = copy.import(TransferOptions::new(), Cursor::new(original.clone())).wait().unwrap();
    let told: Vec<_> = imported
        .projections
        .iter()
        .map(|known| (known.projection.as_str(), known.checkpoint.get(), known.dead_letters, known.rebuild))
        .collect();
    assert_eq!(
        told,
        [
            ("counts", 10, 0, true),
            ("letters", 0, 2_345, false),
            ("own-loop", 7, 0, false),
            ("skipping", 11, 1, false),
            ("stopped", 10, 0, false),
        ]
    );
    assert_eq!(copy.projections().wait().unwrap(), store.projections().wait().unwrap());
    assert_eq!(exported(&copy), original);
    assert!(copy.verify(Progress::default()).wait().unwrap().is_sound());
}

#[cfg(feature = "sqlite")]
#[test]
fn projections_go_through_a_file_and_back() {
    use crate::testing::{Fixture as _, SqliteFixture};
    let original = exported(&varied());
    let fixture = SqliteFixture::new();
    let file = fixture.open(Limits::default()).unwrap();
    import(&file, &original).unwrap();
    assert!(file.verify(Progress::default()).wait().unwrap().is_sound());
    let again = exported(&file);
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&original));
    let memory = Store::memory();
    import(&memory, &again).unwrap();
    assert_eq!(exported(&memory), original);
}

#[test]
fn a_projection_goes_on_where_it_was() {
    let original = Parts::new();
    let copy = Parts::of(Store::memory());
    import(&copy.store, &exported(&original.store)).unwrap();
    assert_eq!(copy.count(), "{\"events\":10}");
    let error = copy.counts.save("all", &serde_json::json!({})).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }), "it is owned: {error}");
    copy.append(2);
    copy.catch_up();
    assert_eq!(copy.count(), "{\"events\":12}");
}

#[test]
fn a_projection_is_imported_only_where_there_is_none() {
    let original = exported(&Parts::new().store);
    let copy = Store::memory();
    let mine = copy.projection("counts").unwrap();
    mine.set_checkpoint(Position::START).wait().unwrap();
    let error = import(&copy, &original).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::AlreadyExists);
    assert!(error.hint().unwrap().contains("only where there is none"), "{error:?}");
    assert!(error.context().contains(&("projection", "counts".into())), "{error:?}");
    assert_eq!(mine.info().wait().unwrap().unwrap().log, None);
}

#[test]
fn a_projection_from_elsewhere_is_checked() {
    let good = exported(&varied());
    for (from, to) in [
        ("\"name\":\"counts\"", "\"name\":\"co/unts\""),
        ("\"log\":\"orders\",\"query\":null", "\"log\":\"orders\""),
        ("\"log\":\"orders\",\"query\":null", "\"query\":null"),
        ("\"log\":\"orders\",\"query\":null", "\"log\":\"or/ders\",\"query\":null"),
        ("\"query\":[", "\"query\":[{\"types\":[\"\"]},"),
        ("\"owns\":[\"Counts\"]", "\"owns\":[\"Counts~rebuild\"]"),
        ("\"owns\":[\"Counts\"],", ""),
        ("\"checkpoint\":7", "\"checkpoint\":140737488355328"),
        ("\"rebuild\":true", "\"rebuild\":null"),
        ("\"dead_letters\":2345", "\"dead_letters\":2344"),
        ("{\"dead_letter\":{\"position\":2,", "{\"dead_letter\":{\"position\":1,"),
        ("{\"dead_letter\":{\"position\":1,", "{\"dead_letter\":{\"position\":0,"),
        ("{\"projection_end\":{\"dead_letters\":0}}\n", ""),
    ] {
        let bad = altered(&good, from, to);
        assert!(check_export(&*bad, &Limits::default()).is_err(), "{to}");
        assert!(import(&Store::memory(), &bad).is_err(), "{to}");
    }
}

/// Exports while something happens, once the first part is written; the padding keeps that from being the last.
fn meddled(store: &Store, meddle: impl FnOnce() + Send + 'static) -> (Result<Transferred>, Vec<u8>) {
    let writer = Meddling { bytes: Shared::default(), meddle: Some(meddle) };
    let bytes = writer.bytes.clone();
    (store.export(TransferOptions::new(), writer).wait(), bytes.bytes())
}

/// More than fits into a writer's buffer, in a QueryDb that comes before the others.
fn pad(store: &Store) {
    let padding = store.query_db("A-padding").unwrap();
    for n in 0..20 {
        padding.save(format!("{n}"), &serde_json::json!({ "text": "x".repeat(10_000) })).wait().unwrap();
    }
}

#[test]
fn one_that_owns_and_goes_on_meanwhile_is_rebuilt() {
    let parts = Parts::new();
    pad(&parts.store);
    let meddling = Parts::of(parts.store.clone());
    let (found, bytes) = meddled(&parts.store, move || {
        meddling.append(5);
        meddling.catch_up();
    });
    let found = found.unwrap();
    assert!(found.projections[0].rebuild && found.events() == 10, "{found:?}");
    // The log of the copy goes no further.
    assert_eq!(found.projections[0].checkpoint, Position::new(10));
    let copy = Parts::of(Store::memory());
    import(&copy.store, &bytes).unwrap();
    assert_eq!(copy.count(), "{\"events\":15}", "that is why");
    copy.append(1);
    copy.catch_up();
    assert_eq!(copy.count(), "{\"events\":11}");
    assert!(!copy.projection.info().wait().unwrap().unwrap().rebuild_requested);
}

#[test]
fn one_that_is_ahead_of_its_exported_log_is_rebuilt() {
    let parts = Parts::new();
    let loose = parts.store.projection("loose").unwrap();
    loose.set_checkpoint(Position::new(3)).wait().unwrap();
    // Exported after `orders`, and before the QueryDbs.
    let padding = parts.store.event_log("padding").unwrap();
    padding.append_if((0..200).map(|_| NewEvent::new("A", &"x".repeat(1_000))), None).wait().unwrap();
    let meddling = Parts::of(parts.store.clone());
    let (found, bytes) = meddled(&parts.store, move || {
        meddling.append(5);
        meddling.catch_up();
    });
    let found = found.unwrap();
    assert_eq!(found.logs[0].events, 10);
    let told = |n: usize| (found.projections[n].checkpoint.get(), found.projections[n].rebuild);
    assert_eq!((told(0), told(1)), ((10, true), (3, false)));
    let copy = Parts::of(Store::memory());
    import(&copy.store, &bytes).unwrap();
    copy.append(1);
    copy.catch_up();
    assert_eq!(copy.count(), "{\"events\":11}");

    // One that owns nothing may have written to a log that was exported before.
    let (result, _) = meddled(&parts.store, move || {
        loose.set_checkpoint(Position::new(4)).wait().unwrap();
    });
    assert!(matches!(result.unwrap_err().kind(), ErrorKind::Conflict { expected: 3, actual: 4 }));
}

#[test]
fn one_that_was_rebuilt_meanwhile_is_rebuilt() {
    let parts = Parts::new();
    pad(&parts.store);
    let (projection, log, counts) = (parts.projection.clone(), parts.log.clone(), parts.counts.clone());
    let (found, _) = meddled(&parts.store, move || {
        let twice = move |_: &Event, batch: &mut ProjectionBatch| {
            batch.add(counts.increment("all", "events", 2));
            Ok(())
        };
        projection.rebuild(&log, Query::all(), twice).wait().unwrap();
    });
    assert_eq!(parts.count(), "{\"events\":20}");
    assert!(found.unwrap().projections[0].rebuild);
}

#[test]
fn one_that_goes_on_meanwhile_and_cannot_be_rebuilt_is_refused() {
    // It owns nothing.
    let parts = Parts::new();
    pad(&parts.store);
    let loose = parts.store.projection("loose").unwrap();
    loose.set_checkpoint(Position::new(3)).wait().unwrap();
    let (result, bytes) = meddled(&parts.store, move || {
        loose.set_checkpoint(Position::new(4)).wait().unwrap();
    });
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict { expected: 3, actual: 4 }), "{error}");
    assert!(error.hint().unwrap().contains("stop it"), "{error:?}");
    assert!(error.context().contains(&("projection", "loose".into())), "{error:?}");
    assert!(check_export(&*bytes, &Limits::default()).is_err());
    assert!(check_export(&*exported(&parts.store), &Limits::default()).is_ok());

    // What it was made from is no longer there.
    parts.log.trim(Position::new(2)).wait().unwrap();
    let meddling = Parts::of(parts.store.clone());
    let (result, _) = meddled(&parts.store, move || {
        meddling.append(1);
        run(&meddling.projection.clone().allow_compacted(true), &meddling.log, &meddling.counts, 11).unwrap();
    });
    assert!(matches!(result.unwrap_err().kind(), ErrorKind::Conflict { expected: 10, actual: 11 }));
}

#[test]
fn copies_of_a_rebuild_stay_behind() {
    let parts = Parts::new();
    let before = exported(&parts.store);
    commit(&parts.store, vec![ProjectionOperation::BeginRebuild { projection: "counts".into() }]);
    let with_copies = exported(&parts.store);
    assert_eq!(with_copies, before);
    assert_eq!(lines_of(&with_copies, "query_db").len(), 1);
    let copy = Store::memory();
    import(&copy, &with_copies).unwrap();
    assert_eq!(copy.projection("counts").unwrap().info().wait().unwrap().unwrap().rebuild, None);
}
