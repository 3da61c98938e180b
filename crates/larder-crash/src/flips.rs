//! Bit flips: whatever happens to the bytes of a stored file, nothing wrong is ever returned.

mod answers;
mod sql;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use self::{
    answers::{Answers, compare_lines},
    sql::{Tables, read_sql},
};
use larder::{Config, ErrorKind, NewEvent, Store, backend::Progress};

use crate::{
    failure::Failure,
    items,
    ledger::{Answer, Ledger},
    random::Random,
    scratch,
    step::{LOG, Step, StepId},
    tasks,
    violation::{OrUnusable, Promise, Violation},
    writer::{Witness, Writer, no_such_tag},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything comes from.
    pub seed: u64,
    /// How many stores are made.
    pub rounds: u32,
    /// How many times each is damaged, spread evenly over the file.
    pub flips: u64,
    /// Reads the events with plain SQL instead of the store: the mutant, which compares no checksums.
    pub reads_raw: bool,
}

impl Options {
    /// One store, damaged this many times.
    #[must_use]
    pub fn new(seed: u64, flips: u64) -> Self {
        Self { seed, rounds: 1, flips, reads_raw: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Damaged files.
    pub flips: u64,
    /// Those that would not open.
    pub refused: u64,
    /// Those in which some read failed.
    pub failed_reads: u64,
    /// Those in which `verify` found something, or failed.
    pub found_by_verify: u64,
    /// Those with events missing from an answer, all of them found by `verify`.
    pub missing: u64,
    /// Those in which a number about a log or a stream differs.
    pub other_numbers: u64,
    /// Of those, the ones that `verify` did not find.
    pub other_numbers_unfound: u64,
    /// Those in which nothing differs.
    pub unaffected: u64,
    /// Those in which plain SQL reads another row than was written.
    pub wrong_in_sql: u64,
    /// The same, for each table.
    pub wrong_by_table: BTreeMap<&'static str, u64>,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.flips += other.flips;
        self.refused += other.refused;
        self.failed_reads += other.failed_reads;
        self.found_by_verify += other.found_by_verify;
        self.missing += other.missing;
        self.other_numbers += other.other_numbers;
        self.other_numbers_unfound += other.other_numbers_unfound;
        self.unaffected += other.unaffected;
        self.wrong_in_sql += other.wrong_in_sql;
        for (table, wrong) in &other.wrong_by_table {
            *self.wrong_by_table.entry(table).or_default() += wrong;
        }
    }
}

const FILE: &str = "flips.db";
const STEPS: u32 = 60;
/// Longer than anything takes that ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the harness.
///
/// # Errors
/// The first violation, with the damaged file kept in a directory.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    for round in 0..options.rounds {
        let original = Arc::new(Original::make(Random::of(options.seed, round.into()).next_u64(), round)?);
        let next = AtomicU64::new(0);
        let total = Mutex::new(&mut report);
        thread::scope(|scope| {
            let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
            let workers: Vec<_> = (0..workers)
                .map(|_| scope.spawn(|| work(options, round, &original, &next, &total)))
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| Failure::panicked())?)
        })?;
    }
    Ok(report)
}

fn work(
    options: &Options,
    round: u32,
    original: &Arc<Original>,
    next: &AtomicU64,
    total: &Mutex<&mut Report>,
) -> Result<(), Failure> {
    let mut report = Report::default();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= options.flips {
            break;
        }
        let mut random = Random::of(options.seed ^ u64::from(round) << 40, number);
        let damage = Damage::of(number, options.flips, original.bytes.len(), &mut random);
        let directory = scratch()?;
        let path = directory.path().join(FILE);
        let damaged = damage.apply(&original.bytes);
        fs::write(&path, &damaged)?;
        if let Err(violation) = look(original, path, options.reads_raw, &mut report) {
            let kept = scratch()?;
            fs::write(kept.path().join(FILE), &damaged)?;
            // What the mutant reads is of no interest.
            let kept = if options.reads_raw { String::new() } else { kept.keep().display().to_string() };
            let place = format!("seed {}, round {round}, {damage:?}; file kept in {kept}", options.seed);
            return Err(Failure::violated(violation, place));
        }
    }
    total.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
    Ok(())
}

/// Compares on a thread of its own, which may panic or never come back.
fn look(
    original: &Arc<Original>,
    path: PathBuf,
    reads_raw: bool,
    report: &mut Report,
) -> Result<(), Violation> {
    let (sender, receiver) = sync_channel(1);
    let original = original.clone();
    thread::spawn(move || {
        let mut seen = Report::default();
        let result = original.compare(&path, reads_raw, &mut seen);
        // Whoever gave up on this one does not listen.
        let _ = sender.send((result, seen));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok((result, seen)) => {
            report.add(&seen);
            result
        }
        Err(RecvTimeoutError::Disconnected) => Err(Violation::of(Promise::Usable, "a panic; see above")),
        Err(RecvTimeoutError::Timeout) => {
            Err(Violation::of(Promise::Usable, format!("no answer within {} s", PATIENCE.as_secs())))
        }
    }
}

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit is another.
    Bit { byte: usize, bit: u8 },
    /// One byte is another.
    Byte { byte: usize, value: u8 },
    /// A sector of 512 bytes reads as zeros.
    ZeroedSector { byte: usize },
}

