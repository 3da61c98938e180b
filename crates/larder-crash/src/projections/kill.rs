//! Processes that are killed while they project.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use larder::{Config, Position, Query, Store};

use super::{
    child::Task,
    model::{Model, check},
};
use crate::{
    check::check_sound,
    failure::Failure,
    random::Random,
    scratch,
    violation::{OrUnusable, Promise, Violation},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is killed, which understands `projections-child`.
    pub program: PathBuf,
    /// Where everything comes from, but for what threads and the kernel decide.
    pub seed: u64,
    /// How many processes are killed.
    pub rounds: u32,
    /// The mutant: the checkpoint has a commit of its own.
    pub splits: bool,
}

impl Options {
    /// This many rounds, from this seed.
    pub fn new(program: impl Into<PathBuf>, seed: u64, rounds: u32) -> Self {
        Self { program: program.into(), seed, rounds, splits: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Processes killed.
    pub rounds: u32,
    /// Of them, those killed before they had opened the store.
    pub killed_early: u32,
    /// Of them, those whose projection was behind the log.
    pub killed_behind: u32,
    /// Of them, those killed in a rebuild.
    pub killed_rebuilding: u32,
    /// Rebuilds that were completed by those who asked for them.
    pub rebuilds: u64,
    /// Events projected.
    pub events: u64,
    /// Of them, those that became dead letters.
    pub dead_letters: u64,
}

const LIVES: u32 = 5;
/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the harness.
///
/// # Errors
/// The first violation, with the store that shows it kept in a directory.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    while report.rounds < options.rounds {
        let directory = scratch()?;
        let path = directory.path().join("projections.db");
        let mut random = Random::of(options.seed, u64::from(report.rounds));
        let owns = random.once_in(2);
        for life in 0..LIVES.min(options.rounds - report.rounds) {
            let is_last = life + 1 == LIVES;
            if let Err(failure) = live(options, &path, owns, &mut random, &mut report)
                .and_then(|()| if is_last { finish(&path, owns, &mut report) } else { Ok(()) })
            {
                // What the mutant does to its store is of no interest.
                let kept = if options.splits { PathBuf::new() } else { directory.keep() };
                let (seed, round, kept) = (options.seed, report.rounds, kept.display());
                let place = format!("seed {seed}, round {round}, life {life} of its file; kept in {kept}");
                return Err(failure.at(&place));
            }
            report.rounds += 1;
        }
    }
    Ok(report)
}

/// One process, from its start to the look at what it left.
fn live(
    options: &Options,
    path: &Path,
    owns: bool,
    random: &mut Random,
    report: &mut Report,
) -> Result<(), Failure> {
    let owning = [Task::None, Task::Rebuild, Task::RequestRebuild, Task::Reopen, Task::SecondRunner];
    let plain = [Task::None, Task::Reopen, Task::SecondRunner];
    let task = if owns { owning[random.index(owning.len())] } else { plain[random.index(plain.len())] };
    let mut command = Command::new(&options.program);
    command.arg("projections-child").arg("--path").arg(path);
    command.args(["--seed", &random.next_u64().to_string(), "--task", &task.to_string()]);
    for (flag, is_set) in [("--owns", owns), ("--splits", options.splits)] {
        if is_set {
            command.arg(flag);
        }
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| Failure::setup("the child has no output"))?;
    let reader = thread::spawn(move || read_lines(output));
    let most = if random.once_in(4) { 30_000 } else { 150_000 };
    thread::sleep(Duration::from_micros(random.below(most)));
    child.kill()?;
    child.wait()?;
    let lines = reader.join().map_err(|_| Failure::panicked())?;
    if let Some(failed) = lines.iter().find(|line| line.starts_with('!')) {
        return Err(Violation::of(Promise::Usable, format!("in the child: {failed}")).into());
    }
    report.killed_early += u32::from(lines.is_empty());
    report.rebuilds += lines.iter().filter(|line| *line == "rebuilt").count() as u64;
    Ok(look(path, owns, report)?)
}

/// What the child said, up to its last whole line.
fn read_lines(output: impl std::io::Read) -> Vec<String> {
    let mut reader = BufReader::new(output);
    let (mut lines, mut text) = (Vec::new(), String::new());
    while matches!(reader.read_line(&mut text), Ok(1..)) {
        lines.extend(text.strip_suffix('\n').map(str::to_owned));
        text.clear();
    }
    lines
}

/// The store is sound, and its read model is the one of its checkpoint.
fn look(path: &Path, owns: bool, report: &mut Report) -> Result<(), Violation> {
    let store = Store::open(Config::sqlite(path)).wait().or_unusable("open after a kill")?;
    check_sound(&store)?;
    let (checkpoint, head) = check(&store, owns)?;
    let known = store.projections().wait().or_unusable("projections")?;
    report.killed_behind += u32::from(checkpoint < head);
    report.killed_rebuilding += u32::from(known.iter().any(|info| info.rebuild.is_some()));
    store.close().wait().or_unusable("close")
}

/// The projection catches up, is rebuilt if it can be, and is still the same.
fn finish(path: &Path, owns: bool, report: &mut Report) -> Result<(), Failure> {
    let store = Store::open(Config::sqlite(path)).wait().or_unusable("open to catch up")?;
    let model = Model::of(&store, owns).or_unusable("define")?;
    let head = model.log.info().wait().or_unusable("info")?.map_or(Position::START, |info| info.head);
    let running = model.projection.run(&model.log, Query::all(), model.projector());
    let runner = thread::spawn(move || running.wait());
    let reached = model.projection.wait_for_at_most(head, PATIENCE).wait().or_unusable("wait_for")?;
    if !reached {
        return Err(Violation::of(Promise::Usable, format!("the projection does not reach {head}")).into());
    }
    check(&store, owns)?;
    if owns {
        let rebuilt = model.projection.rebuild(&model.log, Query::all(), model.projector());
        rebuilt.wait().or_unusable("rebuild")?;
        check(&store, owns)?;
    }
    let letters = model.projection.dead_letters().wait().or_unusable("dead letters")?;
    report.dead_letters += letters.len() as u64;
    report.events += head.get();
    store.close().wait().or_unusable("close")?;
    runner.join().map_err(|_| Failure::panicked())?.or_unusable("project")?;
    Ok(check_again(path, owns)?)
}

/// After a last opening, too.
fn check_again(path: &Path, owns: bool) -> Result<(), Violation> {
    let store = Store::open(Config::sqlite(path)).wait().or_unusable("open once more")?;
    check_sound(&store)?;
    check(&store, owns)?;
    store.close().wait().or_unusable("close")
}
