//! Cases of exports and imports: fm_03, as far as the whole of a store is concerned.

use std::{
    io::{Cursor, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    fixture::Fixture,
    support::{CaseResult, backend, event, numbered, orders, refused},
};
use crate::{
    backend::{
        Claimed, CommitRequest, Lease, ObjectData, Operation, Outcome, Progress, ProjectionOperation,
        TaskBucketOperation, TaskBucketOutcome, TaskBucketRow, TriggerRow, TriggerState, TriggersRead,
    },
    error::{BoxError, ErrorKind, Result},
    event::Position,
    projection::{DeadLetter, ProjectionFailure},
    query::Query,
    query_db::{Index, QueryDbSpec},
    store::Store,
    task_bucket::TaskKind,
    transfer::TransferOptions,
};

/// A writer whose bytes can be looked at.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn exported(store: &Store) -> Result<String, BoxError> {
    let shared = Shared::default();
    store.export(TransferOptions::new(), shared.clone()).wait()?;
    let bytes = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(String::from_utf8(bytes.clone())?)
}

fn import(store: &Store, export: &str) -> Result<()> {
    store.import(TransferOptions::new(), Cursor::new(export.as_bytes().to_vec())).wait().map(drop)
}

fn commit(store: &Store, operations: Vec<Operation>) -> Result<Vec<Outcome>> {
    let request = CommitRequest { id: None, operations, on_callers_thread: false };
    Ok(crate::wait(backend(store)?.commit(request))?.outcomes)
}

fn change(store: &Store, operation: TaskBucketOperation) -> Result<Outcome> {
    Ok(commit(store, vec![Operation::TaskBucket(operation)])?.remove(0))
}

fn project(store: &Store, operation: ProjectionOperation) -> Result<()> {
    commit(store, vec![Operation::Projection(operation)]).map(drop)
}

fn claim(store: &Store, limit: usize) -> Result<Vec<Claimed>> {
    let bucket = "mails".into();
    match change(store, TaskBucketOperation::Claim { bucket, limit, lease: 10_000_000, max_attempts: 3 })? {
        Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) => Ok(claimed),
        other => panic!("a claim answered {other:?}"),
    }
}

fn fail(store: &Store, lease: Lease, retry_after: Option<u64>) -> Result<()> {
    let (bucket, error) = ("mails".into(), "no\n\"good\"".into());
    change(store, TaskBucketOperation::Fail { bucket, lease, error, retry_after }).map(drop)
}

/// Some of everything that a store can hold.
fn fill(store: &Store) -> CaseResult {
    let log = orders(store)?;
    log.append("s", 0, numbered(9)).wait()?;
    log.append_if([event("Free").tag("t").metadata_json("{}")], None).wait()?;
    log.snapshots().save("s", 4, &4).wait()?;
    log.compact("s", 2).wait()?;
    store.event_log("snapshots-only")?.snapshots().save("s", 7, "state").wait()?;

    let spec = QueryDbSpec::new().sub_id_field("id").index(Index::new("by_kind", ["kind"]));
    let rows = store.define("Rows", spec).wait()?;
    rows.save("p", &serde_json::json!({ "id": "1", "kind": "k" })).wait()?;
    store.query_db("Loose")?.save("p", &serde_json::json!({ "n": 1 })).wait()?;

    let mails = store.task_bucket("mails")?;
    for key in ["dead", "failed", "leased"] {
        mails.put(key, [0, 159, 255]).content_type("text/plain").wait()?;
    }
    let claimed = claim(store, 3)?;
    fail(store, claimed[0].lease, None)?;
    fail(store, claimed[1].lease, Some(1_000_000))?;
    mails.put("leased", "again").not_before(Duration::from_secs(60)).wait()?;
    mails.put("never", "").not_before(Duration::MAX).wait()?;
    mails.delete("dead").with_trigger().wait()?;
    fill_projections(store)
}

