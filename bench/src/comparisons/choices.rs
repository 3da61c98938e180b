//! The rivals among themselves: what their settings and drivers are worth. `docs/benchmarks.md` tells which the other
//! comparisons use, and why.

use anyhow::Result;

use super::{
    concurrent::{Guard, Lock, mutex, umadb as umadb_append},
    conditional::umadb_alone,
    tag_queries::umadb as umadb_reads,
};
use crate::{
    harness::{Comparison, Measurement, Scale, Scene, Side},
    prepared::{copied, umadb_tagged},
    sides::{cqrs_es, umadb},
    workload::TagKind,
};

fn choice(sides: Vec<Side>) -> Comparison {
    Comparison { scale: Scale::PerSecond("events"), sides, targets: Vec::new() }
}

pub fn mutex_64(_: &Scene) -> Result<Comparison> {
    Ok(mutexes(64))
}

pub fn mutex_512(_: &Scene) -> Result<Comparison> {
    Ok(mutexes(512))
}

fn mutexes(writers: usize) -> Comparison {
    let with = |name, lock| Side::new(name, move |scene| mutex(scene, writers, lock));
    choice(vec![
        with("in the task", Lock::InTask),
        with("block_in_place", Lock::InPlace),
        with("spawn_blocking", Lock::OnBlockingPool),
    ])
}

pub fn cqrs_es(_: &Scene) -> Result<Comparison> {
    let program = cqrs_es::build()?;
    let with = |name, layer, connections| {
        let program = program.clone();
        let settings = cqrs_es::Settings { layer, connections };
        Side::new(name, move |scene| cqrs_es::measure(&program, scene, 64, settings))
    };
    Ok(choice(vec![
        with("persist, 1 connection", "persist", 1),
        with("persist, 10 connections", "persist", 10),
        with("execute, 1 connection", "execute", 1),
        with("execute, 10 connections", "execute", 10),
    ]))
}

pub fn umadb(_: &Scene) -> Result<Comparison> {
    Ok(umadbs(|scene, settings| umadb_append(scene, 512, Guard::Stream, settings)))
}

pub fn umadb_conditional(scene: &Scene) -> Result<Comparison> {
    copied(scene, &umadb_tagged(scene)?, "umadb-tagged")?;
    Ok(umadbs(umadb_alone))
}

pub fn umadb_queries(scene: &Scene) -> Result<Comparison> {
    let dir = umadb_tagged(scene)?;
    let with = |name, cache_megabytes| {
        let dir = dir.clone();
        let settings = umadb::Settings { pipelined: false, cache_megabytes };
        Side::new(name, move |scene| umadb_reads(scene, &dir, TagKind::Course, settings))
    };
    Ok(choice(vec![with("no cache", 0), with("64 MB", 64), with("1 GB", 1_024)]))
}

fn umadbs(measure: fn(&Scene, umadb::Settings) -> Result<Measurement>) -> Comparison {
    let with = |name, pipelined, cache_megabytes| {
        let settings = umadb::Settings { pipelined, cache_megabytes };
        Side::new(name, move |scene| measure(scene, settings))
    };
    choice(vec![
        with("blocking, no cache", false, 0),
        with("blocking, 64 MB", false, 64),
        with("blocking, 1 GB", false, 1_024),
        with("pipelined, no cache", true, 0),
        with("pipelined, 64 MB", true, 64),
    ])
}
