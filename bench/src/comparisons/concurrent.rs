//! Many tasks, one event per append, own streams.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, ensure};

use crate::{
    driver::{self, Driven, runtime},
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    sides::{
        bare_log::BareLog,
        cqrs_es,
        larder::Larder,
        text_table::{Cache, TextTable},
        umadb,
    },
    workload::{own_stream, payload},
};

pub fn with_64(_: &Scene) -> Result<Comparison> {
    const WRITERS: usize = 64;
    let rival = cqrs_es::build()?;
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![
            larder(WRITERS),
            Side::new("mutex", |scene| mutex(scene, WRITERS, Lock::InTask)),
            Side::new("cqrs-es", move |scene| cqrs_es::measure(&rival, scene, WRITERS, cqrs_es::BEST)),
            Side::new("bare log", |scene| bare_log(scene, WRITERS)),
        ],
        targets: vec![
            Target::ratio("mutex", 8.0),
            Target::ratio("cqrs-es", 12.0),
            Target::ratio("bare log", 0.2),
        ],
    })
}

pub fn with_512(_: &Scene) -> Result<Comparison> {
    const WRITERS: usize = 512;
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![
            larder(WRITERS),
            Side::new("mutex", |scene| mutex(scene, WRITERS, Lock::InTask)),
            Side::new("UmaDB", |scene| umadb(scene, WRITERS, Guard::Stream, umadb::CHOSEN)),
            Side::new("UmaDB, unguarded", |scene| umadb(scene, WRITERS, Guard::Nothing, umadb::CHOSEN)),
        ],
        targets: vec![Target::ratio("mutex", 14.0), Target::ratio("UmaDB", 7.0)],
    })
}

fn larder(writers: usize) -> Side {
    Side::new("Larder", move |scene| {
        let store = Arc::new(Larder::open(&scene.fresh("larder")?, scene)?);
        let driven = driver::tasks(&runtime()?, writers, scene, {
            let store = store.clone();
            move |writer, n| {
                let store = store.clone();
                async move {
                    store.log.append(own_stream(writer), n, [store.event(n)]).await?;
                    Ok(())
                }
            }
        })?;
        let stored = store.head()?;
        store.close()?;
        all_stored(driven, stored)
    })
}

/// Every answered append must be there: a side that drops events is not fast.
fn all_stored(driven: Driven, stored: u64) -> Result<Measurement> {
    ensure!(stored == driven.total, "{} events answered, {stored} stored", driven.total);
    Ok(driven.measured)
}

/// How a task comes by the mutex and does its blocking transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Right in the task, which holds up one of the two workers and lets the next task run after each append: no
    /// hand-off between threads, at most one rival for the lock.
    InTask,
    /// In `block_in_place`, which gives the worker's tasks to another thread.
    InPlace,
    /// On the blocking pool.
    OnBlockingPool,
}

pub fn mutex(scene: &Scene, writers: usize, lock: Lock) -> Result<Measurement> {
    let table = Arc::new(Mutex::new(TextTable::open(&scene.fresh("mutex")?, Cache::Default)?));
    let driven = driver::tasks(&runtime()?, writers, scene, {
        let table = table.clone();
        move |writer, n| {
            let table = table.clone();
            async move {
                let insert = move || {
                    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
                    table.insert(&own_stream(writer), n + 1, &payload(n))
                };
                match lock {
                    Lock::InTask => insert()?,
                    Lock::InPlace => tokio::task::block_in_place(insert)?,
                    Lock::OnBlockingPool => tokio::task::spawn_blocking(insert).await??,
                }
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    })?;
    let stored = table.lock().unwrap_or_else(PoisonError::into_inner).count()?;
    all_stored(driven, stored)
}

fn bare_log(scene: &Scene, writers: usize) -> Result<Measurement> {
    let dir = scene.fresh("bare-log")?;
    let log = Arc::new(BareLog::create(&dir)?);
    let driven = driver::tasks(&runtime()?, writers, scene, {
        let log = log.clone();
        move |_, n| {
            let log = log.clone();
            async move { log.append(payload(n).as_bytes()).await }
        }
    })?;
    Ok(driven.measured)
}

/// Whether an append to UmaDB makes sure that its stream is where the writer believes it to be, as Larder's expected
/// sequence and the text table's primary key do. Streams are tags there, so it takes a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Stream,
    Nothing,
}

pub fn umadb(scene: &Scene, writers: usize, guard: Guard, settings: umadb::Settings) -> Result<Measurement> {
    let dir = scene.fresh("umadb")?;
    let last: Arc<Vec<AtomicU64>> = Arc::new((0..writers).map(|_| AtomicU64::new(0)).collect());
    let shared = Arc::new(umadb::Shared::open(&dir, settings)?);
    let driven = driver::tasks(&runtime()?, writers, scene, {
        let (shared, last) = (shared.clone(), last.clone());
        move |writer, n| {
            let (shared, last) = (shared.clone(), last.clone());
            async move {
                let stream = own_stream(writer);
                let after = last[writer].load(Ordering::Relaxed);
                let condition =
                    (guard == Guard::Stream).then(|| umadb::stream_condition(stream.clone(), after));
                let position = shared.append(vec![umadb::event(n, [stream])], condition).await?;
                last[writer].store(position, Ordering::Relaxed);
                Ok(())
            }
        }
    })?;
    let stored = last.iter().map(|last| last.load(Ordering::Relaxed)).max().unwrap_or(0);
    all_stored(driven, stored)
}
