//! One thread, 100 events per commit, each on a random one of 10,000 streams.

use anyhow::{Result, ensure};

use crate::{
    driver::{self, Driven},
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::{
        larder::{Larder, stream_name},
        text_table::{Cache, TextTable},
    },
    workload::{payload, scatter},
};

const EVENTS: u64 = 100;
const STREAMS: u64 = 10_000;

pub fn comparison(_: &Scene) -> Result<Comparison> {
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![
            Side::new("Larder", larder),
            Side::new("text table", |scene| text_table(scene, Cache::Default)),
            Side::new("text table, 64 MB cache", |scene| text_table(scene, Cache::Megabytes64)),
        ],
        targets: vec![Target::ratio("text table", 1.2)],
    })
}

/// Where each stream is, as an application that has loaded it would know; the next event of the walk.
struct Walk {
    heads: Vec<u64>,
}

impl Walk {
    fn new() -> Self {
        Self { heads: vec![0; STREAMS as usize] }
    }

    /// A random stream and its head, which the event then raises.
    fn next(&mut self, n: u64) -> (String, u64) {
        let stream = scatter(n) % STREAMS;
        let head = &mut self.heads[stream as usize];
        *head += 1;
        (stream_name(stream), *head - 1)
    }
}

fn larder(scene: &Scene) -> Result<Measurement> {
    let store = Larder::open(&scene.fresh("larder")?, scene)?;
    let mut walk = Walk::new();
    let driven = driver::thread(scene, |batch| {
        let mut writes = store.batch();
        for n in batch * EVENTS..(batch + 1) * EVENTS {
            let (stream, head) = walk.next(n);
            writes.add(store.log.append(stream, head, [store.event(n)]));
        }
        writes.commit().wait()?;
        Ok(())
    })?;
    ensure!(store.head()? == driven.total * EVENTS, "events are missing");
    store.close()?;
    Ok(in_events(driven))
}

fn text_table(scene: &Scene, cache: Cache) -> Result<Measurement> {
    let table = TextTable::open(&scene.fresh("text-table")?, cache)?;
    let mut walk = Walk::new();
    let driven = driver::thread(scene, |batch| {
        table.transaction(|| {
            (batch * EVENTS..(batch + 1) * EVENTS).try_for_each(|n| {
                let (stream, head) = walk.next(n);
                table.insert(&stream, head + 1, &payload(n))
            })
        })
    })?;
    ensure!(table.count()? == driven.total * EVENTS, "events are missing");
    Ok(in_events(driven))
}

fn in_events(driven: Driven) -> Measurement {
    let Measurement { units, elapsed, processor } = driven.measured;
    let processor = processor.map(|time| time / EVENTS as u32);
    Measurement { units: units * EVENTS, elapsed, processor }
}
