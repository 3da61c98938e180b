//! A projection that catches up, against a bare loop over the same events.

use std::thread;

use anyhow::{Result, anyhow, ensure};
use larder::{
    BoxError, Event, Index, KeyField, NewEvent, Position, ProjectionBatch, Query, QueryDbSpec, Store,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    driver::once,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::{item_table::ItemTable, larder::Larder},
    workload::WorkItem,
};

/// How many events a commit takes, on both sides.
const BATCH: usize = 500;
/// How many different items the events write.
const ITEMS: u64 = 20_000;

/// Each event writes an item, with two indexes.
pub fn catching_up(_: &Scene) -> Result<Comparison> {
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![Side::new("Larder", projected), Side::new("bare loop", looped)],
        targets: vec![Target::ratio("bare loop", 0.5)],
    })
}

/// A log with the events, and how many there are.
fn filled(scene: &Scene) -> Result<(Store, u64)> {
    let store = Store::open(larder::Config::sqlite(Larder::file(&scene.fresh("larder")?))).wait()?;
    let count = scene.size(100_000, 5_000);
    let events = WorkItem::batch(0, count, ITEMS).map(|item| {
        let event = NewEvent::json("Changed", item.json());
        (item.key, event)
    });
    let loaded = store.event_log("changes")?.append_many(events.collect::<Vec<_>>()).wait()?;
    ensure!(loaded.events == count, "events are missing");
    Ok((store, count))
}

fn projected(scene: &Scene) -> Result<Measurement> {
    let (store, count) = filled(scene)?;
    let log = store.event_log("changes")?;
    let spec = QueryDbSpec::new()
        .index(Index::new("by_status", ["status"]).sort_by(["day"]))
        .index(Index::new("by_amount", [KeyField::number("amount")]));
    let items = store.define("items", spec).wait()?;
    let projection = store.projection("items")?.batch_events(BATCH);
    let rows = items.clone();
    let project = move |event: &Event, batch: &mut ProjectionBatch| -> Result<(), BoxError> {
        let key = event.stream.as_deref().ok_or("an event without a stream")?;
        let json: &RawValue = event.decode()?;
        batch.add(rows.save(key, json));
        Ok(())
    };
    let (running, elapsed) = once(|| {
        let running = projection.run(&log, Query::all(), project);
        let running = thread::spawn(move || running.wait());
        projection.wait_for(Position::new(count)).wait()?;
        Ok(running)
    })?;
    ensure!(items.info().wait()?.is_some_and(|info| info.version == count), "items are missing");
    store.close().wait()?;
    running.join().map_err(|_| anyhow!("the projection panicked"))??;
    Ok(Measurement { units: count, elapsed, processor: None })
}

/// The fields that are indexed.
#[derive(Deserialize)]
struct Indexed<'a> {
    status: &'a str,
    day: &'a str,
    amount: i64,
}

fn looped(scene: &Scene) -> Result<Measurement> {
    let (store, count) = filled(scene)?;
    let log = store.event_log("changes")?;
    let table = ItemTable::open(&scene.fresh("items")?)?;
    let ((), elapsed) = once(|| {
        let (mut after, mut version) = (None, 0);
        loop {
            let page = log.query(Query::all()).after(after).limit(BATCH).wait()?;
            table.transaction(|| {
                for event in &page {
                    let key = event.stream.as_deref().unwrap_or_default();
                    let Indexed { status, day, amount } = event.decode()?;
                    let json = event.payload.as_json().unwrap_or_default();
                    version += 1;
                    table.save_row(key, json, version, (status, day, amount))?;
                }
                Ok(())
            })?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    })?;
    ensure!(table.count()? > 0, "items are missing");
    store.close().wait()?;
    Ok(Measurement { units: count, elapsed, processor: None })
}
