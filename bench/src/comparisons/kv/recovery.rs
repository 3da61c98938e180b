//! Opening a file of a million records, against a loop that reads, checks and inserts as many.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{key, value};
use crate::{
    driver::once,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    prepared::prepared,
    sides::kv::{
        Durability, Kv, bare,
        larder::{Larder, file},
    },
    workload::scatter,
};

pub fn comparison(scene: &Scene) -> Result<Comparison> {
    let count = scene.size(1_000_000, 10_000);
    let larder = filled(scene, count)?;
    let bare = prepared(scene, &format!("kv-bare-{count}"), |dir| bare::write_records(dir, pairs(count)))?;
    Ok(Comparison {
        scale: Scale::PerSecond("records"),
        sides: vec![
            Side::new("Larder", move |_| open(&larder, count)),
            Side::new("bare loop", move |_| {
                let (map, elapsed) = once(|| bare::read_records(&bare))?;
                ensure!(map.len() as u64 == count, "records are missing");
                Ok(Measurement { units: count, elapsed, processor: None })
            }),
        ],
        targets: vec![Target::ratio("bare loop", 0.6)],
    })
}

/// A closed file with as many keys, each put once and by itself.
pub fn filled(scene: &Scene, count: u64) -> Result<PathBuf> {
    prepared(scene, &format!("larder-kv-{count}"), |dir| {
        let store = Larder::open(dir, Durability::Buffered)?;
        for (key, value) in pairs(count) {
            store.put(key, value)?;
        }
        store.close()
    })
}

/// Every key once, in an order that looks random.
pub fn pairs(count: u64) -> impl Iterator<Item = super::Pair> {
    // Odd and coprime to powers of ten.
    (0..count).map(move |n| (key(n * 7_368_787 % count), value(0, scatter(n))))
}

fn open(dir: &Path, count: u64) -> Result<Measurement> {
    // Both files come from the page cache: what is measured is the work.
    std::fs::read(file(dir))?;
    let (store, elapsed) = once(|| Larder::open(dir, Durability::Synced))?;
    ensure!(store.0.recovery().records == count && store.0.size() as u64 == count, "records are missing");
    store.close()?;
    Ok(Measurement { units: count, elapsed, processor: None })
}
