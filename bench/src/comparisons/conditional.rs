//! Appends under a condition on two tags and a type, into a log of 1 million events with three tags each.
//!
//! Both tags have events (10 and 100 of them), but no event has both, so the condition holds; every append asks
//! about another pair.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use larder::{AppendCondition, Position, QueryItem};

use crate::{
    driver::{self, runtime},
    harness::{Comparison, Measurement, Scale, Scene, Side, Target},
    prepared::{copied, larder_tagged, tagged, umadb_tagged},
    sides::{larder::Larder, umadb},
    workload::{EVENT_TYPE, TagKind, Tagged},
};

pub fn from_start_by_one(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Workers::Thread, After::Start)
}

pub fn from_start_by_64(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Workers::Tasks(64), After::Start)
}

pub fn recent_by_one(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Workers::Thread, After::LastAppend)
}

pub fn recent_by_64(scene: &Scene) -> Result<Comparison> {
    comparison(scene, Workers::Tasks(64), After::LastAppend)
}

#[derive(Debug, Clone, Copy)]
enum Workers {
    Thread,
    Tasks(usize),
}

/// From where the condition looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// All of the log.
    Start,
    /// What came after the writer's last append.
    LastAppend,
}

fn comparison(scene: &Scene, workers: Workers, after: After) -> Result<Comparison> {
    let tagged = tagged(scene);
    let own = copied(scene, &larder_tagged(scene)?, "larder-tagged")?;
    let rival = copied(scene, &umadb_tagged(scene)?, "umadb-tagged")?;
    let at_least = match workers {
        Workers::Thread => 3.0,
        Workers::Tasks(_) => 4.0,
    };
    let unconditional = own.clone();
    Ok(Comparison {
        scale: Scale::PerSecond("events"),
        sides: vec![
            Side::new("Larder", move |scene| larder(scene, &own, tagged, workers, Some(after))),
            Side::new("UmaDB", move |scene| umadb(scene, &rival, tagged, workers, after, umadb::CHOSEN)),
            Side::new("Larder without a condition", move |scene| {
                larder(scene, &unconditional, tagged, workers, None)
            }),
        ],
        targets: vec![Target::ratio("UmaDB", at_least), Target::ratio("Larder without a condition", 0.4)],
    })
}

/// Numbers that no earlier round has used: one per event the log has had, at least.
struct Pairs {
    tagged: Tagged,
    next: AtomicU64,
}

impl Pairs {
    fn above(tagged: Tagged, head: u64) -> Self {
        Self { tagged, next: AtomicU64::new(head * 2) }
    }

    /// The tags of the next event: a student, a course that she has not met, a region.
    fn next(&self) -> [String; 3] {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some((student, course)) = self.tagged.unmet_pair(number) {
                let region = TagKind::Region.tag(number % self.tagged.tags(TagKind::Region));
                return [TagKind::Student.tag(student), TagKind::Course.tag(course), region];
            }
        }
    }
}

/// What each writer needs to know: the position that its last append answered.
struct Writers {
    last: Vec<AtomicU64>,
}

impl Writers {
    fn at(head: u64, writers: usize) -> Self {
        Self { last: (0..writers).map(|_| AtomicU64::new(head)).collect() }
    }

    fn after(&self, writer: usize, after: After) -> u64 {
        match after {
            After::Start => 0,
            After::LastAppend => self.last[writer].load(Ordering::Relaxed),
        }
    }

    fn appended(&self, writer: usize, position: u64) {
        self.last[writer].store(position, Ordering::Relaxed);
    }
}

