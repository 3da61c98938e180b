//! Faults: each call to the disk fails once, or from then on, or the disk is full; then either the caller was
//! told the truth, or everything acknowledged is there.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use larder::{Config, ErrorKind, Expected, NewEvent, Store};
use rusqlite::{Connection, OpenFlags};

use crate::{
    check::check_contents,
    failure::Failure,
    faulty::{Fault, FaultyDisk, Kind, Way},
    images::{Marking, check_image, check_some_images},
    ledger::Ledger,
    random::Random,
    scratch,
    step::{LOG, SHARED},
    trace::{Recorder, Syncs},
    vfs::Shim,
    violation::{OrUnusable, Promise, Violation},
    writer::Writer,
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the workloads come from.
    pub seed: u64,
    /// How many workloads; each fails at every call.
    pub rounds: u32,
    /// Which calls fail.
    pub kinds: Vec<Kind>,
    /// And how.
    pub ways: Vec<Way>,
    /// Only every so-manieth call fails.
    pub every: u64,
    /// Power cuts after each fault.
    pub images: u64,
}

impl Options {
    /// Every call of these kinds, in each of these ways.
    #[must_use]
    pub fn new(seed: u64, kinds: &[Kind], ways: &[Way]) -> Self {
        Self { seed, rounds: 1, kinds: kinds.to_vec(), ways: ways.to_vec(), every: 1, images: 0 }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Workloads in which a call failed.
    pub faults: u64,
    /// Of them, those in which no caller was told: nothing was at stake.
    pub silent: u64,
    /// Calls that answered that nothing was written.
    pub nothing_written: u64,
    /// Commits whose outcome was unknown.
    pub unknown: u64,
    /// Writes refused by an instance that no longer writes.
    pub poisoned: u64,
    /// Openings that failed, and worked when tried again.
    pub failed_openings: u64,
    /// Power cuts after a fault.
    pub images: u64,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        self.silent += other.silent;
        self.nothing_written += other.nothing_written;
        self.unknown += other.unknown;
        self.poisoned += other.poisoned;
        self.failed_openings += other.failed_openings;
        self.images += other.images;
    }
}

const FILE: &str = "crash.db";
const LIVES: u32 = 2;
const STEPS_PER_LIFE: u32 = 12;
/// A sticky fault ends after so many failed steps.
const FAILURES_UNTIL_MENDED: u32 = 3;

/// Runs the harness.
///
/// # Errors
/// The first violation, with its fault.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    for round in 0..options.rounds {
        let seed = Random::of(options.seed, u64::from(round)).next_u64();
        let faults = plan(seed, options)?;
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..workers).map(|_| scope.spawn(|| work(seed, options, &faults, &next))).collect();
            workers.into_iter().try_for_each(|worker| {
                report.add(&worker.join().map_err(|_| Failure::panicked())??);
                Ok::<(), Failure>(())
            })
        })?;
    }
    Ok(report)
}

/// Runs the workload on a sound disk to learn how many calls there are, and lists the faults.
fn plan(seed: u64, options: &Options) -> Result<Vec<Fault>, Failure> {
    let counts = Run::new(seed, None)?.workload(&mut Report::default())?;
    let mut faults = Vec::new();
    for kind in &options.kinds {
        // Every run leaves out others.
        let first = Random::of(seed, *kind as u64).below(options.every.max(1));
        let step = usize::try_from(options.every.max(1)).unwrap_or(usize::MAX);
        for nth in (first..counts[*kind as usize]).step_by(step) {
            faults.extend(options.ways.iter().map(|way| Fault { kind: *kind, nth, way: *way }));
        }
    }
    Ok(faults)
}

fn work(seed: u64, options: &Options, faults: &[Fault], next: &AtomicUsize) -> Result<Report, Failure> {
    let mut report = Report::default();
    while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
        let place = format!("seed {}, workload seed {seed}, {fault:?}", options.seed);
        let run = Run::new(seed, Some(*fault))?;
        let at_place = |failure: Failure| failure.at(&place);
        run.workload(&mut report).map_err(at_place)?;
        run.check(options.images, &mut report).map_err(at_place)?;
    }
    Ok(report)
}

/// One workload on one disk.
struct Run {
    seed: u64,
    directory: tempfile::TempDir,
    recorder: Arc<Recorder>,
    disk: Arc<FaultyDisk>,
    fault: Option<Fault>,
    shim: Shim,
    ledger: Ledger,
}

impl Run {
    fn new(seed: u64, fault: Option<Fault>) -> Result<Self, Failure> {
        let recorder = Arc::new(Recorder::new(Syncs::Recorded));
        let disk = Arc::new(FaultyDisk::new(recorder.clone(), fault));
        let shim = Shim::register("larder-faults", disk.clone());
        let ledger = Ledger::default();
        Ok(Self { seed, directory: scratch()?, recorder, disk, fault, shim, ledger })
    }

    /// Opens, writes, checkpoints and closes, as far as the disk lets it; answers how many calls there were.
    fn workload(&self, report: &mut Report) -> Result<[u64; Kind::ALL.len()], Failure> {
        let path = self.directory.path().join(FILE);
        let mut told = Told::default();
        for life in 0..LIVES {
            let mut store = self.open(&path, &mut told)?;
            for index in life * STEPS_PER_LIFE..(life + 1) * STEPS_PER_LIFE {
                self.step(&mut store, &path, index, &mut told)?;
                if index % STEPS_PER_LIFE == STEPS_PER_LIFE / 2 {
                    checkpoint(&path, self.shim.name(), index);
                }
            }
            // Whatever a close cannot finish, the next opening does.
            drop(store.close().wait());
        }
        self.disk.mend();
        if self.disk.has_fired() {
            report.faults += 1;
            report.silent += u64::from(told == Told::default());
            report.nothing_written += told.nothing_written;
            report.unknown += told.unknown;
            report.poisoned += told.poisoned;
            report.failed_openings += told.failed_openings;
        }
        Ok(self.disk.counts())
    }

