//! `cqrs-es` with `sqlite-es`, which links a SQLite of its own: a program that is built once and run for each
//! round.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::harness::{Measurement, Scene};

/// How the rival is driven.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `persist` appends to the event repository; `execute` runs a command, which loads the aggregate first.
    pub layer: &'static str,
    /// Connections in the pool.
    pub connections: usize,
}

/// The settings under which it does best here; `larder-bench run choice-cqrs-es` shows the others.
pub const BEST: Settings = Settings { layer: "persist", connections: 1 };

#[derive(Debug, Deserialize)]
struct Answer {
    events: u64,
    seconds: f64,
}

/// Builds the rival's program.
pub fn build() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/cqrs-es");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(package.join("target"))
        .current_dir(&package)
        .stdout(Stdio::null())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the rival in {} does not build", package.display());
    Ok(package.join("target/release/cqrs-es-rival"))
}

/// Runs it for one round.
pub fn measure(program: &Path, scene: &Scene, writers: usize, settings: Settings) -> Result<Measurement> {
    let file = scene.fresh("cqrs-es")?.join("events.db");
    let output = Command::new(program)
        .arg(file)
        .args([writers.to_string(), scene.warm_up().as_millis().to_string()])
        .args([scene.window().as_millis().to_string(), settings.connections.to_string()])
        .arg(settings.layer)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    ensure!(output.status.success(), "{} failed", program.display());
    let answer: Answer = serde_json::from_slice(&output.stdout)?;
    Ok(Measurement {
        units: answer.events,
        elapsed: Duration::from_secs_f64(answer.seconds),
        processor: None,
    })
}
