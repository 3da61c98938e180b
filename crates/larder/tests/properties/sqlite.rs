//! SQLite against memory.

use std::cell::RefCell;

use proptest::{collection::vec, prelude::any};

use crate::{
    command::{Scale, command},
    peer::{self, Peer},
    run::compare_by_turns,
    runner, search, search_by,
    subject::Engine,
};

#[test]
fn sqlite_answers_as_memory() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 1 << 18 }, Scale::Small, runner(150, 4_000)) {
        panic!("{difference}");
    }
}

/// Index entries move from memory to the file in the middle of everything.
#[test]
fn sqlite_answers_as_memory_while_it_merges() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 6 }, Scale::Small, runner(150, 4_000)) {
        panic!("{difference}");
    }
}

/// What is swept, merged and read in slices takes many of them.
#[test]
fn sqlite_answers_as_memory_on_long_logs() {
    if let Err(difference) = search(Engine::Sqlite { merge_at: 3_000 }, Scale::Large, runner(10, 200)) {
        panic!("{difference}");
    }
}

/// Two processes take turns on one file.
#[test]
fn two_processes_on_one_file_answer_as_memory() {
    let lists = vec((any::<bool>(), command(Scale::Small)), 1..30);
    let peer = RefCell::new(None);
    let found = search_by(lists, runner(60, 1_000), |commands| {
        let mut running = peer.take().unwrap_or_else(|| Peer::start("sqlite::the_second_process"));
        let outcome = compare_by_turns(&mut running, commands);
        // After a difference it may be in any state: the next list gets a new one.
        peer.replace(outcome.is_ok().then_some(running));
        outcome
    });
    if let Err(difference) = found {
        panic!("{difference}");
    }
}

/// Not a test, but what the test above runs as its second process.
#[test]
fn the_second_process() {
    peer::serve();
}
