//! Bit flips at the size of a CI run: `larder-crash flips` damages as many files as you like.

use larder_crash::{
    Failure, Promise,
    flips::{Options, run},
    fresh_seed,
};

#[test]
fn fl_02_nothing_wrong_is_ever_returned() {
    let seed = fresh_seed();
    println!("seed {seed}");
    let report = run(&Options { rounds: 2, ..Options::new(seed, 1_200) }).unwrap_or_else(|f| panic!("{f}"));
    println!("{report:#?}");
    assert_eq!(report.flips, 2_400);
    // Where plain SQL reads something else than was written, the store had to tell.
    assert!(report.wrong_in_sql > 100, "{report:?}");
    for table in ["event", "snapshot", "item", "task_object"] {
        assert!(report.wrong_by_table.contains_key(table), "no row of {table} was damaged: {report:?}");
    }
    assert!(report.failed_reads > 100 && report.refused > 0, "{report:?}");
}

#[test]
fn a_reader_that_compares_no_checksums_is_caught() {
    match run(&Options { reads_raw: true, ..Options::new(1, 500) }) {
        Err(Failure::Violated { violation, .. }) => assert_eq!(violation.promise, Promise::NothingGarbled),
        other => panic!("not caught: {other:?}"),
    }
}