fn fill_projections(store: &Store) -> CaseResult {
    store.projection("own-loop")?.set_checkpoint(Position::new(3)).wait()?;
    let (log, owns) = (orders(store)?.name().into(), vec!["Rows".into()]);
    let name = || "rows".into();
    project(store, ProjectionOperation::Register { projection: name(), log, query: Query::all(), owns })?;
    let position = Position::new(9);
    project(store, ProjectionOperation::SetCheckpoint { projection: name(), expected: None, position })?;
    let failure = ProjectionFailure::new(Position::new(10), "no\ngood", 3);
    project(store, ProjectionOperation::RecordFailure { projection: name(), failure })?;
    project(store, ProjectionOperation::RequestRebuild { projection: name() })?;
    project(store, ProjectionOperation::BeginRebuild { projection: name() })?;
    for position in [2, 3] {
        let letter = DeadLetter::new(Position::new(position), "Counted", "no good", 5);
        project(store, ProjectionOperation::AddDeadLetter { projection: name(), letter })?;
    }
    Ok(())
}

pub(super) fn fm_03_an_export_comes_back_the_same(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    fill(&store)?;
    let original = exported(&store)?;
    // Into a store in memory, and from there into one of this kind; both are the same again.
    let copy = Store::memory();
    import(&copy, &original)?;
    assert_eq!(exported(&copy)?, original);
    assert_eq!(copy.verify(Progress::default()).wait()?.findings, []);
    assert_eq!(copy.task_buckets().wait()?, store.task_buckets().wait()?);
    Ok(())
}

pub(super) fn fm_03_an_import_is_the_same_store(fixture: &dyn Fixture) -> CaseResult {
    let original = Store::memory();
    fill(&original)?;
    let export = exported(&original)?;
    let store = fixture.store()?;
    import(&store, &export)?;
    assert_eq!(exported(&store)?, export);
    assert_eq!(store.verify(Progress::default()).wait()?.findings, []);
    let of = |store: &Store| -> Result<_> {
        let (bucket, rows) = (store.task_bucket("mails")?, store.projection("rows")?);
        let listed = bucket.list("").wait()?.items;
        let letters = (bucket.dead_letters().wait()?.items, rows.dead_letters().wait()?);
        let mut projections = store.projections().wait()?;
        // A rebuild that was under way starts over.
        projections.iter_mut().for_each(|info| info.rebuild = None);
        Ok((listed, bucket.get("leased").wait()?, letters, projections, store.task_buckets().wait()?))
    };
    assert_eq!(of(&store)?, of(&original)?);
    // What is there already is not imported again.
    refused!(import(&store, &export), ErrorKind::InvalidArgument { field: "import", .. });
    assert_eq!(exported(&store)?, export);
    Ok(())
}

fn restore(store: &Store, rows: Vec<TaskBucketRow>) -> Result<()> {
    change(store, TaskBucketOperation::Restore { bucket: "mails".into(), rows }).map(drop)
}

fn object(key: &str, version: u64) -> TaskBucketRow {
    let object = ObjectData { key: key.into(), content_type: None, bytes: key.into() };
    TaskBucketRow::Object { object, version, recorded_at: 7 }
}

fn trigger(key: &str, number: u64, state: TriggerState) -> TaskBucketRow {
    TaskBucketRow::Trigger(TriggerRow {
        trigger: number,
        kind: TaskKind::ObjectCreated,
        key: key.into(),
        version: number - 1,
        state,
        due_at: number,
        attempts: 1,
        claims: 9,
        holder: 9,
        error: None,
    })
}

pub(super) fn fm_03_a_bucket_is_restored_in_parts(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let refusal = |rows| -> CaseResult {
        refused!(restore(&store, rows), ErrorKind::InvalidArgument { field: "import", .. });
        Ok(())
    };
    refusal(vec![object("a", 1)])?;
    assert_eq!(store.task_bucket("mails")?.info().wait()?, None);
    let counter = 8;
    restore(&store, vec![TaskBucketRow::Begin { counter }, object("a", 1)])?;
    refused!(restore(&store, vec![TaskBucketRow::Begin { counter }]), ErrorKind::AlreadyExists);
    refusal(vec![object("b", 3), object("a", 3)])?;
    refusal(vec![object("b", 9)])?;
    refusal(vec![trigger("a", 9, TriggerState::Behind)])?;
    restore(&store, vec![object("b", 3)])?;
    let waiting = |key, number| trigger(key, number, TriggerState::Behind);
    restore(&store, vec![trigger("a", 2, TriggerState::Dead), waiting("a", 4), waiting("b", 5)])?;
    refusal(vec![waiting("b", 5)])?;
    refusal(vec![waiting("a", 3)])?;
    restore(&store, vec![waiting("a", 8), TaskBucketRow::End { counter }])?;
    assert_eq!(store.verify(Progress::default()).wait()?.findings, []);

    let mails = store.task_bucket("mails")?;
    assert_eq!(mails.info().wait()?.map(|info| info.counter), Some(8));
    assert_eq!(mails.dead_letters().wait()?.items[0].trigger, 2);
    let claimed = claim(&store, 9)?;
    let told: Vec<_> =
        claimed.iter().map(|claimed| (claimed.lease.trigger, claimed.lease.token, claimed.attempt)).collect();
    assert_eq!(told, [(4, 1, 2), (5, 1, 2)], "the first of each key, attempted once before");
    let acknowledge = TaskBucketOperation::Acknowledge { bucket: "mails".into(), lease: claimed[0].lease };
    change(&store, acknowledge)?;
    assert_eq!(claim(&store, 9)?[0].lease.trigger, 8);
    assert!(mails.put("c", "x").wait()?.version > 8);
    Ok(())
}

