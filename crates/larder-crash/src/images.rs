//! Crash images: what the disk may hold after a power cut at any moment is reopened and compared with what was
//! acknowledged by then.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use larder::{
    BackendConfig, Clock, Config, Store, SystemClock, backend::sqlite::SqliteBackend, testing::ManualClock,
};
use rusqlite::{Connection, OpenFlags};

use crate::{
    after::check_writable,
    check::{check_contents, check_sound},
    failure::Failure,
    image::{Disk, Loss, fingerprint, write_image},
    ledger::{Answer, Ledger},
    random::Random,
    scratch,
    split::{SplitBatches, Surface},
    step::{Step, StepId},
    trace::{Recorder, Syncs, Trace},
    vfs::Shim,
    violation::{OrUnusable, Violation},
    writer::{Witness, Writer},
};

/// The store's file in a recorded workload and in its images.
const FILE: &str = "crash.db";

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything comes from.
    pub seed: u64,
    /// How many images, all different.
    pub images: u64,
    /// Threads that write at once. With 1, a seed gives the same trace each time.
    pub writers: u32,
    /// Whether the disk lies about syncs.
    pub syncs: Syncs,
    /// The mutant: this part of each batch is committed after the rest.
    pub splits: Option<Surface>,
    /// Go on after a violation, and count them all.
    pub count_all: bool,
}

impl Options {
    /// This many images, from this seed.
    #[must_use]
    pub fn new(seed: u64, images: u64) -> Self {
        Self { seed, images, writers: 4, syncs: Syncs::Recorded, splits: None, count_all: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// How many workloads were recorded.
    pub workloads: u64,
    /// How many calls to the disk they made.
    pub entries: u64,
    /// How many of their steps were acknowledged.
    pub acknowledged: u64,
    /// How many different images were reopened and checked.
    pub images: u64,
    /// The violations, if they are counted.
    pub violations: Vec<Violation>,
}

/// Images made of one recorded workload.
const IMAGES_PER_WORKLOAD: u64 = 500;
/// When images are opened.
const LATER: Duration = Duration::from_secs(2 * 3_600);
const PHASES: u32 = 3;
const STEPS_PER_PHASE: u32 = 14;

/// Runs the harness.
///
/// # Errors
/// The first violation, with the image that shows it kept in a directory.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    while report.images < options.images {
        let quota = IMAGES_PER_WORKLOAD.min(options.images - report.images);
        let seed = Random::of(options.seed, report.workloads).next_u64();
        let workload = record(seed, options)?;
        report.workloads += 1;
        report.entries += workload.trace.entries.len() as u64;
        report.acknowledged += workload.ledger.acknowledged(usize::MAX) as u64;
        let checked = check_images(&workload, seed, quota, options, &mut report.violations)?;
        if checked == 0 {
            return Err(Failure::setup("a workload made no images"));
        }
        report.images += checked;
    }
    Ok(report)
}

struct Workload {
    trace: Trace,
    ledger: Ledger,
}

/// Notes what is submitted and answered, and how far the trace was by then.
pub(crate) struct Marking<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) ledger: &'a Ledger,
}

impl Witness for Marking<'_> {
    fn submitted(&self, step: &Arc<Step>, target: u64) {
        self.ledger.submit(step.clone(), target, self.recorder.mark());
    }

    fn answered(&self, id: StepId, answer: &Answer) {
        self.ledger.answer(id, answer.clone(), self.recorder.mark());
    }
}

/// Lets writers loose on a store on the recording VFS, through a few lives of the store.
fn record(seed: u64, options: &Options) -> Result<Workload, Failure> {
    let recorder = Arc::new(Recorder::new(options.syncs));
    let shim = Shim::register("larder-record", recorder.clone());
    let directory = scratch()?;
    let path = directory.path().join(FILE);
    let ledger = Ledger::default();
    let witness = Marking { recorder: &recorder, ledger: &ledger };
    for phase in 0..PHASES {
        let config = Config::sqlite(&path).vfs(shim.name());
        // Every other workload is long enough for the index of tags to be merged.
        let config = if seed.is_multiple_of(2) { config.merge_at(50) } else { config };
        let store = open(config, options).or_unusable("open")?;
        let steps = phase * STEPS_PER_PHASE..(phase + 1) * STEPS_PER_PHASE;
        let mut random = Random::of(seed, u64::from(phase));
        thread::scope(|scope| {
            let writers: Vec<_> = (0..options.writers)
                .map(|number| {
                    let (store, steps, witness) = (&store, steps.clone(), &witness);
                    scope.spawn(move || write(store, seed, number, steps, witness))
                })
                .collect();
            if options.writers > 1 {
                checkpoints(&path, shim.name(), &mut random)?;
            }
            writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| Failure::panicked())?)
        })?;
        if options.writers == 1 {
            checkpoints(&path, shim.name(), &mut random)?;
        }
        store.close().wait().or_unusable("close")?;
    }
    ledger.check_answers()?;
    Ok(Workload { trace: recorder.take(), ledger })
}

fn open(config: Config, options: &Options) -> larder::Result<Store> {
    match (&config.backend, options.splits) {
        (BackendConfig::Sqlite(sqlite), Some(later)) => {
            let inner = Arc::new(SqliteBackend::open(&config, sqlite)?);
            Ok(Store::with_backend(Arc::new(SplitBatches { inner, later })))
        }
        _ => Store::open(config).wait(),
    }
}

