//! Reading streams, against a bare `SELECT` that copies the same payloads.

use anyhow::{Result, ensure};

use crate::{
    driver::whole,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    prepared::{larder_streams, text_table_streams},
    sides::{
        larder::{Larder, stream_name},
        text_table::{Cache, TextTable},
    },
    workload::{PAYLOAD_BYTES, scatter},
};

/// Streams, and how they are read.
#[derive(Debug, Clone, Copy)]
struct Streams {
    count: u64,
    events: u64,
}

pub fn long(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Streams { count: 1, events: scene.size(100_000, 10_000) })
}

pub fn short(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Streams { count: scene.size(100_000, 2_000), events: 10 })
}

fn comparison(scene: &Scene, streams: Streams) -> Result<Comparison> {
    let own = larder_streams(scene, streams.count, streams.events)?;
    let table = text_table_streams(scene, streams.count, streams.events)?;
    let cached = table.clone();
    let text_table = move |scene: &Scene, dir: &std::path::Path, cache| {
        let table = TextTable::open(dir, cache)?;
        read_all(scene, streams, |stream| table.read(stream))
    };
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![
            Side::new("Larder", move |scene| {
                let store = Larder::open(&own, scene)?;
                let measured = read_all(scene, streams, |stream| larder_read(&store, stream, streams));
                store.close()?;
                measured
            }),
            Side::new("SELECT", move |scene| text_table(scene, &table, Cache::Default)),
            Side::new("SELECT, 64 MB cache", move |scene| text_table(scene, &cached, Cache::Megabytes64)),
        ],
        targets: vec![Target::ratio("SELECT", 0.6)],
    })
}

/// A short stream is one page; a long one is iterated, which keeps memory flat.
fn larder_read(store: &Larder, stream: &str, streams: Streams) -> Result<(u64, u64)> {
    let (mut events, mut bytes) = (0, 0);
    let mut take = |event: &larder::Event| {
        events += 1;
        bytes += event.payload.as_bytes().len() as u64;
    };
    if streams.events > 1_000 {
        for event in store.log.read(stream, ..).each().wait_iter() {
            take(&event?);
        }
    } else {
        store.log.read(stream, ..).wait()?.items.iter().for_each(take);
    }
    Ok((events, bytes))
}

/// Reads every stream, in an order that looks random, and checks that nothing is missing.
fn read_all(
    scene: &Scene,
    streams: Streams,
    mut read: impl FnMut(&str) -> Result<(u64, u64)>,
) -> Result<Measurement> {
    let mut order: Vec<u64> = (0..streams.count).collect();
    order.sort_by_key(|stream| scatter(*stream));
    whole(scene, || {
        let (mut events, mut bytes) = (0, 0);
        for stream in &order {
            let (more, more_bytes) = read(&stream_name(*stream))?;
            events += more;
            bytes += more_bytes;
        }
        ensure!(events == streams.count * streams.events, "{events} events read");
        ensure!(bytes == events * PAYLOAD_BYTES as u64, "{bytes} bytes read");
        Ok(events)
    })
}