pub(super) fn fm_03_a_bucket_that_was_refused_is_not_there(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let begin = TaskBucketRow::Begin { counter: 5 };
    let rows = vec![begin.clone(), object("a", 1), trigger("a", 2, TriggerState::Behind), object("a", 3)];
    refused!(restore(&store, rows), ErrorKind::InvalidArgument { field: "import", .. });
    assert_eq!(store.task_buckets().wait()?, []);
    assert_eq!(store.task_bucket("mails")?.get("a").wait()?, None);
    restore(&store, vec![begin, object("a", 1), TaskBucketRow::End { counter: 5 }])?;
    assert_eq!(store.task_buckets().wait()?[0].counter, 5);
    assert_eq!(claim(&store, 9)?, []);
    Ok(())
}

pub(super) fn fm_03_triggers_are_read_in_pages(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let mails = store.task_bucket("mails")?;
    for n in 0..10 {
        mails.put(format!("key-{}", n % 3), "x").wait()?;
    }
    store.task_bucket("others")?.put("a", "x").wait()?;
    let claimed = claim(&store, 2)?;
    fail(&store, claimed[0].lease, None)?;
    let read = |bucket: &str, after, limit| {
        crate::wait(backend(&store)?.read_triggers(TriggersRead { bucket: bucket.into(), after, limit }))
    };
    let all = read("mails", 0, 100)?;
    assert_eq!(
        all.iter().map(|row| row.trigger).collect::<Vec<_>>(),
        (1..=10).map(|n| 2 * n).collect::<Vec<_>>()
    );
    let states = |state| all.iter().filter(|row| row.state == state).count();
    assert_eq!([TriggerState::Dead, TriggerState::First, TriggerState::Behind].map(states), [1, 3, 6]);
    assert_eq!(all.iter().filter(|row| row.holder > 0).count(), 1);
    for limit in [1, 3, 10] {
        let (mut paged, mut after) = (Vec::new(), 0);
        loop {
            let page = read("mails", after, limit)?;
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.trigger;
            paged.extend(page);
            assert!(paged.len() <= all.len(), "it never ends");
        }
        assert_eq!(paged, all, "in pages of {limit}");
    }
    assert_eq!(read("unknown", 0, 10)?, []);
    Ok(())
}

pub(super) fn fm_03_more_dead_letters_than_a_page(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let letter = |n| DeadLetter::new(Position::new(n), "Bad", "no", n);
    let operations = (1..=1_003).map(|n| {
        let projection = "p".into();
        Operation::Projection(ProjectionOperation::AddDeadLetter { projection, letter: letter(n) })
    });
    commit(&store, operations.collect())?;
    assert_eq!(store.projection("p")?.dead_letters().wait()?.len(), 1_000);
    let above = |position| crate::wait(backend(&store)?.dead_letters("p".into(), Position::new(position)));
    assert_eq!(above(1_000)?, (1_001..=1_003).map(letter).collect::<Vec<_>>());
    assert_eq!(above(1_003)?, []);
    let copy = Store::memory();
    import(&copy, &exported(&store)?)?;
    assert_eq!(copy.projection("p")?.info().wait()?.map(|info| info.dead_letters), Some(1_003));
    Ok(())
}
