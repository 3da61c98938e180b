//! Gets from one thread, of random keys.

use anyhow::{Result, ensure};

use super::{key, value};
use crate::{
    driver,
    harness::{Comparison, Goal, Measurement, Scale, Scene, Side, Target},
    sides::kv::{Durability, LARDER, OpenKv, RIVALS},
    workload::scatter,
};

/// What one thread should reach.
const PER_SECOND: f64 = 3e6;
/// Keys that are read before the time is looked at again.
const AT_ONCE: u64 = 1_000;

pub fn get(_: &Scene) -> Result<Comparison> {
    let sides = std::iter::once(&LARDER).chain(RIVALS);
    Ok(Comparison {
        scale: Scale::PerSecond("gets"),
        sides: sides.map(|(name, open)| Side::new(name, move |scene| measure(scene, *open))).collect(),
        targets: vec![Target { against: "Larder", goal: Goal::AtLeast(PER_SECOND) }],
    })
}

fn measure(scene: &Scene, open: OpenKv) -> Result<Measurement> {
    let count = scene.size(100_000, 1_000);
    let store = open(&scene.fresh("kv")?, Durability::Buffered)?;
    for first in (0..count).step_by(1_000) {
        store.put_all((first..(first + 1_000).min(count)).map(|n| (key(n), value(0, n))).collect())?;
    }
    // Made beforehand: what is measured is the store.
    let keys: Vec<Vec<u8>> = (0..count).map(|n| key(scatter(n) % count)).collect();
    let driven = driver::thread(scene, |round| {
        for n in round * AT_ONCE..(round + 1) * AT_ONCE {
            let found = store.get(&keys[(n % count) as usize])?;
            ensure!(found == Some(super::VALUE_BYTES), "a value is missing");
        }
        Ok(())
    })?;
    let Measurement { units, elapsed, processor } = driven.measured;
    let processor = processor.map(|time| time / AT_ONCE as u32);
    Ok(Measurement { units: units * AT_ONCE, elapsed, processor })
}
