//! Bit flips: whatever happens to the bytes of a stored file, no wrong event is ever returned.

use std::{
    collections::BTreeMap,
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

use larder::{
    Config, ErrorKind, Event, Item, NewEvent, Query, QueryItem, Snapshot, Store, backend::Progress,
};
use rusqlite::{Connection, OpenFlags};

use crate::{
    failure::Failure,
    items,
    ledger::{Answer, Ledger},
    random::Random,
    scratch, snapshots,
    step::{BUCKETS, LOG, Step, StepId, TYPES},
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
    /// Those in which plain SQL reads another event than was written.
    pub wrong_in_sql: u64,
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
    sql: BTreeMap<i64, SqlRow>,
    ledger: Ledger,
    seed: u64,
}

/// Notes what was answered; time does not matter.
struct Noting<'a>(&'a Ledger);

impl Witness for Noting<'_> {
    fn submitted(&self, step: &Arc<Step>, through: u64) {
        self.0.submit(step.clone(), through, 0);
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
        if let Some(error) = answers.error() {
            return Err(Failure::setup(format!("a sound store answers {error}")));
        }
        let sql = read_sql(&path)?;
        Ok(Self { bytes, answers, sql, ledger, seed })
    }

    /// Opens a damaged copy and compares what it answers.
    fn compare(&self, path: &Path, reads_raw: bool, report: &mut Report) -> Result<(), Violation> {
        report.flips += 1;
        let wrong = read_sql(path).ok().and_then(|rows| self.wrong_row(&rows));
        report.wrong_in_sql += u64::from(wrong.is_some());
        if reads_raw {
            let wrong =
                wrong.map(|place| Violation::of(Promise::NothingGarbled, format!("the row at {place}")));
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
        self.compare_guards(store, found)?;
        let Some(Ok(items)) = self.answers.items.get("all items") else { return Ok(()) };
        match items::blind_guard(store, items, |error| may_refuse("require_version", error))? {
            Some(blind) if !found => {
                Err(Violation::of(Promise::NothingLost, blind + ", and verify found nothing"))
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

    /// The place of the first row that plain SQL reads otherwise than it was written.
    fn wrong_row(&self, rows: &BTreeMap<i64, SqlRow>) -> Option<i64> {
        rows.iter().find(|(place, row)| self.sql.get(place) != Some(row)).map(|(place, _)| *place)
    }
}

/// An event as plain SQL reads it: type, payload, tags, metadata.
type SqlRow = (Option<String>, Option<Vec<u8>>, Option<String>, Option<String>);

/// Reads the events as the `sqlite3` shell shows them.
fn read_sql(path: &Path) -> rusqlite::Result<BTreeMap<i64, SqlRow>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let sql = "SELECT position, event_type, CAST(payload AS BLOB), tags, metadata FROM event_log";
    let mut statement = connection.prepare(sql)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))))?;
    rows.collect()
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

/// Everything that is asked of a store.
struct Answers {
    events: BTreeMap<String, larder::Result<Vec<Event>>>,
    numbers: BTreeMap<String, larder::Result<String>>,
    snapshots: BTreeMap<String, larder::Result<Vec<Snapshot>>>,
    items: BTreeMap<String, larder::Result<Vec<Item>>>,
}

/// How the answers of a damaged store differ.
#[derive(Debug, Default)]
struct Difference {
    failed: bool,
    missing: Option<String>,
    numbers: bool,
}

impl Difference {
    fn is_none(&self) -> bool {
        !self.failed && self.missing.is_none() && !self.numbers
    }
}

