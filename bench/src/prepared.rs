//! Large stores, filled once and kept for later runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    driver::once,
    harness::{Scene, remove},
    sides::{
        larder::Larder,
        text_table::{Cache, TextTable},
        umadb,
    },
    workload::Tagged,
};

/// Its presence says that a store was filled to the end.
const MARKER: &str = "complete";

/// The tagged events of this scene.
pub fn tagged(scene: &Scene) -> Tagged {
    Tagged { count: scene.size(1_000_000, 50_000) }
}

/// The directory of a store that `fill` has filled, now or in an earlier run.
pub fn prepared(scene: &Scene, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = scene.dir.join("prepared").join(name);
    if dir.join(MARKER).exists() {
        return Ok(dir);
    }
    remove(&dir)?;
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    eprintln!("filling {}", dir.display());
    let ((), took) = once(|| fill(&dir)).with_context(|| format!("fill {}", dir.display()))?;
    fs::write(dir.join(MARKER), format!("filled in {took:?}\n"))?;
    eprintln!("filled {} in {took:.1?}", dir.display());
    Ok(dir)
}

/// A copy of a prepared store that a run may grow, so that every run starts from the same size.
pub fn copied(scene: &Scene, prepared: &Path, name: &str) -> Result<PathBuf> {
    let copy = scene.fresh(name)?;
    for entry in fs::read_dir(prepared)? {
        let entry = entry?;
        let to = copy.join(entry.file_name());
        fs::copy(entry.path(), &to).with_context(|| format!("copy to {}", to.display()))?;
        fs::File::open(&to)?.sync_all()?;
    }
    Ok(copy)
}

/// Removes what Larder has filled; rivals' stores stay.
pub fn forget_larder(scene: &Scene) -> Result<()> {
    let Ok(entries) = fs::read_dir(scene.dir.join("prepared")) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("larder-") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

pub fn larder_tagged(scene: &Scene) -> Result<PathBuf> {
    let tagged = tagged(scene);
    prepared(scene, &format!("larder-tagged-{}", tagged.count), |dir| {
        let store = Larder::open(dir, scene)?;
        store.fill_tagged(tagged)?;
        store.close()
    })
}

pub fn umadb_tagged(scene: &Scene) -> Result<PathBuf> {
    let tagged = tagged(scene);
    prepared(scene, &format!("umadb-tagged-{}", tagged.count), |dir| {
        umadb::Direct::open(dir, umadb::CHOSEN)?.fill_tagged(tagged)
    })
}

pub fn larder_streams(scene: &Scene, streams: u64, events: u64) -> Result<PathBuf> {
    prepared(scene, &format!("larder-{streams}-streams-of-{events}"), |dir| {
        let store = Larder::open(dir, scene)?;
        store.fill_streams(streams, events)?;
        store.close()
    })
}

pub fn text_table_streams(scene: &Scene, streams: u64, events: u64) -> Result<PathBuf> {
    prepared(scene, &format!("text-table-{streams}-streams-of-{events}"), |dir| {
        TextTable::open(dir, Cache::Default)?.fill_streams(streams, events)
    })
}
