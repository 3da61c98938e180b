//! The key-value client's harnesses at the size of a CI run: `larder-crash kv-…` runs them as long as you like.

use larder_crash::{
    Failure, Promise, fresh_seed,
    kv::{damage, faults, images, kill, reading::Checksums},
    trace::Syncs,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_larder-crash");

/// Printed before anything can go wrong.
fn announced() -> u64 {
    let seed = fresh_seed();
    println!("seed {seed}");
    seed
}

#[test]
fn nothing_acknowledged_is_lost_in_5000_images() {
    let options = images::Options::new(announced(), 5_000);
    let report = images::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    assert!(report.images >= 5_000 && report.distinct > 2_500, "{report:?}");
    assert!(report.acknowledged > 100 && report.compactions > 0 && report.torn > 100, "{report:?}");
}

#[test]
fn a_disk_that_skips_syncs_is_caught() {
    let options = images::Options {
        syncs: Syncs::Swallowed,
        count_all: true,
        lives: 1,
        ..images::Options::new(1, 1_000)
    };
    let report = images::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    let lost = report.violations.iter().filter(|found| found.promise == Promise::NothingLost).count();
    assert!(lost > 100, "only {lost} of {} violations are losses", report.violations.len());
}

#[test]
fn every_call_to_the_disk_may_fail() {
    let report =
        faults::run(&faults::Options::new(announced(), 2)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    assert!(report.faults > 500 && report.reported * 2 > report.faults, "{report:?}");
    assert!(report.refused > 20 && report.poisoned > 20 && report.failed_openings > 20, "{report:?}");
}

#[test]
fn a_disk_that_skips_syncs_and_fails_is_caught() {
    let options = faults::Options { lies: true, ..faults::Options::new(1, 1) };
    match faults::run(&options) {
        Err(Failure::Violated { violation, .. }) => {
            assert_eq!(violation.promise, Promise::NothingLost, "{violation}");
        }
        other => panic!("not caught: {other:?}"),
    }
}

#[test]
fn a_file_is_cut_and_flipped_at_every_byte() {
    let options = damage::Options { seed: announced(), rounds: 4, every: 1, checksums: Checksums::Compared };
    let report = damage::run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    assert!(report.cut > 20_000 && report.flipped > 20_000, "{report:?}");
    assert!(report.corrupted > 5_000 && report.torn > 2_000, "{report:?}");
}

#[test]
fn a_reader_that_trusts_checksums_is_caught() {
    let options = damage::Options { seed: 1, rounds: 1, every: 7, checksums: Checksums::Trusted };
    match damage::run(&options) {
        Err(Failure::Violated { violation, .. }) => {
            assert!(matches!(violation.promise, Promise::Truthful | Promise::NothingGarbled), "{violation}");
        }
        other => panic!("not caught: {other:?}"),
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_200_kills() {
    let report = kill::run(&kill::Options::new(PROGRAM, announced(), 200))
        .unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    assert_eq!(report.rounds, 200);
    assert!(report.acknowledged > 1_000 && report.killed_compacting > 5, "{report:?}");
}

#[test]
fn a_process_that_answers_early_is_caught() {
    let options = kill::Options { answers_early: true, ..kill::Options::new(PROGRAM, 1, 60) };
    match kill::run(&options) {
        Err(Failure::Violated { violation, .. }) => {
            assert_eq!(violation.promise, Promise::NothingLost, "{violation}");
        }
        other => panic!("not caught: {other:?}"),
    }
}
