//! One thread, one event at a time.

use anyhow::{Result, ensure};

use crate::{
    driver,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::{
        larder::Larder,
        text_table::{Cache, TextTable},
    },
    workload::{own_stream, payload},
};

pub fn comparison(_: &Scene) -> Result<Comparison> {
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![Side::new("Larder", larder), Side::new("text table", text_table)],
        targets: vec![Target::ratio("text table", 0.7)],
    })
}

fn larder(scene: &Scene) -> Result<Measurement> {
    let store = Larder::open(&scene.fresh("larder")?, scene)?;
    let driven = driver::thread(scene, |n| {
        store.log.append(own_stream(0), n, [store.event(n)]).wait()?;
        Ok(())
    })?;
    ensure!(store.head()? == driven.total, "events are missing");
    store.close()?;
    Ok(driven.measured)
}

fn text_table(scene: &Scene) -> Result<Measurement> {
    let table = TextTable::open(&scene.fresh("text-table")?, Cache::Default)?;
    let driven = driver::thread(scene, |n| table.insert(&own_stream(0), n + 1, &payload(n)))?;
    ensure!(table.count()? == driven.total, "events are missing");
    Ok(driven.measured)
}
