//! The read model, and what becomes of it in a single clean run.

use larder::{
    BoxError, Config, Event, EventLog, Expected, FailurePolicy, Index, NewEvent, Position, Projection,
    ProjectionBatch, Projector, Query, QueryDb, QueryDbSpec, Store,
};
use serde_json::{Value, json};

use crate::violation::{OrUnusable, Promise, Violation};

/// The log that is read.
pub(super) const LOG: &str = "events";
/// The projection.
pub(super) const NAME: &str = "accounts";
/// Events that the projector refuses, into dead letters.
pub(super) const BAD: &str = "Bad";

/// The QueryDbs that the projection fills: nothing in them can be written twice without a trace.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) log: EventLog,
    pub(super) projection: Projection,
    rows: QueryDb,
    totals: QueryDb,
}

impl Model {
    /// The model in this store. One that `owns` its QueryDbs can be rebuilt.
    pub(super) fn of(store: &Store, owns: bool) -> larder::Result<Self> {
        let log = store.event_log(LOG)?;
        let spec = QueryDbSpec::new()
            .index(Index::new("by_events", ["kind"]).sort_by([larder::KeyField::number("events")]))
            .index(Index::new("by_last", ["last"]));
        let (rows, totals) = (store.define("Rows", spec).wait()?, store.query_db("Totals")?);
        let mut projection = store.projection(NAME)?.on_failure(FailurePolicy::Skip);
        if owns {
            projection = projection.owns([&rows, &totals]);
        }
        Ok(Self { log, projection, rows, totals })
    }

    pub(super) fn projector(&self) -> Accounts {
        Accounts { rows: self.rows.clone(), totals: self.totals.clone() }
    }

    /// Everything in it, in order, and what each index finds.
    pub(super) fn contents(&self) -> larder::Result<Vec<String>> {
        let mut all = Vec::new();
        for query_db in [&self.rows, &self.totals] {
            for item in query_db.scan().each().wait_iter() {
                let item = item?;
                all.push(format!("{} {}: {}", query_db.name(), item.key.partition, item.json));
            }
        }
        for kind in ["even", "odd"] {
            for item in self.rows.query(larder::ItemQuery::index("by_events", [kind])).each().wait_iter() {
                all.push(format!("{kind}: {}", item?.key.partition));
            }
        }
        Ok(all)
    }
}

/// Counts and sums: an event that is taken twice, not at all, or in another order shows.
#[derive(Debug)]
pub(super) struct Accounts {
    rows: QueryDb,
    totals: QueryDb,
}

impl Projector for Accounts {
    async fn project(&mut self, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
        let number = event.decode::<Value>()?["n"].as_u64().ok_or("no number")?;
        let stream = event.stream.as_deref().ok_or("no stream")?;
        batch.add(self.totals.increment("all", &event.event_type, 1));
        batch.add(self.totals.increment("all", "sum", i64::try_from(number)?));
        if event.event_type == BAD {
            return Err("a bad event".into());
        }
        let row = match batch.load_one(&self.rows, stream).await? {
            Some(item) => item.decode::<Value>()?,
            None => json!({ "events": 0, "chain": 0 }),
        };
        let (events, chain) = (row["events"].as_u64().unwrap_or(0), row["chain"].as_u64().unwrap_or(0));
        let row = json!({
            "events": events + 1,
            "kind": if events.is_multiple_of(2) { "odd" } else { "even" },
            "chain": chain.wrapping_mul(31).wrapping_add(number) % 1_000_000_007,
            "last": event.event_type,
        });
        batch.add(self.rows.save(stream, &row));
        Ok(())
    }
}

/// Compares the store's read model with that of a single clean run, in memory and event by event, over what its log
/// holds through its checkpoint. Answers the checkpoint and the log's head.
pub(super) fn check(store: &Store, owns: bool) -> Result<(Position, Position), Violation> {
    let found = Model::of(store, owns).or_unusable("define")?;
    let info = found.projection.info().wait().or_unusable("info")?;
    let checkpoint = info.as_ref().map_or(Position::START, |info| info.checkpoint);
    if let Some(failure) = info.and_then(|info| info.failure) {
        return Err(Violation::of(Promise::Truthful, format!("a failure that was none: {failure:?}")));
    }
    let mut events = Vec::new();
    for event in found.log.query(Query::all()).each().wait_iter() {
        events.push(event.or_unusable("read the log")?);
    }
    let head = events.last().map_or(Position::START, |event| event.position);
    events.retain(|event| event.position <= checkpoint);
    let expected = clean_run(&events).or_unusable("project in memory")?;
    let contents = found.contents().or_unusable("read the model")?;
    if let Some((found, expected)) = first_difference(&contents, &expected) {
        let said = format!("through {checkpoint}, found {found:?}, and {expected:?} in a clean run");
        return Err(Violation::of(Promise::Consistent, said));
    }
    let letters = found.projection.dead_letters().wait().or_unusable("dead letters")?;
    let letters: Vec<Position> = letters.iter().map(|letter| letter.position).collect();
    let bad: Vec<Position> =
        events.iter().filter(|event| event.event_type == BAD).map(|event| event.position).collect();
    if letters != bad {
        let said = format!("dead letters at {letters:?}, and {bad:?} are bad");
        return Err(Violation::of(Promise::NothingLost, said));
    }
    Ok((checkpoint, head))
}

fn clean_run(events: &[Event]) -> larder::Result<Vec<String>> {
    let store = Store::open(Config::memory()).wait()?;
    let model = Model::of(&store, false)?;
    let mut head = Position::START;
    for event in events {
        let copy = NewEvent::new(&event.event_type, &event.decode::<Value>()?);
        let stream = event.stream.as_deref().unwrap_or_default();
        head = model.log.append(stream, Expected::Any, [copy]).wait()?.last_position;
    }
    let running = model.projection.clone().batch_events(1).run(&model.log, Query::all(), model.projector());
    std::thread::scope(|scope| {
        let runner = scope.spawn(move || running.wait());
        let waited = model.projection.wait_for(head).wait();
        let contents = waited.and_then(|()| model.contents());
        store.close().wait()?;
        match runner.join() {
            Ok(ended) => ended.and(contents),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn first_difference(found: &[String], expected: &[String]) -> Option<(Option<String>, Option<String>)> {
    let length = found.len().max(expected.len());
    let differing = (0..length).find(|place| found.get(*place) != expected.get(*place))?;
    Some((found.get(differing).cloned(), expected.get(differing).cloned()))
}