fn write(
    store: &Store,
    seed: u64,
    number: u32,
    steps: std::ops::Range<u32>,
    witness: &dyn Witness,
) -> Result<(), Failure> {
    let mut writer = Writer::new(store, seed, number).or_unusable("event_log")?;
    for index in steps {
        writer.step(index, witness).or_unusable("write")?;
    }
    Ok(())
}

/// Checkpoints as another connection would: the workload is too small for the store to see a reason.
fn checkpoints(path: &Path, vfs: &str, random: &mut Random) -> Result<(), Failure> {
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::SQLITE_OPEN_READ_WRITE, vfs)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    for _ in 0..3 {
        thread::sleep(Duration::from_micros(random.below(4_000)));
        let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][random.index(4)];
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// One image to check: a directory's files, and how far the trace was.
struct Job {
    point: usize,
    loss: Loss,
    image: BTreeMap<usize, Vec<u8>>,
}

/// Makes `quota` different images of a workload and checks them; answers how many there were.
fn check_images(
    workload: &Workload,
    seed: u64,
    quota: u64,
    options: &Options,
    violations: &mut Vec<Violation>,
) -> Result<u64, Failure> {
    let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
    let (sender, receiver) = sync_channel::<Job>(workers * 2);
    let (receiver, checked) = (Arc::new(Mutex::new(receiver)), AtomicU64::new(0));
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| {
                let (receiver, checked, found) = (receiver.clone(), &checked, &found);
                scope.spawn(move || work(workload, seed, options, &receiver, checked, found))
            })
            .collect();
        // When every worker has found a violation, nobody takes an image any more.
        drop(receiver);
        let mut seen = HashSet::new();
        let mut made = 0;
        for round in 0..40 {
            let Workload { trace, ledger } = workload;
            made += make_images(trace, ledger, seed ^ round, quota - made, &mut seen, &mut |job| {
                sender.send(job).is_ok()
            });
            if made >= quota || workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        drop(sender);
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| Failure::panicked())?)
    })?;
    violations.append(&mut found.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(checked.into_inner())
}

/// Goes through the trace once, and makes about `quota` images that are not in `seen`.
fn make_images(
    trace: &Trace,
    ledger: &Ledger,
    seed: u64,
    quota: u64,
    seen: &mut HashSet<(u64, usize)>,
    send: &mut dyn FnMut(Job) -> bool,
) -> u64 {
    let entries = &trace.entries;
    let candidates = (entries.len() * Loss::ALL.len()) as u64;
    let (mut disk, mut made) = (Disk::default(), 0);
    let mut random = Random::new(seed);
    for (number, entry) in entries.iter().enumerate() {
        disk.apply(number, entry);
        for loss in Loss::ALL {
            // Half as many again, since some are like others.
            if made >= quota || random.below(candidates) >= quota + quota / 2 {
                continue;
            }
            let point = number + 1;
            let image = disk.image(loss, &mut random);
            if seen.insert((fingerprint(&image), ledger.acknowledged(point))) {
                made += 1;
                if !send(Job { point, loss, image }) {
                    return made;
                }
            }
        }
    }
    made
}

fn work(
    workload: &Workload,
    seed: u64,
    options: &Options,
    jobs: &Mutex<Receiver<Job>>,
    checked: &AtomicU64,
    found: &Mutex<Vec<Violation>>,
) -> Result<(), Failure> {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return Ok(()) };
        let directory = scratch()?;
        write_image(&workload.trace, &job.image, directory.path())?;
        let result = check_image(&directory.path().join(FILE), &workload.ledger, job.point);
        checked.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(()) => {}
            Err(violation) if options.count_all => {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
            }
            Err(violation) => {
                // As it was: the check has written to it.
                let kept = scratch()?.keep();
                write_image(&workload.trace, &job.image, &kept)?;
                let place = format!(
                    "workload seed {seed}, after {} of {} disk calls, loss {:?}; seed {}; image kept in {}",
                    job.point,
                    workload.trace.entries.len(),
                    job.loss,
                    options.seed,
                    kept.display()
                );
                return Err(Failure::violated(violation, place));
            }
        }
    }
}

/// Checks this many images from anywhere in a trace, and answers how many there were.
pub(crate) fn check_some_images(
    trace: &Trace,
    ledger: &Ledger,
    seed: u64,
    quota: u64,
) -> Result<u64, Failure> {
    let mut jobs = Vec::new();
    let mut keep = |job: Job| {
        jobs.push(job);
        true
    };
    make_images(trace, ledger, seed, quota, &mut HashSet::new(), &mut keep);
    for job in &jobs {
        let directory = scratch()?;
        write_image(trace, &job.image, directory.path())?;
        check_image(&directory.path().join(FILE), ledger, job.point).map_err(|violation| {
            let place =
                format!("power cut after {} disk calls, loss {:?}, image seed {seed}", job.point, job.loss);
            Violation::of(violation.promise, format!("{} [{place}]", violation.found))
        })?;
    }
    Ok(jobs.len() as u64)
}

/// Reopens an image with the operating system's VFS, and compares.
pub(crate) fn check_image(path: &Path, ledger: &Ledger, point: usize) -> Result<(), Violation> {
    // So late that every lease has run out.
    let clock = ManualClock::starting_at(SystemClock.now() + LATER);
    let config = Config::sqlite(path).clock(Arc::new(clock));
    let store = Store::open(config).wait().or_unusable("open an image")?;
    let contents = check_contents(&store, ledger, point)?;
    check_sound(&store)?;
    check_writable(&store, ledger, point, &contents)?;
    check_sound(&store)?;
    store.close().wait().or_unusable("close")
}
