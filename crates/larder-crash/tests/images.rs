//! Crash images at the size of a CI run: `larder-crash images` runs as many as you like.

use larder_crash::{
    Promise, fresh_seed,
    images::{Options, run},
    split::Surface,
    trace::Syncs,
};

#[test]
fn nothing_acknowledged_is_lost_in_5000_images() {
    let seed = fresh_seed();
    println!("seed {seed}");
    let report = run(&Options::new(seed, 5_000)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:?}");
    assert_eq!(report.images, 5_000);
    assert!(report.acknowledged > 500, "{report:?}");
}

#[test]
fn a_disk_that_lies_about_syncs_loses_data() {
    let options = Options { syncs: Syncs::Swallowed, count_all: true, ..Options::new(1, 200) };
    let report = run(&options).unwrap_or_else(|failure| panic!("{failure}"));
    let lost = report.violations.iter().filter(|found| found.promise == Promise::NothingLost).count();
    assert!(lost > 20, "only {lost} of {} violations are losses", report.violations.len());
}

/// Each surface, on its own, is seen to come late.
#[test]
fn a_store_that_commits_batches_in_two_is_caught() {
    for surface in Surface::ALL {
        let options = Options { splits: Some(surface), count_all: true, ..Options::new(1, 80) };
        let report = run(&options).unwrap_or_else(|failure| panic!("{failure}"));
        let torn = |promise| {
            matches!(promise, Promise::AllOrNothing | Promise::NothingLost | Promise::NothingInvented)
        };
        let found = report.violations.iter().filter(|found| torn(found.promise)).count();
        assert!(found > 0, "{surface:?} was not caught: {:?}", report.violations);
        println!("{surface:?}: {found} of {} images, such as {}", report.images, report.violations[0]);
    }
}