impl Answers {
    fn of(store: &Store) -> Self {
        let items = items::ask(store);
        let (events, numbers, snapshots) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut answers = Self { events, numbers, snapshots, items };
        answers.numbers.insert("logs".into(), store.logs().wait().map(|logs| format!("{logs:?}")));
        let Ok(log) = store.event_log(LOG) else { return answers };
        let mut ask = |name: String, read: larder::Read<Event>| {
            answers.events.insert(name, read.wait().map(|page| page.items));
        };
        ask("all".into(), log.query(Query::all()));
        ask("all, backwards".into(), log.query(Query::all()).descending().limit(10_000));
        for stream in ["shared", "own-0-0", "own-0-1", "own-0-2"] {
            ask(format!("stream {stream}"), log.read(stream, ..));
            ask(format!("stream {stream} from 2"), log.read(stream, 2..=5));
        }
        for bucket in 0..BUCKETS {
            let item = QueryItem::new().tag(format!("bucket:{bucket}"));
            ask(format!("bucket {bucket}"), log.query(item.clone()));
            ask(format!("bucket {bucket}, typed"), log.query(item.types([TYPES[0]])));
        }
        for event_type in TYPES {
            ask(format!("type {event_type}"), log.query(QueryItem::new().types([event_type])));
        }
        let streams = log.streams().wait().map(|page| format!("{:?}", page.items));
        answers.numbers.insert("streams".into(), streams);
        let head = log.head("shared").wait().map(|head| head.to_string());
        answers.numbers.insert("head".into(), head);
        let latest = |found: larder::Result<Option<Snapshot>>| found.map(|found| found.into_iter().collect());
        let snapshots = log.snapshots();
        answers.snapshots.insert("all snapshots".into(), snapshots::read_all(&log));
        answers.snapshots.insert("latest snapshot".into(), latest(snapshots.latest("writer-0").wait()));
        let of_schema = snapshots.latest_for("writer-0", "step").wait();
        answers.snapshots.insert("latest snapshot of a schema".into(), latest(of_schema));
        answers
    }

    fn error(&self) -> Option<String> {
        let events = self.events.values().filter_map(|answer| answer.as_ref().err());
        let numbers = self.numbers.values().filter_map(|answer| answer.as_ref().err());
        let snapshots = self.snapshots.values().filter_map(|answer| answer.as_ref().err());
        let items = self.items.values().filter_map(|answer| answer.as_ref().err());
        events.chain(numbers).chain(snapshots).chain(items).next().map(ToString::to_string)
    }

    fn compare(&self, original: &Self) -> Result<Difference, Violation> {
        let mut difference = Difference::default();
        for (question, answer) in &self.events {
            let Some(Ok(expected)) = original.events.get(question) else { continue };
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(events) => {
                    if let Some(missing) = compare_events(question, events, expected)? {
                        difference.missing = Some(missing);
                    }
                }
            }
        }
        for (question, answer) in &self.snapshots {
            let Some(Ok(expected)) = original.snapshots.get(question) else { continue };
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(found) => {
                    if let Some(wrong) = found.iter().find(|snapshot| snapshots::step_of(snapshot).is_none())
                    {
                        let what = format!("{question} answers a wrong snapshot: {wrong:?}");
                        return Err(Violation::of(Promise::NothingGarbled, what));
                    }
                    if found != expected {
                        difference.missing = Some(format!("{question}: one is missing"));
                    }
                }
            }
        }
        for (question, answer) in &self.items {
            let Some(Ok(expected)) = original.items.get(question) else { continue };
            match answer {
                // The registry's entry is not found: so are no items.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidArgument { field: "index", .. }) => {
                    difference.missing = Some(format!("{question}: {error}"));
                }
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(found) => {
                    difference.missing = items::compare(question, found, expected)?.or(difference.missing);
                }
            }
        }
        for (question, answer) in &self.numbers {
            let expected = original.numbers.get(question).and_then(|expected| expected.as_ref().ok());
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(numbers) => difference.numbers |= Some(numbers) != expected,
            }
        }
        Ok(difference)
    }
}

/// Every event returned is one of those expected, in their order; tells of the first that is missing.
fn compare_events(question: &str, events: &[Event], expected: &[Event]) -> Result<Option<String>, Violation> {
    let mut rest = expected.iter();
    let mut missing = None;
    for event in events {
        loop {
            match rest.next() {
                Some(next) if next == event => break,
                Some(next) => {
                    missing
                        .get_or_insert_with(|| format!("{question}: position {} is missing", next.position));
                }
                None => {
                    let found = format!("{question} answers a wrong event: {event:?}");
                    return Err(Violation::of(Promise::NothingGarbled, found));
                }
            }
        }
    }
    let next = rest.next().map(|next| format!("{question}: position {} is missing", next.position));
    Ok(missing.or(next))
}
