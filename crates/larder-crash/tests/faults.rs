//! Faults of the disk at the size of a CI run: `larder-crash faults` runs as many workloads as you like.

use larder_crash::{
    Failure,
    faults::{Options, Report, run},
    faulty::{Kind, Way},
    fresh_seed,
};

fn survives(options: &Options) -> Report {
    let report = run(options).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{:?} {:?}: {report:?}", options.kinds, options.ways);
    assert!(report.faults > 0, "nothing failed");
    report
}

fn seeded(kinds: &[Kind], ways: &[Way]) -> Options {
    let options = Options::new(fresh_seed(), kinds, ways);
    println!("seed {}", options.seed);
    options
}

#[test]
fn fl_01_a_failed_write_is_told_and_loses_nothing() {
    let report =
        survives(&Options { images: 2, every: 4, ..seeded(&[Kind::Write], &[Way::Once, Way::Sticky]) });
    assert!(report.nothing_written + report.unknown > 0, "{report:?}");
}

#[test]
fn fl_01_a_failed_sync_is_told_and_poisons() {
    // What a failed sync gave up is not written by a later one: hence the power cuts.
    let report =
        survives(&Options { images: 6, every: 2, ..seeded(&[Kind::Sync], &[Way::Once, Way::Sticky]) });
    assert!(report.unknown > 0 && report.poisoned >= report.unknown, "{report:?}");
}

#[test]
fn fl_01_a_full_disk_rolls_back_and_writing_works_again() {
    let report = survives(&Options { every: 4, ..seeded(&[Kind::Write], &[Way::Full]) });
    assert!(report.nothing_written > 0, "{report:?}");
    assert_eq!((report.unknown, report.poisoned), (0, 0), "{report:?}");
}

#[test]
fn fl_01_failures_around_files_lose_nothing() {
    let kinds = [Kind::Open, Kind::Truncate, Kind::Delete];
    survives(&Options { images: 4, ..seeded(&kinds, &[Way::Once, Way::Sticky]) });
}

#[test]
fn fl_01_failures_of_the_shared_index_lose_nothing() {
    survives(&seeded(&[Kind::MapShared], &[Way::Once, Way::Sticky]));
    survives(&Options { every: 8, ..seeded(&[Kind::LockShared], &[Way::Once, Way::Sticky]) });
}

#[test]
fn fl_01_failed_reads_lose_nothing() {
    survives(&Options { every: 4, ..seeded(&[Kind::Read], &[Way::Once, Way::Sticky]) });
}

#[test]
fn a_disk_that_drops_writes_is_caught() {
    let caught = run(&Options::new(1, &[Kind::Write], &[Way::Pretended]));
    assert!(matches!(caught, Err(Failure::Violated { .. })), "not caught: {caught:?}");
}