fn larder(
    scene: &Scene,
    dir: &Path,
    tagged: Tagged,
    workers: Workers,
    after: Option<After>,
) -> Result<Measurement> {
    let store = Arc::new(Larder::open(dir, scene)?);
    let head = store.head()?;
    let pairs = Arc::new(Pairs::above(tagged, head));
    let count = if let Workers::Tasks(count) = workers { count } else { 1 };
    let writers = Arc::new(Writers::at(head, count));
    let write = {
        let (store, writers) = (store.clone(), writers.clone());
        move |writer: usize, n: u64| {
            let tags = pairs.next();
            let condition = after.map(|after| AppendCondition {
                fail_if_events_match: QueryItem::new()
                    .types([EVENT_TYPE])
                    .tags([&*tags[0], &*tags[1]])
                    .into(),
                after: Position::new(writers.after(writer, after)),
            });
            store.log.append_if([store.event(n).tags(tags)], condition)
        }
    };
    let driven = match workers {
        Workers::Thread => driver::thread(scene, |n| {
            let appended = write(0, n).wait()?;
            writers.appended(0, appended.last_position.get());
            Ok(())
        })?,
        Workers::Tasks(count) => {
            let (write, writers) = (Arc::new(write), writers.clone());
            driver::tasks(&runtime()?, count, scene, move |writer, n| {
                let (write, writers) = (write.clone(), writers.clone());
                async move {
                    let appended = write(writer, n).await?;
                    writers.appended(writer, appended.last_position.get());
                    Ok(())
                }
            })?
        }
    };
    store.close()?;
    Ok(driven.measured)
}

fn umadb(
    scene: &Scene,
    dir: &Path,
    tagged: Tagged,
    workers: Workers,
    after: After,
    settings: umadb::Settings,
) -> Result<Measurement> {
    match workers {
        Workers::Thread => umadb_thread(scene, dir, tagged, after, settings),
        Workers::Tasks(count) => umadb_tasks(scene, dir, tagged, count, after, settings),
    }
}

fn umadb_thread(
    scene: &Scene,
    dir: &Path,
    tagged: Tagged,
    after: After,
    settings: umadb::Settings,
) -> Result<Measurement> {
    let direct = umadb::Direct::open(dir, settings)?;
    let head = direct.head()?;
    let (pairs, writers) = (Pairs::above(tagged, head), Writers::at(head, 1));
    let driven = driver::thread(scene, |n| {
        let [student, course, region] = pairs.next();
        let condition =
            umadb::condition([student.clone(), course.clone()], after_option(writers.after(0, after)));
        let event = umadb::event(n, [student, course, region]);
        writers.appended(0, direct.append(vec![event], Some(condition))?);
        Ok(())
    })?;
    Ok(driven.measured)
}

fn umadb_tasks(
    scene: &Scene,
    dir: &Path,
    tagged: Tagged,
    count: usize,
    after: After,
    settings: umadb::Settings,
) -> Result<Measurement> {
    let head = umadb::Direct::open(dir, settings)?.head()?;
    let shared = Arc::new(umadb::Shared::open(dir, settings)?);
    let (pairs, writers) = (Arc::new(Pairs::above(tagged, head)), Arc::new(Writers::at(head, count)));
    let driven = driver::tasks(&runtime()?, count, scene, move |writer, n| {
        let (shared, writers) = (shared.clone(), writers.clone());
        let [student, course, region] = pairs.next();
        async move {
            let condition = umadb::condition(
                [student.clone(), course.clone()],
                after_option(writers.after(writer, after)),
            );
            let event = umadb::event(n, [student, course, region]);
            writers.appended(writer, shared.append(vec![event], Some(condition)).await?);
            Ok(())
        }
    })?;
    Ok(driven.measured)
}

fn after_option(position: u64) -> Option<u64> {
    (position > 0).then_some(position)
}

/// UmaDB alone, under settings of choice, in a copy of its own.
pub fn umadb_alone(scene: &Scene, settings: umadb::Settings) -> Result<Measurement> {
    let dir: PathBuf = scene.dir.join("round/umadb-tagged");
    if !dir.exists() {
        copied(scene, &umadb_tagged(scene)?, "umadb-tagged")?;
    }
    umadb(scene, &dir, tagged(scene), Workers::Tasks(64), After::Start, settings)
}
