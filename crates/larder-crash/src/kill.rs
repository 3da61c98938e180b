//! Kills: a process that writes is killed at a random moment; then everything it was told is there.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use larder::{Config, Store};

use crate::{
    check::{Contents, check_contents, check_sound},
    child::{Chore, Line},
    failure::Failure,
    ledger::{Answer, Fate, Ledger},
    random::Random,
    scratch,
    step::{Name, Step},
    violation::{OrUnusable, Promise, Violation},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is killed, which understands `child`.
    pub program: PathBuf,
    /// Where everything comes from, but for what threads and the kernel decide.
    pub seed: u64,
    /// How many processes are killed.
    pub rounds: u32,
    /// After so many a new file is begun.
    pub rounds_per_file: u32,
    /// The mutant, which must be caught.
    pub answers_early: bool,
}

impl Options {
    /// This many rounds, from this seed.
    pub fn new(program: impl Into<PathBuf>, seed: u64, rounds: u32) -> Self {
        Self { program: program.into(), seed, rounds, rounds_per_file: 10, answers_early: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Processes killed.
    pub rounds: u32,
    /// Of them, those killed before they had written anything.
    pub killed_early: u32,
    /// Of them, those killed in a checkpoint, a backup, an opening or a closing, or close to it.
    pub killed_in_chores: u32,
    /// Steps acknowledged.
    pub acknowledged: u64,
    /// Steps on their way when the process was killed, and found afterwards.
    pub found_unacknowledged: u64,
    /// And those not found.
    pub lost_unacknowledged: u64,
    /// Backups that were complete, and were checked.
    pub backups: u32,
}

/// Threads that write in the process.
const WRITERS: u32 = 4;
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
        let path = directory.path().join("kill.db");
        let file_seed = Random::of(options.seed, u64::from(report.rounds)).next_u64();
        let ledger = Ledger::default();
        for life in 0..options.rounds_per_file.min(options.rounds - report.rounds) {
            let place = format!("seed {}, round {}, life {life} of its file", options.seed, report.rounds);
            let round = Round { options, file_seed, life, path: &path };
            if let Err(failure) = round.run(&ledger, &mut report) {
                // What the mutant does to its store is of no interest.
                let kept = if options.answers_early { PathBuf::new() } else { directory.keep() };
                return Err(failure.at(&format!("{place}; kept in {}", kept.display())));
            }
            report.rounds += 1;
        }
        report.acknowledged += ledger.acknowledged(0) as u64;
    }
    Ok(report)
}

struct Round<'a> {
    options: &'a Options,
    file_seed: u64,
    life: u32,
    path: &'a Path,
}

impl Round<'_> {
    fn run(&self, ledger: &Ledger, report: &mut Report) -> Result<(), Failure> {
        let mut random = Random::of(self.file_seed, u64::from(self.life));
        let chore = [Chore::None, Chore::Checkpoint, Chore::Backup, Chore::Reopen][random.index(4)];
        let mut child = self.start(chore)?;
        let output = child.stdout.take().ok_or_else(|| Failure::setup("the child has no output"))?;
        let (chores, told_of_chores) = mpsc::channel();
        let seed = self.file_seed;
        let (lines, aimed) = thread::scope(|scope| {
            let reader = scope.spawn(move || read_lines(output, &chores));
            let aimed = await_the_moment(chore, &mut random, &told_of_chores);
            let killed = kill(&mut child);
            let lines = reader.join().map_err(|_| Failure::panicked())?;
            killed.map(|()| (lines, aimed))
        })?;
        report.killed_early += u32::from(lines.is_empty());
        report.killed_in_chores += u32::from(aimed);
        let backups = take_note(ledger, seed, lines)?;
        if !self.options.answers_early {
            ledger.check_answers()?;
        }
        self.check(ledger, report)?;
        for (backup, acknowledged) in backups {
            check_backup(&backup, ledger, &acknowledged)?;
            report.backups += 1;
        }
        remove_backups(self.path)?;
        Ok(())
    }

    fn start(&self, chore: Chore) -> Result<Child, Failure> {
        let mut command = Command::new(&self.options.program);
        command.arg("child").arg("--path").arg(self.path);
        command.args(["--seed", &self.file_seed.to_string(), "--life", &self.life.to_string()]);
        command.args(["--writers", &WRITERS.to_string(), "--chore", &chore.to_string()]);
        if self.options.answers_early {
            command.arg("--answers-early");
        }
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }

    fn check(&self, ledger: &Ledger, report: &mut Report) -> Result<(), Violation> {
        let store = Store::open(Config::sqlite(self.path)).wait().or_unusable("open after a kill")?;
        let contents = check_contents(&store, ledger, 0)?;
        check_sound(&store)?;
        settle(ledger, &contents, report);
        store.close().wait().or_unusable("close")
    }
}

