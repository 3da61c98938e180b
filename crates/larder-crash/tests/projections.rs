//! Projections at the size of a CI run: `larder-crash projections` runs as many rounds as you like.

use larder_crash::{
    Failure, Promise, fresh_seed,
    projections::{Options, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_larder-crash");

#[test]
fn each_event_takes_effect_once_in_200_kills() {
    let seed = fresh_seed();
    println!("seed {seed}");
    let report = run(&Options::new(PROGRAM, seed, 200)).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:#?}");
    assert_eq!(report.rounds, 200);
    assert!(report.events > 1_000 && report.dead_letters > 10, "{report:?}");
    assert!(report.killed_behind > 10 && report.killed_early < 150, "{report:?}");
}

#[test]
fn a_checkpoint_in_a_commit_of_its_own_is_caught() {
    let options = Options { splits: true, ..Options::new(PROGRAM, 1, 60) };
    match run(&options) {
        Err(Failure::Violated { violation, .. }) => {
            assert_eq!(violation.promise, Promise::Consistent, "{violation}");
        }
        other => panic!("not caught: {other:?}"),
    }
}
