//! Power cuts: what the disk may hold after one, at any call of a workload, is opened and compared.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use larder_kv::{Client, ClientOptions, Recovery};

use crate::{
    failure::Failure,
    image::{Disk, Loss},
    kv::{
        disk::RecordingDisk,
        ledger::{Answer, Found, Ledger, unusable},
    },
    random::Random,
    trace::Syncs,
    violation::{Promise, Violation},
};

/// The name of the file on the disks of this harness.
pub const WAL: &str = "node.wal";
const NODE: &str = "node-a";
/// What is tried at each call; the random ones more than once.
const WAYS: [Loss; 6] =
    [Loss::Everything, Loss::Nothing, Loss::Torn, Loss::Torn, Loss::Scattered, Loss::Scattered];

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything comes from, but for what threads decide.
    pub seed: u64,
    /// How many images are opened.
    pub images: u64,
    /// Threads that write; with 1, and without compactions beside it, a seed gives the same images each time.
    pub writers: u32,
    /// Steps of each writer in each life of a file.
    pub steps: u64,
    /// Lives of a file; each but the first begins on an image of the one before.
    pub lives: u32,
    /// What the disk does when it is told to sync.
    pub syncs: Syncs,
    /// Collects all violations instead of stopping at the first.
    pub count_all: bool,
}

impl Options {
    /// So many images, from this seed.
    #[must_use]
    pub fn new(seed: u64, images: u64) -> Self {
        Self { seed, images, writers: 3, steps: 40, lives: 4, syncs: Syncs::Recorded, count_all: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Images that were opened; the same one again only if more had been promised since.
    pub images: u64,
    /// Images unlike all others.
    pub distinct: u64,
    /// Images with a torn tail, which was cut off.
    pub torn: u64,
    /// Calls to the disk at which the power was cut.
    pub calls: u64,
    /// Files that were begun.
    pub files: u32,
    /// Steps that were answered.
    pub acknowledged: u64,
    /// Compactions that were completed.
    pub compactions: u64,
    /// What was found, if it is collected.
    pub violations: Vec<Violation>,
}

/// Files on a disk, by name.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Runs the harness.
///
/// # Errors
/// The first violation, with seed and place; the image that shows it is kept in a directory.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut seen = Seen::default();
    while report.images < options.images {
        let seed = Random::of(options.seed, u64::from(report.files)).next_u64();
        let run = Run { options, seed, ledger: Ledger::new(seed, options.writers) };
        let mut files = Files::new();
        for life in 0..options.lives {
            let lived = run.live(life, &files)?;
            report.compactions += lived.compactions;
            report.acknowledged += run.ledger.acknowledged();
            match run.cut(life, &lived, &mut report, &mut seen)? {
                Some(next) => files = next,
                None => break,
            }
        }
        report.files += 1;
    }
    report.distinct = seen.images.len() as u64;
    Ok(report)
}

/// What was opened already.
#[derive(Default)]
struct Seen {
    images: HashSet<u64>,
    /// With what was promised when the power was cut: the same image may be right before a promise and wrong after it.
    promises: HashSet<(u64, u64)>,
}

struct Run<'a> {
    options: &'a Options,
    seed: u64,
    ledger: Ledger,
}

/// One life of a file.
struct Lived {
    disk: RecordingDisk,
    /// Entries of the trace that put the files there.
    prologue: usize,
    answers_are_durable: bool,
    compactions: u64,
}

