//! Puts: from many callers, from one, in batches, and without waiting for the disk.

use std::sync::Arc;

use anyhow::Result;

use super::{against_rivals, ensure_there, key, pair, value};
use crate::{
    driver::{self, runtime},
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::kv::{Durability, OpenKv, RIVALS, bare::Overwritten, batcher::Batcher, larder::Larder},
    workload::scatter,
};

const WRITERS: usize = 64;
const BATCH: u64 = 1_000;

pub fn threads(_: &Scene) -> Result<Comparison> {
    Ok(against_rivals("puts", 1.3, Durability::Synced, |scene, open, durability| {
        let store = open(&scene.fresh("kv")?, durability)?;
        let driven = driver::threads(WRITERS, scene, |writer, n| {
            let (key, value) = pair(writer, n);
            store.put(key, value)
        })?;
        ensure_there(&*store, (0..WRITERS).map(|writer| pair(writer, 0)))?;
        Ok(driven.measured)
    }))
}

/// The rivals do not know tasks: each has a thread in front of it that puts whatever waits as one batch.
pub fn tasks(_: &Scene) -> Result<Comparison> {
    let rivals = RIVALS.iter().map(|(name, open)| {
        Side::new(name, move |scene| {
            let store = open(&scene.fresh("kv")?, Durability::Synced)?;
            let batcher = Arc::new(Batcher::new(store.clone()));
            let driven = driver::tasks(&runtime()?, WRITERS, scene, move |writer, n| {
                let batcher = batcher.clone();
                async move {
                    let (key, value) = pair(writer, n);
                    batcher.put(key, value).await
                }
            })?;
            ensure_there(&*store, (0..WRITERS).map(|writer| pair(writer, 0)))?;
            Ok(driven.measured)
        })
    });
    Ok(Comparison {
        scale: Scale::PerSecond("puts"),
        sides: std::iter::once(Side::new("Larder", larder_tasks)).chain(rivals).collect(),
        targets: RIVALS.iter().map(|(name, _)| Target::ratio(name, 2.0)).collect(),
    })
}

fn larder_tasks(scene: &Scene) -> Result<Measurement> {
    let store = Larder::open(&scene.fresh("kv")?, Durability::Synced)?;
    let client = store.0.clone();
    let driven = driver::tasks(&runtime()?, WRITERS, scene, move |writer, n| {
        let client = client.clone();
        async move {
            let (key, value) = pair(writer, n);
            Ok(client.put(key, value).await?)
        }
    })?;
    ensure_there(&store, (0..WRITERS).map(|writer| pair(writer, 0)))?;
    store.close()?;
    Ok(driven.measured)
}

pub fn single(_: &Scene) -> Result<Comparison> {
    let mut comparison = against_rivals("puts", 0.85, Durability::Synced, one_caller);
    comparison.sides.push(Side::new("bare overwrite", |scene| {
        let mut bare = Overwritten::create(&scene.fresh("kv")?)?;
        let driven = driver::thread(scene, |n| {
            let (key, value) = pair(0, n);
            bare.put(&key, &value)
        })?;
        Ok(driven.measured)
    }));
    Ok(comparison)
}

pub fn buffered(_: &Scene) -> Result<Comparison> {
    Ok(against_rivals("puts", 3.0, Durability::Buffered, one_caller))
}

fn one_caller(scene: &Scene, open: OpenKv, durability: Durability) -> Result<Measurement> {
    let store = open(&scene.fresh("kv")?, durability)?;
    let driven = driver::thread(scene, |n| {
        let (key, value) = pair(0, n);
        store.put(key, value)
    })?;
    ensure_there(&*store, (driven.total.saturating_sub(1_000)..driven.total).map(|n| pair(0, n)))?;
    Ok(driven.measured)
}

pub fn batches(_: &Scene) -> Result<Comparison> {
    Ok(against_rivals("puts", 2.0, Durability::Synced, |scene, open, durability| {
        let store = open(&scene.fresh("kv")?, durability)?;
        let driven = driver::thread(scene, |batch| {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            store.put_all(numbers.map(|n| (key(scatter(n) % super::KEYS), value(0, n))).collect())
        })?;
        let last = (driven.total - 1) * BATCH..driven.total * BATCH;
        ensure_there(&*store, last.map(|n| (key(scatter(n) % super::KEYS), value(0, n))))?;
        let Measurement { units, elapsed, processor } = driven.measured;
        let processor = processor.map(|time| time / BATCH as u32);
        Ok(Measurement { units: units * BATCH, elapsed, processor })
    }))
}
