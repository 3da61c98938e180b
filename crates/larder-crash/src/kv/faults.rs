//! Calls to the disk that fail: each of a workload, once and for good, and a disk that is full.

use larder_kv::{Client, Error, ErrorKind};

use crate::{
    failure::Failure,
    image::{Disk, Loss},
    kv::{
        disk::{Fault, RecordingDisk},
        images::{Files, check_cut, client_options, named, open},
        ledger::{Answer, Ledger, unusable},
    },
    random::Random,
    trace::Syncs,
    violation::{Promise, Violation},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything comes from.
    pub seed: u64,
    /// How many workloads.
    pub rounds: u32,
    /// Whether the disk gives up what a failed write was to write, and says that all is well.
    pub lies: bool,
}

impl Options {
    /// So many workloads, from this seed.
    #[must_use]
    pub fn new(seed: u64, rounds: u32) -> Self {
        Self { seed, rounds, lies: false }
    }
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Faults that were made.
    pub faults: u64,
    /// Of them, those that the client reported.
    pub reported: u64,
    /// Writes that were refused, and the client went on.
    pub refused: u64,
    /// Clients that stopped writing.
    pub poisoned: u64,
    /// Openings that failed, and worked at the second try.
    pub failed_openings: u64,
    /// Power cuts afterwards.
    pub images: u64,
}

const WRITER: u32 = 0;
const STEPS: u64 = 6;
const LIVES: u32 = 3;

/// Runs the harness.
///
/// # Errors
/// The first violation, with seed and place.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    for round in 0..options.rounds {
        let seed = Random::of(options.seed, u64::from(round)).next_u64();
        for buffered in [false, true] {
            let calls = Run::new(seed, buffered, options.lies).live(None, &mut Report::default())?;
            for full in [false, true] {
                for sticky in [false, true] {
                    for after in 0..calls {
                        let fault = Fault { after, sticky, full };
                        let run = Run::new(seed, buffered, options.lies);
                        let place =
                            format!("seed {}, round {round}, buffered {buffered}, {fault:?}", options.seed);
                        run.live(Some(fault), &mut report).map_err(|found| found.at(&place))?;
                    }
                }
            }
        }
    }
    Ok(report)
}

/// One file on a disk of its own.
struct Run {
    seed: u64,
    buffered: bool,
    disk: RecordingDisk,
    ledger: Ledger,
}

impl Run {
    fn new(seed: u64, buffered: bool, lies: bool) -> Self {
        let syncs = if lies { Syncs::Swallowed } else { Syncs::Recorded };
        let disk = RecordingDisk::new(syncs, &Files::new());
        Self { seed, buffered, disk, ledger: Ledger::new(seed, 1) }
    }

    /// A few lives with a compaction in each; answers how many calls to the disk it took.
    fn live(&self, fault: Option<Fault>, report: &mut Report) -> Result<u64, Failure> {
        self.disk.set_fault(fault);
        report.faults += u64::from(fault.is_some());
        let mut reported = false;
        for _ in 0..LIVES {
            let client = self.open(report, &mut reported)?;
            // What was found when it was opened has to stay, whatever the cache had and the disk had not.
            let found = self.check(&client, self.disk.mark())?;
            self.ledger.settle(&found);
            self.cut_power(report)?;
            reported |= self.work(&client, report)?;
            let closed = client.close().wait();
            match closed {
                Ok(()) => self.ledger.flushed(WRITER, self.disk.mark()),
                Err(error) => {
                    reported = true;
                    self.check_error(&error)?;
                }
            }
            self.cut_power(report)?;
        }
        let calls = self.disk.calls();
        self.disk.mend();
        report.reported += u64::from(reported);
        let client = open(&self.disk)?;
        self.check(&client, self.disk.mark())?;
        Ok(calls)
    }

    /// A failed opening can be tried again.
    fn open(&self, report: &mut Report, reported: &mut bool) -> Result<Client, Failure> {
        let mut options = client_options(&self.disk);
        options.auto_flush = !self.buffered;
        // Nothing happens at a moment of its own choosing.
        options.flush_interval = std::time::Duration::from_secs(3_600);
        match Client::open(options.clone()).wait() {
            Ok(client) => Ok(client),
            Err(error) => {
                self.check_error(&error)?;
                *reported = true;
                report.failed_openings += 1;
                self.disk.mend();
                Ok(Client::open(options).wait().map_err(|error| unusable("the second opening", &error))?)
            }
        }
    }

