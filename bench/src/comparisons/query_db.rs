//! QueryDbs, against an equal table in bare SQLite.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Result, ensure};
use larder::{Index, KeyField, QueryDb, QueryDbSpec, Store};

use crate::{
    driver::{self, Driven, runtime},
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::{item_table::ItemTable, larder::Larder},
    workload::WorkItem,
};

/// How many items a batch saves.
const BATCH: u64 = 1_000;
/// How many different items there are.
const ITEMS: u64 = 200_000;

pub fn upsert(_: &Scene) -> Result<Comparison> {
    Ok(upserting(false, 1.0 / 1.3))
}

pub fn upsert_with_changes(_: &Scene) -> Result<Comparison> {
    Ok(upserting(true, 0.5))
}

fn upserting(changes: bool, at_least: f64) -> Comparison {
    Comparison {
        scale: Scale::PerSecond("items"),
        sides: vec![
            Side::new("Larder", move |scene| batches(scene, changes)),
            Side::new("item table", item_table_batches),
        ],
        targets: vec![Target::ratio("item table", at_least)],
    }
}

/// 64 tasks that save single items, each durable before the answer.
pub fn save_64(_: &Scene) -> Result<Comparison> {
    const WRITERS: usize = 64;
    Ok(Comparison {
        scale: Scale::PerSecond("items"),
        sides: vec![
            Side::new("Larder", |scene| singles(scene, WRITERS)),
            Side::new("mutex", |scene| item_table_singles(scene, WRITERS)),
        ],
        targets: vec![Target::ratio("mutex", 5.0)],
    })
}

/// One item at a time: how many would be loaded in a second if each took as long as the median does.
pub fn load_one(_: &Scene) -> Result<Comparison> {
    Ok(Comparison {
        scale: Scale::PerSecond("items, at the median"),
        sides: vec![Side::new("Larder", loads), Side::new("item table", item_table_loads)],
        targets: vec![Target::ratio("item table", 0.5)],
    })
}

fn open(scene: &Scene, changes: bool) -> Result<(Store, QueryDb)> {
    let store = Store::open(larder::Config::sqlite(Larder::file(&scene.fresh("larder")?))).wait()?;
    let spec = QueryDbSpec::new()
        .index(Index::new("by_status", ["status"]).sort_by(["day"]))
        .index(Index::new("by_amount", [KeyField::number("amount")]))
        .changes(changes);
    let items = store.define("items", spec).wait()?;
    Ok((store, items))
}

fn batches(scene: &Scene, changes: bool) -> Result<Measurement> {
    let (store, items) = open(scene, changes)?;
    let driven = driver::thread(scene, |batch| {
        let saves = WorkItem::batch(batch, BATCH, ITEMS).map(|item| (item.key.clone(), item));
        items.save_batch(saves).wait()?;
        Ok(())
    })?;
    let version = items.info().wait()?.map_or(0, |info| info.version);
    ensure!(version == driven.total * BATCH, "saves are missing");
    store.close().wait()?;
    Ok(in_items(driven))
}

fn item_table_batches(scene: &Scene) -> Result<Measurement> {
    let table = ItemTable::open(&scene.fresh("items")?)?;
    let driven = driver::thread(scene, |batch| {
        table.transaction(|| {
            let numbered = WorkItem::batch(batch, BATCH, ITEMS).zip(batch * BATCH..);
            numbered.into_iter().try_for_each(|(item, version)| table.save(&item, version))
        })
    })?;
    ensure!(table.count()? > 0, "items are missing");
    Ok(in_items(driven))
}

fn in_items(driven: Driven) -> Measurement {
    let Measurement { units, elapsed, processor } = driven.measured;
    let processor = processor.map(|time| time / BATCH as u32);
    Measurement { units: units * BATCH, elapsed, processor }
}

fn singles(scene: &Scene, writers: usize) -> Result<Measurement> {
    let (store, items) = open(scene, false)?;
    let driven = driver::tasks(&runtime()?, writers, scene, {
        let items = items.clone();
        move |writer, n| {
            let items = items.clone();
            async move {
                let item = WorkItem::of(writer as u64 * ITEMS + n, n);
                items.save(item.key.as_str(), &item).await?;
                Ok(())
            }
        }
    })?;
    let version = items.info().wait()?.map_or(0, |info| info.version);
    ensure!(version == driven.total, "saves are missing");
    store.close().wait()?;
    Ok(driven.measured)
}

fn item_table_singles(scene: &Scene, writers: usize) -> Result<Measurement> {
    let table = Arc::new(Mutex::new(ItemTable::open(&scene.fresh("items")?)?));
    let driven = driver::tasks(&runtime()?, writers, scene, {
        let table = table.clone();
        move |writer, n| {
            let table = table.clone();
            async move {
                let item = WorkItem::of(writer as u64 * ITEMS + n, n);
                table.lock().unwrap_or_else(PoisonError::into_inner).save(&item, n)?;
                // Right in the task, as in `append-64`: the fastest way for the mutex.
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    })?;
    let stored = table.lock().unwrap_or_else(PoisonError::into_inner).count()?;
    ensure!(stored == driven.total, "items are missing");
    Ok(driven.measured)
}

fn loads(scene: &Scene) -> Result<Measurement> {
    let (store, items) = open(scene, false)?;
    let count = scene.size(100_000, 5_000);
    for batch in 0..count / BATCH {
        let saves = (batch * BATCH..(batch + 1) * BATCH).map(|n| WorkItem::of(n, n));
        items.save_batch(saves.map(|item| (item.key.clone(), item))).wait()?;
    }
    let measured = at_the_median(scene, |n| {
        let found = items.load_one(WorkItem::key(crate::workload::scatter(n) % count)).wait()?;
        ensure!(found.is_some(), "an item is missing");
        Ok(())
    })?;
    store.close().wait()?;
    Ok(measured)
}

fn item_table_loads(scene: &Scene) -> Result<Measurement> {
    let table = ItemTable::open(&scene.fresh("items")?)?;
    let count = scene.size(100_000, 5_000);
    table.transaction(|| (0..count).try_for_each(|n| table.save(&WorkItem::of(n, n), n)))?;
    at_the_median(scene, |n| {
        let found = table.load(&WorkItem::key(crate::workload::scatter(n) % count))?;
        ensure!(found.is_some(), "an item is missing");
        Ok(())
    })
}

/// Times each step by itself.
fn at_the_median(scene: &Scene, mut step: impl FnMut(u64) -> Result<()>) -> Result<Measurement> {
    let mut times = Vec::new();
    driver::thread(scene, |n| {
        let start = Instant::now();
        step(n)?;
        times.push(start.elapsed());
        Ok(())
    })?;
    // The first half warms up.
    let mut times = times.split_off(times.len() / 2);
    times.sort_unstable();
    Ok(Measurement { units: 1, elapsed: times[times.len() / 2], processor: None })
}
