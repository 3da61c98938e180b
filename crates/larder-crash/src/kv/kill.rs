//! Processes that are killed while they write.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use larder_kv::{Client, ClientOptions};

use crate::{
    failure::Failure,
    kv::ledger::{Answer, Found, Ledger, unusable},
    kv::step::Step,
    random::Random,
    scratch,
    violation::{Promise, Violation},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is killed, which understands `kv-child`.
    pub program: PathBuf,
    /// Where everything comes from, but for what threads and the kernel decide.
    pub seed: u64,
    /// How many processes are killed.
    pub rounds: u32,
    /// The mutant: it says that a step is done before it does it.
    pub answers_early: bool,
}

impl Options {
    /// This many rounds, from this seed.
    pub fn new(program: impl Into<PathBuf>, seed: u64, rounds: u32) -> Self {
        Self { program: program.into(), seed, rounds, answers_early: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Processes killed.
    pub rounds: u32,
    /// Of them, those killed before they had written anything.
    pub killed_early: u32,
    /// Of them, those killed while they compacted.
    pub killed_compacting: u32,
    /// Files with a torn tail.
    pub torn: u32,
    /// Steps acknowledged.
    pub acknowledged: u64,
}

const WRITERS: u32 = 4;
const LIVES: u32 = 10;
const NODE: &str = "node-a";

/// Runs the harness.
///
/// # Errors
/// The first violation, with the file that shows it kept in a directory.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    while report.rounds < options.rounds {
        let directory = scratch()?;
        let path = directory.path().join("node.wal");
        let seed = Random::of(options.seed, u64::from(report.rounds)).next_u64();
        let ledger = Ledger::new(seed, WRITERS);
        for life in 0..LIVES.min(options.rounds - report.rounds) {
            let round = Round { options, seed, life, path: &path };
            if let Err(failure) = round.run(&ledger, &mut report) {
                let kept = if options.answers_early { PathBuf::new() } else { directory.keep() };
                let place = format!(
                    "seed {}, round {}, life {life} of its file; kept in {}",
                    options.seed,
                    report.rounds,
                    kept.display()
                );
                return Err(failure.at(&place));
            }
            report.rounds += 1;
        }
    }
    Ok(report)
}

struct Round<'a> {
    options: &'a Options,
    seed: u64,
    life: u32,
    path: &'a Path,
}

impl Round<'_> {
    fn run(&self, ledger: &Ledger, report: &mut Report) -> Result<(), Failure> {
        let mut random = Random::of(self.seed, 3_000 + u64::from(self.life));
        let buffered = random.once_in(4);
        let mut child = self.start(ledger, buffered)?;
        let output = child.stdout.take().ok_or_else(|| Failure::setup("the child has no output"))?;
        let reader = thread::spawn(move || read_lines(output));
        let most = if random.once_in(4) { 10_000 } else { 80_000 };
        thread::sleep(Duration::from_micros(random.below(most)));
        child.kill()?;
        child.wait()?;
        let lines = reader.join().map_err(|_| Failure::panicked())?;
        report.killed_early += u32::from(lines.is_empty());
        let is_compacting = lines.iter().rev().find(|line| line.starts_with('c'));
        report.killed_compacting += u32::from(is_compacting.is_some_and(|line| line == "c"));
        take_note(ledger, &lines)?;
        report.acknowledged += ledger.acknowledged();
        let found = self.check(ledger, lines.len(), !buffered, report)?;
        for (writer, kept) in ledger.writers().zip(&found.kept) {
            ledger.go_on_after(writer, *kept);
        }
        ledger.settle(&found);
        Ok(())
    }

    fn start(&self, ledger: &Ledger, buffered: bool) -> Result<Child, Failure> {
        let next: Vec<String> = ledger.writers().map(|writer| ledger.next(writer).to_string()).collect();
        let mut command = Command::new(&self.options.program);
        command.arg("kv-child").arg("--path").arg(self.path);
        command.args(["--seed", &self.seed.to_string(), "--next", &next.join(",")]);
        for (flag, is_set) in [("--buffered", buffered), ("--answers-early", self.options.answers_early)] {
            if is_set {
                command.arg(flag);
            }
        }
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }

    fn check(
        &self,
        ledger: &Ledger,
        mark: usize,
        answers_are_durable: bool,
        report: &mut Report,
    ) -> Result<Found, Violation> {
        let client = Client::open(ClientOptions::persistent(NODE, self.path)).wait();
        let client = client.map_err(|error| unusable("open after a kill", &error))?;
        let found = ledger.check(&client, mark, answers_are_durable)?;
        report.torn += u32::from(client.recovery().cut_off > 0);
        client.close().wait().map_err(|error| unusable("close", &error))?;
        Ok(found)
    }
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

/// Enters what the child said; the number of a line is the point at which it was said.
fn take_note(ledger: &Ledger, lines: &[String]) -> Result<(), Failure> {
    for (mark, line) in lines.iter().enumerate() {
        let (what, rest) = line.split_at(1);
        match (what, rest.parse::<u32>()) {
            ("s", Ok(writer)) => drop(ledger.submit(writer, mark)),
            ("a", Ok(writer)) => ledger.answer(writer, Answer::Done, mark),
            ("f", Ok(writer)) => ledger.flushed(writer, mark),
            ("c", _) => {}
            _ => return Err(Violation::of(Promise::Usable, format!("in the child: {line}")).into()),
        }
    }
    Ok(())
}

/// What `kv-child` was told.
#[derive(Debug)]
pub struct ChildOptions {
    /// The file.
    pub path: PathBuf,
    /// Where the steps come from.
    pub seed: u64,
    /// Each writer's next step.
    pub next: Vec<u64>,
    /// Without a sync for each write.
    pub buffered: bool,
    /// Says that a step is done before it does it.
    pub answers_early: bool,
}

/// The child: writes with several threads, compacts beside them, and says what it does, until it is killed.
///
/// # Errors
/// What should have worked and did not.
pub fn child(options: &ChildOptions) -> Result<(), Failure> {
    let mut client_options = ClientOptions::persistent(NODE, &options.path);
    client_options.auto_flush = !options.buffered;
    client_options.compact_min_bytes = 64 << 10;
    let client = Client::open(client_options).wait().map_err(|error| unusable("open", &error))?;
    thread::scope(|scope| {
        for (writer, next) in (0..).zip(&options.next) {
            let client = &client;
            scope.spawn(move || {
                if let Err(error) = write(client, options, writer, *next) {
                    say(&format!("!{error}"));
                }
            });
        }
        loop {
            thread::sleep(Duration::from_millis(3));
            say("c");
            if let Err(error) = client.compact().wait() {
                say(&format!("!compact: {error}"));
            }
            say("c done");
        }
    })
}

fn write(client: &Client, options: &ChildOptions, writer: u32, next: u64) -> larder_kv::Result<()> {
    for number in next.. {
        let step = Step::of(options.seed, writer, number);
        say(&format!("s{writer}"));
        if options.answers_early {
            say(&format!("a{writer}"));
            thread::sleep(Duration::from_millis(1));
        }
        step.submit(client)?;
        if !options.answers_early {
            say(&format!("a{writer}"));
        }
        if number % 16 == 15 {
            client.flush().wait()?;
            say(&format!("f{writer}"));
        }
    }
    Ok(())
}

/// A whole line at once, or nothing once nobody listens any more.
fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}
