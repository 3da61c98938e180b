//! Items: random saves, deletes, counters, definitions, queries and pagings, on memory and on another engine.
//!
//! The oracle is also held against a plain scan: what a query names, is worked out from the items themselves.

mod broken;
mod command;
mod run;

use proptest::collection::vec;

use self::{
    broken::ItemFault,
    command::command,
    run::{Against, compare},
};
use crate::{runner, search_by, seeded, subject::Engine};

fn search(against: Against, runner: proptest::test_runner::TestRunner) -> Result<(), String> {
    search_by(vec(command(), 1..40), runner, |commands| compare(against, commands))
}

#[test]
fn memory_answers_by_definition() {
    if let Err(difference) = search(Against::Engine(Engine::Memory), runner(200, 4_000)) {
        panic!("{difference}");
    }
}

#[test]
fn sqlite_answers_as_memory() {
    if let Err(difference) = search(Against::Engine(Engine::Sqlite { merge_at: 1 << 18 }), runner(150, 4_000))
    {
        panic!("{difference}");
    }
}

/// The harness can fail: each fault is found.
#[test]
fn broken_engines_are_caught() {
    for fault in ItemFault::ALL {
        let found = search(Against::Broken(fault), seeded(2_000, 0));
        assert!(found.is_err(), "{fault:?} went unnoticed");
    }
}
