//! Two processes take turns on one SQLite file, and every answer must be the one that a store in memory gives:
//! whatever a process keeps in memory must be right when the other has written.
#![cfg(feature = "sqlite")]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio},
    sync::Arc,
};

use larder::{BoxError, Config, Durability, Store, testing::ManualClock, testing::ScratchDir};

use crate::{
    attempts,
    command::{Command, Heads, random_commands},
    seed,
};

/// Tells the child where the store is.
const STORE: &str = "LARDER_ALTERNATING_STORE";
/// Begins a line that is meant for the parent.
const MARK: &str = "answer: ";

fn open(config: Config) -> larder::Result<Store> {
    // Time stands still, at the same moment in each process.
    Store::open(config.clock(Arc::new(ManualClock::new())).durability(Durability::Buffered)).wait()
}

fn count() -> usize {
    usize::try_from(attempts(400) * 5).expect("a reasonable number")
}

/// Does nothing unless it is run by the test below: then it runs the commands whose numbers it is given.
#[test]
fn other_process() -> Result<(), BoxError> {
    let Some(path) = env::var_os(STORE) else { return Ok(()) };
    let commands = random_commands(seed(), count());
    let store = open(Config::sqlite(path))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [number, log, stream] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(line.into()) };
        let heads = Heads { log: log.parse()?, stream: stream.parse()? };
        let answer = commands[number.parse::<usize>()?].run(&store, heads)?;
        println!("\n{MARK}{}", serde_json::to_string(&answer)?);
    }
    Ok(store.close().wait()?)
}

struct Other {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Other {
    fn spawn(path: &Path, seed: u64) -> Result<Self, BoxError> {
        let mut child = Process::new(env::current_exe()?)
            .args(["--exact", "alternating::other_process", "--nocapture"])
            .env(STORE, path)
            .env("LARDER_SEED", seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("it has no input")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("it has no output")?);
        Ok(Self { child, stdin, stdout })
    }

    /// Has the other process run that command.
    fn run(&mut self, number: usize, heads: Heads) -> Result<String, BoxError> {
        writeln!(self.stdin, "{number} {} {}", heads.log, heads.stream)?;
        let mut line = String::new();
        while self.stdout.read_line(&mut line)? > 0 {
            if let Some(answer) = line.strip_prefix(MARK) {
                return Ok(serde_json::from_str(answer)?);
            }
            line.clear();
        }
        Err("the other process ended".into())
    }

    fn end(mut self) -> Result<(), BoxError> {
        drop(self.stdin);
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the other process ended with {status}").into()) }
    }
}

/// Whether this process runs that command, or the other.
fn is_ours(seed: u64, number: usize) -> bool {
    // In runs of a few, so that each also meets its own latest writes.
    seed.rotate_right(u32::try_from(number / 3 % 64).expect("it is small")) % 2 == 0
}

/// Runs the commands here and there, and gives the first answer that is not as it should be.
fn take_turns(ours: &Path, theirs: &Path, seed: u64) -> Result<Option<String>, BoxError> {
    let kinds = ["Appended", "Event {", "Compacted", "Conflict", "ConditionFailed", "AlreadyExists"];
    let mut answered = kinds.map(|kind| (kind, 0));
    let oracle = open(Config::memory())?;
    let store = open(Config::sqlite(ours))?;
    let mut other = Other::spawn(theirs, seed)?;
    let commands: Vec<Command> = random_commands(seed, count());
    for (number, command) in commands.iter().enumerate() {
        let heads = command.heads(&oracle)?;
        let expected = command.run(&oracle, heads)?;
        let is_ours = is_ours(seed, number);
        let answer = if is_ours { command.run(&store, heads)? } else { other.run(number, heads)? };
        if answer != expected {
            let who = if is_ours { "this" } else { "the other" };
            let difference =
                format!("command {number}, {command:?}, in {who} process:\n{answer}\n{expected}");
            other.end()?;
            return Ok(Some(difference));
        }
        for (kind, times) in &mut answered {
            *times += usize::from(expected.contains(*kind));
        }
    }
    println!("{answered:?} of {} commands", commands.len());
    for (kind, times) in answered {
        assert!(times >= commands.len() / 200, "{kind} was answered only {times} times");
    }
    other.end()?;
    let report = store.verify(larder::backend::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    store.close().wait()?;
    Ok(None)
}

#[test]
fn processes_that_take_turns_answer_as_memory() -> Result<(), BoxError> {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let difference = take_turns(&path, &path, seed())?;
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    Ok(())
}

#[test]
fn processes_that_miss_each_others_writes_are_caught() -> Result<(), BoxError> {
    let dir = ScratchDir::new()?;
    let difference = take_turns(&dir.path().join("ours.db"), &dir.path().join("theirs.db"), seed())?;
    assert!(difference.is_some(), "two files answered as one");
    Ok(())
}
