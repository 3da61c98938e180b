//! `larder-bench`: Larder's speed as ratios, against bare floors and rivals, side by side on one machine.
//!
//! What is measured, and how, is told in `docs/benchmarks.md`.

mod comparisons;
mod driver;
mod harness;
mod prepared;
mod report;
mod sides;
mod statistics;
mod workload;

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use comparisons::{ALL, Entry};
use harness::Scene;
use report::{Machine, Report};

#[derive(Debug, Parser)]
#[command(version, about = "Larder's speed as ratios, against bare floors and rivals")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the comparisons
    List,
    /// Runs comparisons, all with a target unless named
    Run(Run),
    /// Appends to a prepared store, then aborts; used by the comparison `open`
    #[command(hide = true)]
    AbortWhileWriting {
        dir: PathBuf,
        #[arg(long)]
        events: u64,
    },
    /// Fills a store and prints how many bytes of memory it takes; used by the comparison `kv-memory`
    #[command(hide = true)]
    MeasureMemory { dir: PathBuf, side: String, count: u64 },
}

#[derive(Debug, Args)]
struct Run {
    /// Comparisons to run
    names: Vec<String>,
    /// Rounds per comparison; in each, every side runs once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Small stores and short windows: shows that everything runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Gives each of Larder's appended events an id of the caller's, which is indexed
    #[arg(long)]
    ids: bool,
    /// Runs the side of this name alone, without targets: to look at it with a profiler
    #[arg(long)]
    side: Option<String>,
    /// A directory on the disk to measure; large stores in it are kept for the next run
    #[arg(long, default_value = "./bench-data")]
    dir: PathBuf,
    /// Fills the large stores of Larder anew: after a change of the storage format
    #[arg(long)]
    refill: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::List => list().map(|()| ExitCode::SUCCESS),
        Command::Run(options) => run(&options),
        Command::AbortWhileWriting { dir, events } => {
            let scene = Scene { dir: dir.clone(), quick: false, ids: false };
            comparisons::abort_while_writing(&dir, events, &scene)?;
            Ok(ExitCode::FAILURE)
        }
        Command::MeasureMemory { dir, side, count } => {
            writeln!(io::stdout(), "{}", comparisons::measure_memory(&dir, &side, count)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list() -> Result<()> {
    let mut out = io::stdout().lock();
    for entry in ALL {
        let note = if entry.by_default { "" } else { " (only by name)" };
        writeln!(out, "{:<26}{}{note}", entry.name, entry.about)?;
    }
    Ok(())
}

/// Success means that every target was met.
fn run(options: &Run) -> Result<ExitCode> {
    let entries = selected(&options.names)?;
    let mut out = own_stdout().context("redirect the rivals' chatter")?;
    let scene = Scene { dir: options.dir.clone(), quick: options.quick, ids: options.ids };
    let rounds = usize::from(options.rounds);
    if options.refill {
        prepared::forget_larder(&scene)?;
    }
    let mut outcomes = Vec::new();
    for entry in entries {
        let mut comparison = (entry.build)(&scene).with_context(|| format!("prepare {}", entry.name))?;
        if let Some(side) = &options.side {
            comparison.keep_only(side)?;
        }
        outcomes.push(harness::run(entry.name, entry.about, comparison, &scene, rounds)?);
    }
    harness::remove(&scene.dir.join("round"))?;
    let met = outcomes.iter().flat_map(|outcome| &outcome.targets).all(|target| target.met);
    let report =
        Report { command: command(), machine: Machine::this(), rounds, quick: options.quick, outcomes };
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.to_markdown())?;
    }
    Ok(if met || options.quick { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn selected(names: &[String]) -> Result<Vec<&'static Entry>> {
    if names.is_empty() {
        return Ok(ALL.iter().filter(|entry| entry.by_default).collect());
    }
    let find = |name: &String| ALL.iter().find(|entry| entry.name == name);
    names
        .iter()
        .map(|name| match find(name) {
            Some(entry) => Ok(entry),
            None => bail!("no comparison `{name}`; `larder-bench list` names them"),
        })
        .collect()
}

/// The arguments as given, after the program's name.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("larder-bench {}", arguments.join(" "))
}

/// Takes standard output for the report alone: what a rival prints there goes to standard error.
fn own_stdout() -> Result<File> {
    let own = rustix::io::dup(io::stdout())?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(own.into())
}
