//! Property tests: random commands run on the in-memory backend and on another engine, and every answer is
//! compared, errors included.
//!
//! The in-memory backend is the oracle, so the harness also checks the oracle against itself (a query against a
//! plain scan, a failed batch against the state before it), and must find the faults of deliberately broken
//! engines.
//!
//! - `LARDER_PROPERTY_CASES=20000 cargo test -p larder --test properties` runs longer.
//! - Each test prints its seed. `PROPTEST_RNG_SEED=<seed>` with the same number of cases runs it again.
//! - A failure prints the seed again, the difference that was found first, and the shortest list of commands that
//!   proptest found for one.

mod command;
mod items;
mod mutant;
mod peer;
mod run;
mod snapshot;
mod sqlite;
mod subject;
mod world;

use std::{
    cell::RefCell,
    env,
    fmt::{self, Debug},
    hash::{BuildHasher, RandomState},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};

use crate::{
    command::{Scale, commands},
    mutant::Fault,
    run::compare,
    subject::Engine,
};

/// A runner for so many cases, unless the environment says otherwise.
fn runner(cases: u32, max_shrink_iters: u32) -> TestRunner {
    let asked = env::var("LARDER_PROPERTY_CASES").ok();
    let cases = asked.map_or(cases, |asked| asked.parse().expect("LARDER_PROPERTY_CASES is a number"));
    seeded(cases, max_shrink_iters)
}

/// A runner with its seed in the test's output.
fn seeded(cases: u32, max_shrink_iters: u32) -> TestRunner {
    let mut config = Config { cases, max_shrink_iters, failure_persistence: None, ..Config::default() };
    if matches!(config.rng_seed, RngSeed::Random) {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(()));
    }
    println!("{}", again(&config));
    TestRunner::new(config)
}

/// How to run the same cases again.
fn again(config: &Config) -> String {
    let RngSeed::Fixed(seed) = config.rng_seed else { unreachable!("every runner has a seed") };
    format!("run again with PROPTEST_RNG_SEED={seed} LARDER_PROPERTY_CASES={}", config.cases)
}

/// Runs random commands on memory and on the engine; `Err` is the shortest list with a difference.
fn search(engine: Engine, scale: Scale, runner: TestRunner) -> Result<(), String> {
    search_by(commands(scale), runner, |commands| compare(engine, commands))
}

/// Runs random lists; `Err` is the shortest one with a difference.
fn search_by<T: Debug>(
    lists: impl Strategy<Value = Vec<T>>,
    mut runner: TestRunner,
    compare: impl Fn(&[T]) -> Result<(), String>,
) -> Result<(), String> {
    let (lists, again) = (lists.prop_map(Listed), again(runner.config()));
    // A difference that comes and goes is minimised to something else: the first one is kept as it was.
    let first = RefCell::new(None);
    let found = runner.run(&lists, |Listed(list)| {
        compare(&list).map_err(|difference| {
            first.borrow_mut().get_or_insert_with(|| format!("{difference}\nafter {:?}", Listed(list)));
            TestCaseError::fail(difference)
        })
    });
    let first = first.into_inner().unwrap_or_else(|| "a panic".to_owned());
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, list)) => {
            Err(format!("{again}\n\nfirst found: {first}\n\nminimised: {reason}\nafter {list:?}"))
        }
        Err(TestError::Abort(reason)) => panic!("{again}: the test gave up: {reason}"),
    }
}

/// A list, shown with one item to a line.
struct Listed<T>(Vec<T>);

impl<T: Debug> Debug for Listed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| write!(f, "\n    {item:?}"))
    }
}

#[test]
fn memory_answers_as_itself() {
    if let Err(difference) = search(Engine::Memory, Scale::Small, runner(200, 4_000)) {
        panic!("{difference}");
    }
}

/// The harness can fail: each fault is found.
#[test]
fn broken_engines_are_caught() {
    for fault in Fault::ALL {
        let found = search(Engine::Broken(fault), Scale::Small, seeded(2_000, 0));
        assert!(found.is_err(), "{fault:?} went unnoticed");
    }
}

/// Whoever sees a failure can see it again: with the seed that it names, the same is found.
#[test]
fn a_failure_can_be_run_again() {
    let found = |seed| {
        let config = Config { cases: 500, failure_persistence: None, rng_seed: seed, ..Config::default() };
        search(Engine::Broken(Fault::IgnoresHeads), Scale::Small, TestRunner::new(config)).unwrap_err()
    };
    let failure = found(RngSeed::Fixed(7));
    assert!(
        failure.starts_with("run again with PROPTEST_RNG_SEED=7 LARDER_PROPERTY_CASES=500\n"),
        "{failure}"
    );
    assert!(failure.contains("\nfirst found: ") && failure.contains("\nminimised: "), "{failure}");
    assert_eq!(failure, found(RngSeed::Fixed(7)));
}
