//! Reading all events of a random tag.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::{
    driver,
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    prepared::{larder_tagged, tagged, umadb_tagged},
    sides::{larder::Larder, umadb},
    workload::{TagKind, Tagged, scatter},
};

pub fn of_10(scene: &Scene) -> Result<Comparison> {
    comparison(scene, TagKind::Student)
}

pub fn of_100(scene: &Scene) -> Result<Comparison> {
    comparison(scene, TagKind::Course)
}

pub fn of_10_000(scene: &Scene) -> Result<Comparison> {
    comparison(scene, TagKind::Region)
}

fn comparison(scene: &Scene, kind: TagKind) -> Result<Comparison> {
    let tagged = tagged(scene);
    let (own, rival) = (larder_tagged(scene)?, umadb_tagged(scene)?);
    Ok(Comparison {
        scale: Scale::PerSecond("queries"),
        sides: vec![
            Side::new("Larder", move |scene| {
                let store = Larder::open(&own, scene)?;
                let measured = queries(scene, tagged, kind, |tag| store.read_tag(&tag));
                store.close()?;
                measured
            }),
            Side::new("UmaDB", move |scene| umadb(scene, &rival, kind, umadb::CHOSEN)),
        ],
        targets: vec![Target::ratio("UmaDB", 3.0)],
    })
}

pub fn umadb(scene: &Scene, dir: &Path, kind: TagKind, settings: umadb::Settings) -> Result<Measurement> {
    let direct = umadb::Direct::open(dir, settings)?;
    queries(scene, tagged(scene), kind, |tag| direct.read_tag(tag))
}

fn queries(
    scene: &Scene,
    tagged: Tagged,
    kind: TagKind,
    mut read: impl FnMut(String) -> Result<u64>,
) -> Result<Measurement> {
    let driven = driver::thread(scene, |n| {
        let events = read(kind.tag(scatter(n) % tagged.tags(kind)))?;
        ensure!(events == kind.events(), "{events} events of a tag that has {}", kind.events());
        Ok(())
    })?;
    Ok(driven.measured)
}