impl Damage {
    /// Damage somewhere in the part of the file that this number stands for.
    fn of(number: u64, of: u64, size: usize, random: &mut Random) -> Self {
        let part = (size as u64).div_ceil(of).max(1);
        let start = number * size as u64 / of;
        let byte = usize::try_from(start + random.below(part)).unwrap_or(usize::MAX).min(size - 1);
        match random.below(16) {
            0 => Self::ZeroedSector { byte: byte / 512 * 512 },
            1..=3 => Self::Byte { byte, value: random.next_u64().to_le_bytes()[0] },
            _ => Self::Bit { byte, bit: u8::try_from(random.below(8)).unwrap_or_default() },
        }
    }

    fn apply(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self {
            Self::Bit { byte, bit } => bytes[byte] ^= 1 << bit,
            Self::Byte { byte, value } => bytes[byte] = value,
            Self::ZeroedSector { byte } => {
                let end = (byte + 512).min(bytes.len());
                bytes[byte..end].fill(0);
            }
        }
        bytes
    }
}

/// A store as it was written, and everything it answers.
struct Original {
    bytes: Vec<u8>,
    answers: Answers,
    /// The tasks that are handed out, by key.
    tasks: BTreeMap<String, Vec<String>>,
    sql: Tables,
    ledger: Ledger,
    seed: u64,
}

/// Notes what was answered; time does not matter.
struct Noting<'a>(&'a Ledger);

impl Witness for Noting<'_> {
    fn submitted(&self, step: &Arc<Step>, target: u64) {
        self.0.submit(step.clone(), target, 0);
    }

    fn answered(&self, id: StepId, answer: &Answer) {
        self.0.answer(id, answer.clone(), 0);
    }
}

impl Original {
    fn make(seed: u64, round: u32) -> Result<Self, Failure> {
        let directory = scratch()?;
        let path = directory.path().join(FILE);
        // Every other store has its index merged, the others in the tail.
        let config = Config::sqlite(&path);
        let config = if round.is_multiple_of(2) { config.merge_at(20) } else { config };
        let ledger = Ledger::default();
        let store = Store::open(config).wait().or_unusable("open")?;
        store.event_log(LOG).or_unusable("event_log")?.audit_conditions(true).wait().or_unusable("audit")?;
        let mut writer = Writer::new(&store, seed, 0).or_unusable("event_log")?;
        for index in 0..STEPS {
            writer.step(index, &Noting(&ledger)).or_unusable("write")?;
        }
        store.close().wait().or_unusable("close")?;
        let bytes = fs::read(&path)?;
        let store = Store::open(Config::sqlite(&path)).wait().or_unusable("open")?;
        let answers = Answers::of(&store);
        store.close().wait().or_unusable("close")?;
        let sql = read_sql(&path)?;
        let store = Store::open(Config::sqlite(&path)).wait().or_unusable("open")?;
        let (tasks, worked) = tasks::handle(&store);
        worked.or_unusable("work")?;
        store.close().wait().or_unusable("close")?;
        if let Some(error) = answers.error() {
            return Err(Failure::setup(format!("a sound store answers {error}")));
        }
        Ok(Self { bytes, answers, tasks, sql, ledger, seed })
    }

    /// Opens a damaged copy and compares what it answers.
    fn compare(&self, path: &Path, reads_raw: bool, report: &mut Report) -> Result<(), Violation> {
        report.flips += 1;
        let wrong = read_sql(path).map_or_else(|_| Vec::new(), |tables| self.wrong_tables(&tables));
        report.wrong_in_sql += u64::from(!wrong.is_empty());
        wrong.iter().for_each(|table| *report.wrong_by_table.entry(table).or_default() += 1);
        if reads_raw {
            let wrong = wrong
                .first()
                .map(|table| Violation::of(Promise::NothingGarbled, format!("a row of {table}")));
            return wrong.map_or(Ok(()), Err);
        }
        let store = match Store::open(Config::sqlite(path)).wait() {
            Ok(store) => store,
            Err(error) => {
                report.refused += 1;
                return may_refuse("open", &error);
            }
        };
        let result = self.compare_open(&store, report);
        // A damaged file may not close cleanly either.
        drop(store.close().wait());
        result
    }

