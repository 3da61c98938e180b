//! A file that is cut, or flipped, at every byte, against a [reading](super::reading) of it that shares no code with the client's.

use std::{collections::BTreeMap, path::PathBuf};

use larder_kv::{Client, ErrorKind};

use crate::{
    failure::Failure,
    kv::{
        disk::RecordingDisk,
        images::{Files, WAL, check_cut, client_options},
        ledger::unusable,
        reading::{Checksums, Reading, read},
        step::{State, Step},
    },
    random::Random,
    trace::Syncs,
    violation::{Promise, Violation},
};

/// How to run the harness.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the workloads come from.
    pub seed: u64,
    /// How many files.
    pub rounds: u32,
    /// Damages only every so-manieth byte.
    pub every: usize,
    /// How the second reading takes checksums.
    pub checksums: Checksums,
}

/// What a run has seen.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Files that were cut short.
    pub cut: u64,
    /// Files with a damaged byte.
    pub flipped: u64,
    /// Of all, those that were refused as corrupted.
    pub corrupted: u64,
    /// Of all, those with a tail that was cut off.
    pub torn: u64,
}

/// Runs the harness.
///
/// # Errors
/// The first violation, with seed and place.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    for round in 0..options.rounds {
        // Closed or not, compacted or not: what vouches for what is different each time.
        let (closed, compacted) = (round % 2 == 1, round % 4 >= 2);
        let bytes = file(Random::of(options.seed, u64::from(round)).next_u64(), closed, compacted)?;
        let place = |what: String| format!("seed {}, round {round}, {what}", options.seed);
        for length in (0..bytes.len()).step_by(options.every) {
            let cut = &bytes[..length];
            let checked = if length == 0 { Ok(()) } else { check(cut, options.checksums, &mut report) };
            checked.map_err(|found| Failure::from(found).at(&place(format!("cut at {length}"))))?;
            report.cut += 1;
        }
        for at in (0..bytes.len()).step_by(options.every) {
            let pattern = [0x01, 0x80, 0xff, 0x24][round as usize % 4];
            let mut flipped = bytes.clone();
            flipped[at] ^= pattern;
            let checked = check(&flipped, options.checksums, &mut report);
            checked.map_err(|found| {
                Failure::from(found).at(&place(format!("byte {at} flipped by {pattern:#04x}")))
            })?;
            report.flipped += 1;
        }
    }
    Ok(report)
}

/// A file of some steps; if it is not closed, with zeros after its end as a crash leaves them.
fn file(seed: u64, closed: bool, compacted: bool) -> Result<Vec<u8>, Violation> {
    let disk = RecordingDisk::new(Syncs::Recorded, &Files::new());
    let client = open(&disk)?;
    for number in 0..14 {
        let mut step = Step::of(seed, 0, number);
        for value in step.writes.iter_mut().filter_map(|(_, value)| value.as_mut()) {
            value.truncate(60);
        }
        step.submit(&client).map_err(|error| unusable("write", &error))?;
        if compacted && number == 6 {
            client.compact().wait().map_err(|error| unusable("compact", &error))?;
        }
    }
    if closed {
        client.close().wait().map_err(|error| unusable("close", &error))?;
    }
    let mut bytes = disk.files().remove(&PathBuf::from(WAL)).unwrap_or_default();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(8);
    bytes.truncate(if closed { bytes.len() } else { end + 40 });
    Ok(bytes)
}

fn open(disk: &RecordingDisk) -> Result<Client, Violation> {
    Client::open(client_options(disk)).wait().map_err(|error| unusable("open", &error))
}

/// Opens the file and compares it; then writes to it, and opens it again.
fn check(bytes: &[u8], checksums: Checksums, report: &mut Report) -> Result<(), Violation> {
    let files = Files::from([(PathBuf::from(WAL), bytes.to_vec())]);
    let disk = RecordingDisk::new(Syncs::Recorded, &files);
    let opened = Client::open(client_options(&disk)).wait();
    let client = match (read(bytes, checksums), opened) {
        (Reading::NoHeader, Err(error))
            if matches!(error.kind(), ErrorKind::Corrupted { .. } | ErrorKind::Incompatible) =>
        {
            report.corrupted += 1;
            return unchanged(&disk, &files);
        }
        (Reading::Corrupted(offset), Err(error)) if *error.kind() == (ErrorKind::Corrupted { offset }) => {
            report.corrupted += 1;
            return unchanged(&disk, &files);
        }
        (Reading::Contents(state, frames), Ok(client)) => {
            compare(&client, &state)?;
            if client.recovery().frames != frames {
                let what = format!("{frames} sound frames, the report says {:?}", client.recovery());
                return Err(Violation::of(Promise::Truthful, what));
            }
            client
        }
        (expected, opened) => {
            let what = format!("expected {expected:?}, got {:?}", opened.map(|client| client.size()));
            return Err(Violation::of(Promise::Truthful, what));
        }
    };
    check_cut(&files, client.recovery())?;
    report.torn += u64::from(client.recovery().cut_off > 0);
    client.put("after", "it").wait().map_err(|error| unusable("put after the damage", &error))?;
    let size = client.size();
    drop(client);
    let again = open(&disk)?;
    if again.size() != size || again.get("after").is_err() || again.recovery().cut_off > 0 {
        let what = format!("after the next opening: {:?}", again.recovery());
        return Err(Violation::of(Promise::NothingLost, what));
    }
    Ok(())
}

/// A file that is refused is left as it is.
fn unchanged(disk: &RecordingDisk, files: &Files) -> Result<(), Violation> {
    if disk.files() == *files {
        return Ok(());
    }
    Err(Violation::of(Promise::Truthful, "the file was refused, and changed"))
}

fn compare(client: &Client, state: &State) -> Result<(), Violation> {
    let entries = client.scan("").map_err(|error| unusable("scan", &error))?;
    let found: BTreeMap<String, Vec<u8>> =
        entries.map(|entry| (entry.key.to_string(), entry.value.to_vec())).collect();
    let visible = state.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    if visible.eq(found.iter()) {
        return Ok(());
    }
    let keys: Vec<_> = found.keys().collect();
    Err(Violation::of(Promise::NothingGarbled, format!("the sound frames do not add up to {keys:?}")))
}