    fn config(&self, path: &Path) -> Config {
        Config::sqlite(path).vfs(self.shim.name()).busy_timeout(Duration::from_millis(500)).merge_at(30)
    }

    /// A failed opening can be retried: at once if the fault was for once, else when the disk is mended.
    fn open(&self, path: &Path, told: &mut Told) -> Result<Store, Violation> {
        let error = match Store::open(self.config(path)).wait() {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        told.failed_openings += 1;
        self.is_the_fault("open", &error)?;
        if !matches!(error.kind(), ErrorKind::Io | ErrorKind::Full) {
            return Err(Violation::of(Promise::Truthful, format!("opening failed with {error:?}")));
        }
        if self.fault.is_some_and(|fault| fault.way != Way::Once) {
            self.disk.mend();
        }
        Store::open(self.config(path)).wait().or_unusable("open again after a failed opening")
    }

    fn step(&self, store: &mut Store, path: &Path, index: u32, told: &mut Told) -> Result<(), Violation> {
        let witness = Marking { recorder: &self.recorder, ledger: &self.ledger };
        let mut writer = Writer::new(store, self.seed, 0).or_unusable("event_log")?;
        let Err(error) = writer.step(index, &witness) else { return Ok(()) };
        self.is_the_fault("write", &error)?;
        self.may_say(&error)?;
        match error.kind() {
            ErrorKind::CommitUnknown => {
                told.unknown += 1;
                self.is_poisoned(store, told)?;
                self.reopen(store, path, told)
            }
            ErrorKind::Poisoned => {
                told.poisoned += 1;
                self.reopen(store, path, told)
            }
            _ => {
                told.nothing_written += 1;
                told.failures += 1;
                self.reads_go_on(store)?;
                if told.failures >= FAILURES_UNTIL_MENDED {
                    self.disk.mend();
                }
                Ok(())
            }
        }
    }

    /// An error needs a cause.
    fn is_the_fault(&self, call: &str, error: &larder::Error) -> Result<(), Violation> {
        if self.disk.has_fired() { Ok(()) } else { Err(Violation::unusable(call, error)) }
    }

    /// Which errors a fault may surface as.
    fn may_say(&self, error: &larder::Error) -> Result<(), Violation> {
        let full = self.fault.is_some_and(|fault| fault.way == Way::Full);
        let allowed = match error.kind() {
            ErrorKind::Full => full,
            ErrorKind::Io | ErrorKind::CommitUnknown | ErrorKind::Poisoned => !full,
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        let fault = self.fault;
        Err(Violation::of(Promise::Truthful, format!("{fault:?} surfaced as {error}: {:?}", error.kind())))
    }

    /// After a commit of unknown outcome: writes fail, reads go on.
    fn is_poisoned(&self, store: &Store, told: &mut Told) -> Result<(), Violation> {
        let log = store.event_log(LOG).or_unusable("event_log")?;
        match log.append(SHARED, Expected::Any, [NewEvent::json("Never", "{}")]).wait() {
            Err(error) if *error.kind() == ErrorKind::Poisoned => {
                told.poisoned += 1;
                self.reads_go_on(store)
            }
            answer => Err(Violation::of(
                Promise::Truthful,
                format!("a poisoned instance answered a write: {answer:?}"),
            )),
        }
    }

    fn reads_go_on(&self, store: &Store) -> Result<(), Violation> {
        let writes_fail = self.fault.is_some_and(|fault| {
            matches!(fault.kind, Kind::Write | Kind::Sync | Kind::Truncate | Kind::Delete)
        });
        let sticks = self.fault.is_some_and(|fault| fault.way == Way::Sticky);
        if sticks && !writes_fail {
            return Ok(());
        }
        check_contents(store, &self.ledger, self.recorder.mark()).map(drop)
    }

    fn reopen(&self, store: &mut Store, path: &Path, told: &mut Told) -> Result<(), Violation> {
        self.disk.mend();
        drop(store.close().wait());
        *store = self.open(path, told)?;
        Ok(())
    }

    /// The file as it is, and what a power cut may leave of it.
    fn check(&self, images: u64, report: &mut Report) -> Result<(), Failure> {
        let trace = self.recorder.take();
        let seed = self.fault.map_or(0, |fault| fault.nth);
        report.images += check_some_images(&trace, &self.ledger, seed, images)?;
        check_image(&self.directory.path().join(FILE), &self.ledger, usize::MAX)?;
        Ok(())
    }
}

/// What callers were told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    nothing_written: u64,
    unknown: u64,
    poisoned: u64,
    failed_openings: u64,
    failures: u32,
}

/// Checkpoints as another connection would. It may fail: then it has not happened.
fn checkpoint(path: &Path, vfs: &str, index: u32) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let mode = ["RESTART", "TRUNCATE"][index as usize / STEPS_PER_LIFE as usize % 2];
    drop(Connection::open_with_flags_and_vfs(path, flags, vfs).and_then(|connection| {
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    }));
}