    fn compare_open(&self, store: &Store, report: &mut Report) -> Result<(), Violation> {
        let answers = Answers::of(store);
        let difference = answers.compare(&self.answers)?;
        let found = match store.verify(Progress::default()).wait() {
            Ok(verified) => !verified.is_sound(),
            Err(error) => {
                may_refuse("verify", &error)?;
                true
            }
        };
        report.failed_reads += u64::from(difference.failed);
        report.found_by_verify += u64::from(found);
        report.missing += u64::from(difference.missing.is_some());
        report.other_numbers += u64::from(difference.numbers);
        report.other_numbers_unfound += u64::from(difference.numbers && !found);
        report.unaffected += u64::from(difference.is_none() && !found);
        if let (Some(missing), false) = (difference.missing, found) {
            return Err(Violation::of(Promise::NothingLost, format!("{missing}, and verify finds nothing")));
        }
        self.compare_tasks(store, found)?;
        self.compare_guards(store, found)?;
        let Some(Ok(items)) = self.answers.items.get("all items") else { return Ok(()) };
        match items::blind_guard(store, items, |error| may_refuse("require_version", error))? {
            Some(blind) if !found => {
                Err(Violation::of(Promise::NothingLost, blind + ", and verify found nothing"))
            }
            _ => Ok(()),
        }
    }

    /// What is handed out is what was put, in the order of its key, and once; or `verify` has found why not.
    fn compare_tasks(&self, store: &Store, found: bool) -> Result<(), Violation> {
        let (handed_out, ended) = tasks::handle(store);
        let mut missing = match &ended {
            Ok(()) => None,
            Err(error) => {
                may_refuse("work", error)?;
                Some(format!("work says {error}"))
            }
        };
        for (question, lines) in &handed_out {
            let expected = self.tasks.get(question).map(Vec::as_slice).unwrap_or_default();
            match compare_lines(question, lines, expected) {
                Ok(different) => missing = different.or(missing),
                // With a damaged index a task may be handed out again.
                Err(_) if found && lines.iter().all(|line| expected.contains(line)) => {}
                Err(violation) => return Err(violation),
            }
        }
        if let Some(key) = self.tasks.keys().find(|key| !handed_out.contains_key(*key)) {
            missing.get_or_insert_with(|| format!("none of the {key}"));
        }
        match missing {
            Some(missing) if !found => {
                Err(Violation::of(Promise::NothingLost, missing + ", and verify found nothing"))
            }
            _ => Ok(()),
        }
    }

    /// Retries and conditions still see what they must, or `verify` has found why not.
    fn compare_guards(&self, store: &Store, found: bool) -> Result<(), Violation> {
        let log = store.event_log(LOG).or_unusable("event_log")?;
        let lost = |what: String| {
            if found {
                Ok(())
            } else {
                Err(Violation::of(Promise::NothingLost, what + ", and verify found nothing"))
            }
        };
        for index in (0..STEPS).rev() {
            let step = Step::of(self.seed, StepId { writer: 0, index });
            let records = self.ledger.records();
            let answer = records.get(&step.id).and_then(|record| record.answer.clone());
            drop(records);
            let Some((Answer::Appended(first), _)) = answer else { continue };
            let tag = step.parts()[0].events[0].tags()[0].clone();
            match log.append_if([NewEvent::json("Never", "{}")], no_such_tag(&tag)).wait() {
                Ok(_) => lost(format!("a condition does not see {tag}"))?,
                Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed { .. }) => {}
                Err(error) => may_refuse("append_if", &error)?,
            }
            let [part] = step.parts() else { continue };
            let (true, Some(stream)) = (step.has_ids(), &part.stream) else { continue };
            let events = part.events.iter().map(crate::step::PlannedEvent::to_new);
            match log.append(stream.as_str(), larder::Expected::Any, events).wait() {
                Ok(again) if Some(again) == first[0] => {}
                Ok(again) => lost(format!("the retry of {} answers {again:?}", step.id))?,
                Err(error) => may_refuse("retry", &error)?,
            }
        }
        Ok(())
    }

    /// The tables of which plain SQL reads a row otherwise than it was written.
    fn wrong_tables(&self, tables: &Tables) -> Vec<&'static str> {
        let is_wrong = |(table, rows): (&&'static str, &BTreeSet<String>)| {
            self.sql.get(table).is_some_and(|sound| !rows.is_subset(sound)).then_some(*table)
        };
        tables.iter().filter_map(is_wrong).collect()
    }
}

/// Which errors a damaged file may answer with.
fn may_refuse(call: &str, error: &larder::Error) -> Result<(), Violation> {
    match error.kind() {
        ErrorKind::Corrupted | ErrorKind::Incompatible | ErrorKind::Io => Ok(()),
        // What went wrong with a commit, and what every write answers afterwards.
        ErrorKind::CommitUnknown | ErrorKind::Poisoned => Ok(()),
        // A digest that no longer fits.
        ErrorKind::AlreadyExists if call == "retry" => Ok(()),
        kind => Err(Violation::of(Promise::Truthful, format!("{call} says {kind:?}: {error}"))),
    }
}
