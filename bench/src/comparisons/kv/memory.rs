//! How much memory a million entries take, in a process of their own.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::recovery::{filled, pairs};
use crate::{
    harness::{Comparison, Goal, Measurement, Scale, Scene, Side, Target},
    sides::kv::{Durability, Kv, larder::Larder},
};

/// Most that the client may take, in times of keys and values.
const AT_MOST: f64 = 1.6;

const RECOVERED: &str = "Larder, recovered";
const PUT: &str = "Larder, put";
const MAP: &str = "BTreeMap of vectors";

pub fn comparison(scene: &Scene) -> Result<Comparison> {
    let count = scene.size(1_000_000, 10_000);
    filled(scene, count)?;
    Ok(Comparison {
        scale: Scale::Times("keys + values"),
        sides: [RECOVERED, PUT, MAP]
            .map(|side| Side::new(side, move |scene| in_a_process(scene, side, count)))
            .into(),
        targets: vec![
            Target { against: RECOVERED, goal: Goal::AtMost(AT_MOST) },
            Target { against: PUT, goal: Goal::AtMost(AT_MOST) },
        ],
    })
}

fn in_a_process(scene: &Scene, side: &str, count: u64) -> Result<Measurement> {
    let dir = match side {
        RECOVERED => filled(scene, count)?,
        _ => scene.fresh("kv")?,
    };
    let output = Command::new(std::env::current_exe()?)
        .arg("measure-memory")
        .arg(dir)
        .args([side, &count.to_string()])
        .output()
        .context("run the process that is measured")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let taken: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
    let given: u64 = pairs(count).map(|(key, value)| (key.len() + value.len()) as u64).sum();
    Ok(Measurement::times(taken, given))
}

/// Fills a side and answers how many bytes of memory that took: the hidden command behind [`comparison`].
pub fn measure(dir: &Path, side: &str, count: u64) -> Result<u64> {
    let before = anonymous_bytes()?;
    match side {
        RECOVERED => {
            let store = Larder::open(dir, Durability::Synced)?;
            ensure!(store.0.size() as u64 == count, "records are missing");
            Ok(anonymous_bytes()? - before)
        }
        PUT => {
            let store = Larder::open(dir, Durability::Buffered)?;
            pairs(count).try_for_each(|(key, value)| store.put(key, value))?;
            Ok(anonymous_bytes()? - before)
        }
        MAP => {
            let map: BTreeMap<_, _> = pairs(count).collect();
            ensure!(map.len() as u64 == count, "records are missing");
            Ok(anonymous_bytes()? - before)
        }
        _ => bail!("no side `{side}`"),
    }
}

/// The memory of this process that is not a file's.
fn anonymous_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no RssAnon")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}
