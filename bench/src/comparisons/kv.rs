//! The key-value client against rivals and floors: keys of 14 bytes, values of 100, same durability on both sides.

mod memory;
mod pending;
mod reading;
mod recovery;
mod writing;

use anyhow::{Result, ensure};

pub use memory::{comparison as memory, measure as measure_memory};
pub use pending::{buffered as pending_buffered, durable as pending_durable};
pub use reading::get;
pub use recovery::comparison as recovery;
pub use writing::{batches, buffered, single, tasks, threads};

use crate::{
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::kv::{Durability, Kv, LARDER, OpenKv, Pair, RIVALS},
    workload::scatter,
};

/// The length of every value, in bytes.
const VALUE_BYTES: usize = 100;
/// Keys that are put again and again, in an order that looks random.
const KEYS: u64 = 1_000_000;

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:010}").into_bytes()
}

/// The value of the `n`th put of a writer.
fn value(writer: usize, n: u64) -> Vec<u8> {
    let mut value = format!("{writer}/{n}/").into_bytes();
    value.resize(VALUE_BYTES, b'v');
    value
}

/// The `n`th put of a writer.
fn pair(writer: usize, n: u64) -> Pair {
    (key(scatter(n.wrapping_mul(64).wrapping_add(writer as u64)) % KEYS), value(writer, n))
}

/// A measurement of each store, freshly opened; the targets are the same against each rival, and so against the best.
fn against_rivals(
    unit: &'static str,
    at_least: f64,
    durability: Durability,
    measure: fn(&Scene, OpenKv, Durability) -> Result<Measurement>,
) -> Comparison {
    let sides = std::iter::once(&LARDER)
        .chain(RIVALS)
        .map(|(name, open)| Side::new(name, move |scene| measure(scene, *open, durability)));
    Comparison {
        scale: Scale::PerSecond(unit),
        sides: sides.collect(),
        targets: RIVALS.iter().map(|(name, _)| Target::ratio(name, at_least)).collect(),
    }
}

/// The last put of each writer has to be there: a side that drops writes is not fast.
fn ensure_there(store: &dyn Kv, last: impl IntoIterator<Item = Pair>) -> Result<()> {
    for (key, value) in last {
        ensure!(store.get(&key)? == Some(value.len()), "a put is missing");
    }
    Ok(())
}
