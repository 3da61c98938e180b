//! What a put costs when a thousand or a million keys wait in the outbox.

use anyhow::{Result, ensure};

use super::{key, recovery::filled, value};
use crate::{
    driver,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    prepared::copied,
    sides::kv::{Durability, Kv, larder::Larder},
    workload::scatter,
};

const FEW: u64 = 1_000;

pub fn durable(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Durability::Synced, 0.9)
}

/// Nothing hides what memory costs: a million entries do not fit into the processor's caches, a thousand do.
pub fn buffered(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Durability::Buffered, 0.3)
}

fn comparison(scene: &Scene, durability: Durability, at_least: f64) -> Result<Comparison> {
    let many = scene.size(1_000_000, 10_000);
    filled(scene, many)?;
    filled(scene, FEW)?;
    Ok(Comparison {
        scale: Scale::PerSecond("puts"),
        sides: vec![
            Side::new("1 million pending", move |scene| measure(scene, many, many, durability)),
            Side::new("1 thousand pending", move |scene| measure(scene, FEW, many, durability)),
        ],
        targets: vec![Target::ratio("1 thousand pending", at_least)],
    })
}

/// Overwrites, so that as many stay pending. The disk goes through the same before: it may be slower for a while after
/// it has taken a large file.
fn measure(scene: &Scene, count: u64, many: u64, durability: Durability) -> Result<Measurement> {
    copied(scene, &filled(scene, many)?, "kv-ballast")?;
    let dir = copied(scene, &filled(scene, count)?, "kv")?;
    let store = Larder::open(&dir, durability)?;
    ensure!(store.0.sync_state()?.outbox_size == count, "not all is pending");
    let driven = driver::thread(scene, |n| store.put(key(scatter(n) % count), value(0, n)))?;
    ensure!(store.0.sync_state()?.outbox_size == count, "not all is pending");
    store.close()?;
    Ok(driven.measured)
}