    /// Steps, a flush, and a compaction in the middle; answers whether an error was reported.
    fn work(&self, client: &Client, report: &mut Report) -> Result<bool, Violation> {
        let mut reported = false;
        for n in 0..STEPS {
            if n == STEPS / 2 {
                match client.compact().wait() {
                    // The new file was synced as a whole.
                    Ok(()) => self.ledger.flushed(WRITER, self.disk.mark()),
                    Err(error) => {
                        reported = true;
                        self.check_error(&error)?;
                    }
                }
            }
            let step = self.ledger.submit(WRITER, self.disk.mark());
            let result = step.submit(client);
            self.ledger.answer(WRITER, Answer::of(&result), self.disk.mark());
            if let Err(error) = result {
                reported = true;
                self.after_refusal(client, &step.writes, &error, report)?;
            }
            if n % 3 == 1 {
                match client.flush().wait() {
                    Ok(()) => self.ledger.flushed(WRITER, self.disk.mark()),
                    Err(error) => {
                        reported = true;
                        self.check_error(&error)?;
                    }
                }
            }
        }
        Ok(reported)
    }

    /// What was not done is not shown; a client that has not lost its file goes on, one that has says so.
    fn after_refusal(
        &self,
        client: &Client,
        writes: &[(String, crate::kv::step::Written)],
        error: &Error,
        report: &mut Report,
    ) -> Result<(), Violation> {
        self.check_error(error)?;
        for (key, value) in writes.iter().filter_map(|(key, value)| Some((key, value.as_deref()?))) {
            let found = client.find(key).map_err(|error| unusable("find after a refusal", &error))?;
            if found.is_some_and(|found| &*found == value) {
                let what = format!("{key} was answered {error}, and is shown");
                return Err(Violation::of(Promise::NothingInvented, what));
            }
        }
        let is_poisoned = client.status().map_err(|error| unusable("status", &error))?.poisoned.is_some();
        let should_be = matches!(error.kind(), ErrorKind::CommitUnknown | ErrorKind::Poisoned);
        if is_poisoned != should_be {
            let what = format!("answered {error}, poisoned: {is_poisoned}");
            return Err(Violation::of(Promise::Truthful, what));
        }
        if is_poisoned {
            report.poisoned += u64::from(*error.kind() == ErrorKind::CommitUnknown);
            return Ok(());
        }
        report.refused += 1;
        self.disk.mend();
        let step = self.ledger.submit(WRITER, self.disk.mark());
        let result = step.submit(client);
        self.ledger.answer(WRITER, Answer::of(&result), self.disk.mark());
        result.map_err(|error| unusable("a write once the disk is mended", &error))
    }

    /// Errors come after faults only, and are of the kind that tells what to do.
    fn check_error(&self, error: &Error) -> Result<(), Violation> {
        let is_expected = matches!(
            error.kind(),
            ErrorKind::Io | ErrorKind::Full | ErrorKind::CommitUnknown | ErrorKind::Poisoned
        );
        if self.disk.has_failed() && is_expected {
            return Ok(());
        }
        Err(unusable("no call had failed", error))
    }

    fn check(&self, client: &Client, mark: usize) -> Result<crate::kv::ledger::Found, Violation> {
        self.ledger.check(client, mark, !self.buffered)
    }

    /// The power fails now.
    fn cut_power(&self, report: &mut Report) -> Result<(), Violation> {
        let (entries, paths) = self.disk.trace();
        let mut model = Disk::default();
        entries.iter().enumerate().for_each(|(number, entry)| model.apply(number, entry));
        let mut random = Random::of(self.seed, entries.len() as u64);
        for loss in Loss::ALL {
            let files = named(model.image(loss, &mut random), &paths);
            let client = open(&RecordingDisk::new(Syncs::Recorded, &files))?;
            let checked = self.check(&client, entries.len());
            checked.map_err(|violation| {
                Violation::of(violation.promise, format!("{} (power cut, {loss:?})", violation.found))
            })?;
            check_cut(&files, client.recovery())?;
            report.images += 1;
        }
        Ok(())
    }
}