/// A random moment: during the opening, while writing, or as soon as a chore begins. True for the last.
fn await_the_moment(chore: Chore, random: &mut Random, chores: &mpsc::Receiver<()>) -> bool {
    let aim = chore != Chore::None && !random.once_in(3);
    if !aim {
        let most = if random.once_in(4) { 15_000 } else { 120_000 };
        thread::sleep(Duration::from_micros(random.below(most)));
        return false;
    }
    for _ in 0..=random.below(4) {
        match chores.recv_timeout(Duration::from_millis(500)) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
    thread::sleep(Duration::from_micros(random.below(2_500)));
    true
}

/// Kills the child (SIGKILL on Unix) and waits for its end.
fn kill(child: &mut Child) -> Result<(), Failure> {
    child.kill()?;
    for _ in 0..PATIENCE.as_millis() {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::setup("the child did not die"))
}

/// What the child said, up to its last whole line.
fn read_lines(output: impl std::io::Read, chores: &Sender<()>) -> Vec<Line> {
    let mut reader = BufReader::new(output);
    let (mut lines, mut text) = (Vec::new(), String::new());
    while matches!(reader.read_line(&mut text), Ok(1..)) {
        if let Some(whole) = text.strip_suffix('\n')
            && let Ok(line) = whole.parse()
        {
            if line == Line::Chore {
                // Nobody listens any more once the moment has come.
                let _ = chores.send(());
            }
            lines.push(line);
        }
        text.clear();
    }
    lines
}

/// Steps that were acknowledged when a backup began.
type Acknowledged = Vec<crate::step::StepId>;

/// Enters what the child said into the ledger; answers the backups that were completed.
fn take_note(ledger: &Ledger, seed: u64, lines: Vec<Line>) -> Result<Vec<(PathBuf, Acknowledged)>, Failure> {
    let (mut backups, mut begun) = (Vec::new(), Acknowledged::new());
    for line in lines {
        match line {
            Line::Submitted(id, target) => ledger.submit(Arc::new(Step::of(seed, id)), target, 0),
            Line::Answered(id, answer) => ledger.answer(id, answer, 0),
            Line::Chore => {
                let records = ledger.records();
                let is_done = |fate: Fate<'_>| matches!(fate, Fate::Must(Answer::Appended(_)));
                begun =
                    records.values().filter(|record| is_done(record.fate(0))).map(|r| r.step.id).collect();
            }
            Line::BackedUp(path) => backups.push((path, begun.clone())),
            Line::Failed(reason) => {
                return Err(Violation::of(Promise::Usable, format!("in the child: {reason}")).into());
            }
        }
    }
    Ok(backups)
}

/// What was on its way is decided now: later lives must agree with what was seen.
fn settle(ledger: &Ledger, contents: &Contents, report: &mut Report) {
    for record in ledger.records().values_mut() {
        let is_open = matches!(record.fate(0), Fate::May | Fate::Must(Answer::Appended(_)));
        // What a compaction or work has come to is not seen by events.
        if !is_open || record.step.parts().is_empty() {
            continue;
        }
        let was_open = record.fate(0) == Fate::May;
        let seen = record.step.parts().iter().enumerate().map(|(part, planned)| {
            let place = contents.by_name.get(&Name { step: record.step.id, part, index: 0 })?;
            let event = &contents.events[*place];
            let count = planned.events.len() as u64;
            Some(larder::Appended::new(event.seq_nr, event.position, count))
        });
        let seen: Vec<_> = seen.collect();
        if was_open {
            let is_there = seen.iter().all(Option::is_some);
            let counter =
                if is_there { &mut report.found_unacknowledged } else { &mut report.lost_unacknowledged };
            *counter += 1;
            record.answer = Some((if is_there { Answer::Appended(seen) } else { Answer::Refused }, 0));
        }
    }
}

/// A complete backup holds what was acknowledged when it began, and is a sound store.
fn check_backup(path: &Path, ledger: &Ledger, acknowledged: &Acknowledged) -> Result<(), Violation> {
    let store = Store::open(Config::sqlite(path)).wait().or_unusable("open a backup")?;
    check_sound(&store)?;
    let log = store.event_log(crate::step::LOG).or_unusable("event_log")?;
    let page = log.query(larder::Query::all()).wait().or_unusable("query a backup")?;
    let there: std::collections::HashSet<Name> = page.items.iter().filter_map(Name::of).collect();
    let records = ledger.records();
    for id in acknowledged {
        let Some(record) = records.get(id) else { continue };
        // Those in streams of their own may have been compacted.
        let parts = record.step.parts().iter().enumerate();
        for (part, _) in
            parts.filter(|(_, part)| part.stream.as_deref().is_none_or(|s| s == crate::step::SHARED))
        {
            let name = Name { step: *id, part, index: 0 };
            if !there.contains(&name) {
                return Err(Violation::of(Promise::NothingLost, format!("{name} is not in the backup")));
            }
        }
    }
    drop(records);
    store.close().wait().or_unusable("close")
}

fn remove_backups(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().ok_or_else(|| Failure::setup("the store has no directory"))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("backup-") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
