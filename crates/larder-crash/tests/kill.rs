//! Kills at the size of a CI run: `larder-crash kill` runs as many rounds as you like.

use larder_crash::{
    Failure, Promise, fresh_seed,
    kill::{Options, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_larder-crash");

#[test]
fn nothing_acknowledged_is_lost_in_200_kills() {
    let seed = fresh_seed();
    println!("seed {seed}");
    let report = run(&Options::new(PROGRAM, seed, 200)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:#?}");
    assert_eq!(report.rounds, 200);
    assert!(report.acknowledged > 1_000, "{report:?}");
    assert!(report.killed_in_chores > 40, "{report:?}");
}

#[test]
fn a_store_that_answers_before_it_commits_is_caught() {
    let options = Options { answers_early: true, ..Options::new(PROGRAM, 1, 40) };
    match run(&options) {
        Err(Failure::Violated { violation, .. }) => {
            assert_eq!(violation.promise, Promise::NothingLost, "{violation}");
        }
        other => panic!("not caught: {other:?}"),
    }
}
