//! The oracle of concurrency (el_16): many writers append under random guards, every event carries the guards it
//! was appended under, and a checker re-verifies all of history afterwards.
//!
//! `LARDER_SEED` replays the choices of a run (though not how the threads met), `LARDER_ATTEMPTS` makes it longer.

mod broken;
mod checker;
mod claim;
mod processes;
mod workload;

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use larder::{
    BoxError, Config, Event, Query, Store,
    backend::{Backend, memory::MemoryBackend},
};

use crate::{
    broken::{Broken, Fault},
    checker::violations,
    claim::Attempt,
    workload::Writer,
};

const LOG: &str = "history";
const THREADS: u64 = 6;

/// The seed of this run.
fn seed() -> u64 {
    let seed = match env::var("LARDER_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("LARDER_SEED={seed}");
    seed
}

/// How often each writer tries.
fn attempts(default: u64) -> u64 {
    env::var("LARDER_ATTEMPTS").map_or(default, |count| count.parse().expect("LARDER_ATTEMPTS is a number"))
}

/// Runs writers on threads and gives what they tried.
fn run(store: &Store, seed: u64, name: &str, threads: u64, count: u64) -> Result<Vec<Attempt>, BoxError> {
    std::thread::scope(|scope| {
        let spawn = |thread| {
            let (store, writer) = (store.clone(), format!("{name}{thread}"));
            let seed = seed.wrapping_add(thread * 7_919);
            scope.spawn(move || Writer::new(&store, writer, seed)?.attempt(count))
        };
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a writer panicked")??);
        }
        Ok(all)
    })
}

/// All of history.
fn history(store: &Store) -> Result<Vec<Event>, BoxError> {
    Ok(store.event_log(LOG)?.query(Query::all()).each().wait_iter().collect::<larder::Result<_>>()?)
}

/// Runs the oracle on threads of this process, and gives what was wrong.
fn oracle(store: &Store, count: u64) -> Result<Vec<String>, BoxError> {
    let tried = run(store, seed(), "thread", THREADS, count)?;
    let history = history(store)?;
    let accepted = tried.iter().filter(|attempt| attempt.is_accepted()).count();
    println!("{} attempts, {accepted} accepted, {} events", tried.len(), history.len());
    let found = violations(&history, &tried);
    if found.is_empty() {
        assert!(accepted * 10 > tried.len(), "too few were accepted to tell");
        assert!(accepted * 10 < tried.len() * 9, "too few were refused to tell");
    }
    Ok(found)
}

/// Asserts that the oracle finds nothing.
#[track_caller]
fn is_sound(store: &Store, count: u64) {
    let found = oracle(store, count).expect("the oracle runs");
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn threads_in_memory() {
    is_sound(&Store::memory(), attempts(400));
}

#[test]
#[cfg(feature = "sqlite")]
fn threads_on_sqlite() {
    let dir = larder::testing::ScratchDir::new().expect("a directory");
    let config = Config::sqlite(dir.path().join("store.db")).durability(larder::Durability::Buffered);
    let store = Store::open(config).wait().expect("a store");
    is_sound(&store, attempts(400));
    let report = store.verify(larder::backend::Progress::default()).wait().expect("a report");
    assert!(report.is_sound(), "{report:?}");
    store.close().wait().expect("closed");
}

/// What the checker says of a backend with a fault.
#[track_caller]
fn caught(fault: Fault, says: &str) {
    let inner: Arc<dyn Backend> = Arc::new(MemoryBackend::new(&Config::memory()));
    let store = Store::with_backend(Arc::new(Broken::new(inner, fault)));
    let found = oracle(&store, 200).expect("the oracle runs");
    let hit = found.iter().any(|violation| violation.contains(says));
    assert!(hit, "{fault:?} was not caught as `{says}`, but as {found:#?}");
}

#[test]
fn a_backend_without_expectations_is_caught() {
    caught(Fault::IgnoresExpectations, "expected the stream at");
}

#[test]
fn a_backend_without_conditions_is_caught() {
    caught(Fault::IgnoresConditions, "its condition was violated by");
}

#[test]
fn a_backend_that_checks_first_and_writes_later_is_caught() {
    caught(Fault::ChecksThenWrites, "its condition was violated by");
    caught(Fault::ChecksThenWrites, "expected the stream at");
}

#[test]
fn a_backend_that_forgets_ids_is_caught() {
    caught(Fault::ForgetsIds, "was written twice");
}

#[test]
fn a_backend_that_loses_an_append_is_caught() {
    caught(Fault::LosesAppends, "was acknowledged but is not there");
}

#[test]
fn a_backend_that_refuses_after_writing_is_caught() {
    caught(Fault::RefusesAfterWriting, "was refused but is there");
}

#[test]
fn a_backend_that_splits_appends_is_caught() {
    caught(Fault::SplitsAppends, "is not in one piece");
}

#[test]
fn a_backend_that_refuses_for_no_reason_is_caught() {
    caught(Fault::InventsConflicts, "was refused for no reason");
}

#[test]
fn a_backend_that_is_busy_is_caught() {
    caught(Fault::IsBusy, "neither accepted nor refused by a guard");
}
