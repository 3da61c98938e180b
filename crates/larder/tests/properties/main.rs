//! Property tests: random commands run on the in-memory backend and on another engine, and every answer is
//! compared, errors included.
//!
//! The in-memory backend is the oracle, so the harness also checks the oracle against itself (a query against a
//! plain scan, a failed batch against the state before it), and must find the faults of deliberately broken
//! engines.
//!
//! - `LARDER_PROPERTY_CASES=20000 cargo test -p larder --test properties` runs longer.
//! - Each test prints its seed. `PROPTEST_RNG_SEED=<seed>` with the same number of cases runs it again.
//! - A failure prints the shortest list of commands that proptest found for it.

mod command;
mod mutant;
mod run;
mod subject;

use std::{
    env,
    hash::{BuildHasher, RandomState},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};

use crate::{
    command::{Command, Scale, commands},
    mutant::Fault,
    run::compare,
    subject::Engine,
};

/// A runner for so many cases, unless the environment says otherwise, with its seed in the test's output.
fn runner(cases: u32, max_shrink_iters: u32) -> TestRunner {
    let asked = env::var("LARDER_PROPERTY_CASES").ok();
    let cases = asked.map_or(cases, |asked| asked.parse().expect("LARDER_PROPERTY_CASES is a number"));
    let mut config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(()));
    }
    if let RngSeed::Fixed(seed) = config.rng_seed {
        println!("{cases} cases; run them again with PROPTEST_RNG_SEED={seed}");
    }
    TestRunner::new(config)
}

/// Runs random commands on memory and on the engine; `Err` is the shortest list with a difference.
fn search(engine: Engine, scale: Scale, mut runner: TestRunner) -> Result<(), String> {
    let list = commands(scale).prop_map(|commands| commands.into_iter().map(Shown).collect::<Vec<_>>());
    let outcome = runner.run(&list, |commands| {
        compare(engine, commands.iter().map(|Shown(command)| command)).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, commands)) => Err(format!("{reason}\nafter {commands:#?}")),
        Err(TestError::Abort(reason)) => panic!("the test gave up: {reason}"),
    }
}

/// A command on one line.
struct Shown(Command);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[test]
fn memory_answers_as_itself() {
    if let Err(difference) = search(Engine::Memory, Scale::Small, runner(200, 4_000)) {
        panic!("{difference}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_answers_as_memory() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 1 << 18 }, Scale::Small, runner(150, 4_000)) {
        panic!("{difference}");
    }
}

/// Index entries move from memory to the file in the middle of everything.
#[cfg(feature = "sqlite")]
#[test]
fn sqlite_answers_as_memory_while_it_merges() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 6 }, Scale::Small, runner(150, 4_000)) {
        panic!("{difference}");
    }
}

/// What is swept, merged and read in slices takes many of them.
#[cfg(feature = "sqlite")]
#[test]
fn sqlite_answers_as_memory_on_long_logs() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 3_000 }, Scale::Large, runner(10, 200)) {
        panic!("{difference}");
    }
}

/// The harness can fail: each fault is found.
#[test]
fn broken_engines_are_caught() {
    for fault in Fault::ALL {
        let found = search(Engine::Broken(fault), Scale::Small, runner(2_000, 0));
        assert!(found.is_err(), "{fault:?} went unnoticed");
    }
}
