//! Opening a store that was not closed, to its first answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;

use crate::{
    driver::runtime,
    harness::{Comparison, Goal, Measurement, Scale, Scene, Side, Target},
    prepared::{copied, larder_tagged, tagged},
    sides::larder::Larder,
    workload::TagKind,
};

const UNCLEAN: &str = "unclean";

pub fn comparison(scene: &Scene) -> Result<Comparison> {
    let unclean = unclean(scene)?;
    let bare = unclean.clone();
    Ok(Comparison {
        scale: Scale::Milliseconds,
        sides: vec![
            Side::new("Larder", move |scene| larder(scene, &unclean)),
            Side::new("bare rusqlite", move |scene| rusqlite(scene, &bare)),
        ],
        targets: vec![Target { against: "bare rusqlite", goal: Goal::MillisecondsMore(500.0) }],
    })
}

/// A copy of the prepared store to which a process was writing when it died.
fn unclean(scene: &Scene) -> Result<PathBuf> {
    let dir = copied(scene, &larder_tagged(scene)?, UNCLEAN)?;
    let status = Command::new(std::env::current_exe()?)
        .arg("abort-while-writing")
        .arg(&dir)
        .args(["--events", &scene.size(20_000, 2_000).to_string()])
        .status()
        .context("run the writer that aborts")?;
    ensure!(!status.success(), "the writer was to be aborted");
    let wal = fs::metadata(wal_of(&Larder::file(&dir))).context("the writer left no WAL")?;
    ensure!(wal.len() > 0, "the writer left an empty WAL");
    eprintln!("left behind: a WAL of {} KiB", wal.len() / 1024);
    Ok(dir)
}

fn wal_of(file: &Path) -> PathBuf {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Appends tagged events from 64 tasks, then aborts this process: the hidden command behind [`comparison`].
pub fn abort_while_writing(dir: &Path, events: u64, scene: &Scene) -> Result<()> {
    let store = Arc::new(Larder::open(dir, scene)?);
    let (head, tagged) = (store.head()?, tagged(scene));
    runtime()?.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for writer in 0..64 {
            let store = store.clone();
            running.spawn(async move {
                for n in (writer..events).step_by(64) {
                    let event = store.event(head + n).tags(tagged.tags_of(n));
                    store.log.append_if([event], None).await?;
                }
                Ok::<(), larder::Error>(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    std::process::abort()
}

/// Until the store has answered a stream's head and the query of a tag: nothing is put off.
fn larder(scene: &Scene, unclean: &Path) -> Result<Measurement> {
    let dir = copied(scene, unclean, "larder")?;
    let start = Instant::now();
    let store = Larder::open(&dir, scene)?;
    ensure!(store.head()? > tagged(scene).count, "events are missing");
    let events = store.read_tag(&TagKind::Student.tag(1))?;
    let elapsed = start.elapsed();
    ensure!(events >= TagKind::Student.events(), "events are missing");
    store.close()?;
    Ok(Measurement { units: 1, elapsed, processor: None })
}

/// Until SQLite has recovered the WAL and read a row of the same file.
fn rusqlite(scene: &Scene, unclean: &Path) -> Result<Measurement> {
    let file = Larder::file(&copied(scene, unclean, "rusqlite")?);
    let start = Instant::now();
    let connection = Connection::open(&file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let mut select = connection.prepare("SELECT * FROM event_log LIMIT 1")?;
    ensure!(select.exists([])?, "no events");
    let elapsed = start.elapsed();
    Ok(Measurement { units: 1, elapsed, processor: None })
}