impl Run<'_> {
    /// Opens, writes from all threads with compactions beside, and mostly does not close.
    fn live(&self, life: u32, files: &Files) -> Result<Lived, Failure> {
        let mut random = Random::of(self.seed, 1_000 + u64::from(life));
        let disk = RecordingDisk::new(self.options.syncs, files);
        let prologue = disk.mark();
        let disk = disk.with_slow_syncs(Duration::from_micros([0, 20, 200][random.index(3)]));
        let answers_are_durable = !random.once_in(4);
        let mut options = client_options(&disk);
        options.auto_flush = answers_are_durable;
        options.auto_compact = random.once_in(2);
        options.compact_min_bytes = 16 << 10;
        let client = Client::open(options).wait().map_err(|error| unusable("open", &error))?;
        let compactions = self.write(&client, &disk, random.below(6))?;
        if random.once_in(4) {
            client.close().wait().map_err(|error| unusable("close", &error))?;
            self.ledger.writers().for_each(|writer| self.ledger.flushed(writer, disk.mark()));
        }
        // What a client that is dropped still does is part of the trace as well.
        drop(client);
        Ok(Lived { disk, prologue, answers_are_durable, compactions })
    }

    fn write(&self, client: &Client, disk: &RecordingDisk, compactions: u64) -> Result<u64, Failure> {
        let (ledger, writing) = (&self.ledger, AtomicUsize::new(self.options.writers as usize));
        thread::scope(|scope| {
            let writers: Vec<_> = ledger
                .writers()
                .map(|writer| {
                    let writing = &writing;
                    scope.spawn(move || {
                        let written = write_steps(client, ledger, disk, writer, self.options.steps);
                        writing.fetch_sub(1, Ordering::Release);
                        written
                    })
                })
                .collect();
            for _ in 0..compactions {
                if writing.load(Ordering::Acquire) == 0 {
                    break;
                }
                client.compact().wait().map_err(|error| unusable("compact", &error))?;
            }
            for writer in writers {
                writer.join().map_err(|_| Failure::panicked())??;
            }
            Ok::<(), Failure>(())
        })?;
        let status = client.status().map_err(|error| unusable("status", &error))?;
        Ok(status.generation.saturating_sub(1))
    }

    /// Cuts the power after every call, in every way; answers one of the images for the next life.
    fn cut(
        &self,
        life: u32,
        lived: &Lived,
        report: &mut Report,
        seen: &mut Seen,
    ) -> Result<Option<Files>, Failure> {
        let (entries, paths) = lived.disk.trace();
        let mut random = Random::of(self.seed, 2_000 + u64::from(life));
        let next = lived.prologue + random.index(entries.len() - lived.prologue + 1);
        let mut model = Disk::default();
        let mut chosen = None;
        for mark in 0..=entries.len() {
            if mark >= lived.prologue {
                report.calls += 1;
                let promised = self.ledger.promises(mark);
                for loss in WAYS {
                    let files = named(model.image(loss, &mut random), &paths);
                    let mut hasher = DefaultHasher::new();
                    (&files, self.seed, life).hash(&mut hasher);
                    seen.images.insert(hasher.finish());
                    let is_chosen = mark == next && loss == Loss::Scattered;
                    if !seen.promises.insert((hasher.finish(), promised)) && !is_chosen {
                        continue;
                    }
                    report.images += 1;
                    let checked = self.check(&files, mark, lived.answers_are_durable);
                    match checked {
                        Ok((found, recovery)) => {
                            report.torn += u64::from(recovery.cut_off > 0);
                            if is_chosen {
                                chosen = Some((found, files));
                            }
                        }
                        Err(violation) if self.options.count_all => report.violations.push(violation),
                        Err(violation) => return Err(self.kept(violation, life, mark, loss, &files)),
                    }
                }
            }
            if let Some(entry) = entries.get(mark) {
                model.apply(mark, entry);
            }
        }
        Ok(chosen.map(|(found, files)| {
            self.ledger.settle(&found);
            files
        }))
    }

    /// Opens an image, compares it, writes to it, and opens it again.
    fn check(
        &self,
        files: &Files,
        mark: usize,
        answers_are_durable: bool,
    ) -> Result<(Found, Recovery), Violation> {
        let disk = RecordingDisk::new(Syncs::Recorded, files);
        let client = open(&disk)?;
        let found = self.ledger.check(&client, mark, answers_are_durable)?;
        let recovery = client.recovery().clone();
        check_cut(files, &recovery)?;
        client.put(AFTER, "it").wait().map_err(|error| unusable("put after the crash", &error))?;
        let (keys, version) = (client.size(), version(&client)?);
        // Dropped without a close, it leaves no seal if the power fails now.
        let (entries, paths) = disk.trace();
        let mut model = Disk::default();
        entries.iter().enumerate().for_each(|(number, entry)| model.apply(number, entry));
        let durable = named(model.image(Loss::Everything, &mut Random::new(0)), &paths);
        let again = open(&RecordingDisk::new(Syncs::Recorded, &durable))?;
        if again.get(AFTER).is_err() || again.size() != keys || self::version(&again)? != version {
            let what = "a write after the recovery is not there at the next";
            return Err(Violation::of(Promise::NothingLost, what));
        }
        if again.recovery().cut_off != 0 {
            let what = format!("a tail was cut off twice: {:?}", again.recovery());
            return Err(Violation::of(Promise::Usable, what));
        }
        Ok((found, recovery))
    }

    fn kept(&self, violation: Violation, life: u32, mark: usize, loss: Loss, files: &Files) -> Failure {
        let kept = crate::scratch().map(|directory| {
            for (path, content) in files {
                // What could not be kept is missing; the violation is told all the same.
                let _ = std::fs::write(directory.path().join(path), content);
            }
            directory.keep()
        });
        let kept = kept.unwrap_or_default();
        let place = format!(
            "seed {}, file seed {}, life {life}, call {mark}, {loss:?}; kept in {}",
            self.options.seed,
            self.seed,
            kept.display()
        );
        Failure::violated(violation, place)
    }
}

const AFTER: &str = "after";

/// Has a writer do its next steps.
pub(crate) fn write_steps(
    client: &Client,
    ledger: &Ledger,
    disk: &RecordingDisk,
    writer: u32,
    steps: u64,
) -> Result<(), Violation> {
    for n in 0..steps {
        let step = ledger.submit(writer, disk.mark());
        let result = step.submit(client);
        ledger.answer(writer, Answer::of(&result), disk.mark());
        result.map_err(|error| unusable("write", &error))?;
        if n % 10 == 9 {
            client.flush().wait().map_err(|error| unusable("flush", &error))?;
            ledger.flushed(writer, disk.mark());
        }
    }
    Ok(())
}

/// Options of a client on such a disk.
pub(crate) fn client_options(disk: &RecordingDisk) -> ClientOptions {
    let mut options = ClientOptions::persistent(NODE, WAL);
    options.disk = Arc::new(disk.clone());
    options.auto_compact = false;
    options.flush_interval = Duration::from_millis(1);
    options
}

pub(crate) fn open(disk: &RecordingDisk) -> Result<Client, Violation> {
    Client::open(client_options(disk)).wait().map_err(|error| unusable("open after a crash", &error))
}

fn version(client: &Client) -> Result<u64, Violation> {
    let state = client.sync_state().map_err(|error| unusable("sync_state", &error))?;
    Ok(state.last_submitted_version)
}

/// An image, by the files' names.
pub(crate) fn named(image: BTreeMap<usize, Vec<u8>>, paths: &[PathBuf]) -> Files {
    image.into_iter().map(|(file, content)| (paths[file].clone(), content)).collect()
}

/// What was cut off is what the report says: everything after the end, up to the last byte that is not zero.
pub(crate) fn check_cut(files: &Files, recovery: &Recovery) -> Result<(), Violation> {
    let Some(content) = files.get(Path::new(WAL)) else { return Ok(()) };
    let end = usize::try_from(recovery.end).unwrap_or(usize::MAX);
    let tail = content.get(end..).unwrap_or_default();
    let cut_off = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    if recovery.cut_off != cut_off {
        let what = format!("{cut_off} bytes were cut off, the report says {recovery:?}");
        return Err(Violation::of(Promise::Truthful, what));
    }
    Ok(())
}
