//! The oracle of workers (tb_03, tb_04): many workers handle what many put, with short leases, and handlers that fail,
//! panic, are late or die. Every commit of a bucket leaves a note in a log, in the same transaction, so that there is one
//! history of all threads and processes; a checker goes through it afterwards, and through what handlers say.
//!
//! `LARDER_SEED` replays the choices of a run (though not how the threads met), `LARDER_PUTS` makes it longer.

mod broken;
mod checker;
mod processes;
mod recorder;
mod workload;

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use larder::{
    BoxError, Config, Query, Store,
    backend::{Backend, memory::MemoryBackend},
};

use crate::{
    broken::{Broken, Fault},
    checker::{Outcome, violations},
    recorder::{Entry, Recorder},
};

const BUCKET: &str = "tasks";
/// A note of each commit of the bucket.
const NOTES: &str = "notes";
/// What handlers write together with their acknowledgement.
const EFFECTS: &str = "effects";

/// The seed of this run.
fn seed() -> u64 {
    let seed = match env::var("LARDER_SEED") {
        Ok(seed) => seed.parse().expect("LARDER_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("LARDER_SEED={seed}");
    seed
}

/// How often each thread puts.
fn puts(default: u64) -> u64 {
    env::var("LARDER_PUTS").map_or(default, |count| count.parse().expect("LARDER_PUTS is a number"))
}

/// Everything that the store shows in the end.
fn outcome(store: &Store, entries: Vec<Entry>) -> Result<Outcome, BoxError> {
    let mut outcome = Outcome { entries, ..Outcome::default() };
    for event in store.event_log(NOTES)?.query(Query::all()).each().wait_iter() {
        let event = event?;
        let at = event.recorded_at.duration_since(std::time::UNIX_EPOCH)?.as_micros();
        outcome.notes.push((event.decode()?, u64::try_from(at)?));
    }
    for event in store.event_log(EFFECTS)?.query(Query::all()).each().wait_iter() {
        outcome.effects.push(event?.decode()?);
    }
    let bucket = store.task_bucket(BUCKET)?;
    outcome.dead = bucket.dead_letters().wait()?.items;
    let stats = store.stats().wait()?;
    outcome.left = stats.task_buckets.iter().map(|bucket| bucket.triggers).sum();
    Ok(outcome)
}

/// Runs the oracle on threads of this process, and gives what was wrong.
fn oracle(inner: Arc<dyn Backend>, count: u64) -> Result<Vec<String>, BoxError> {
    let recorder = Arc::new(Recorder::new(inner, "threads"));
    let store = Store::with_backend(recorder.clone());
    workload::run(&store, &recorder, seed(), count)?;
    let outcome = outcome(&store, recorder.take())?;
    let found = violations(&outcome);
    println!("{}", outcome.summary());
    if found.is_empty() {
        outcome.assert_that_it_tells();
    }
    store.close().wait()?;
    Ok(found)
}

/// Asserts that the oracle finds nothing.
#[track_caller]
fn is_sound(found: &[String]) {
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(MemoryBackend::new(&Config::memory()))
}

#[test]
fn threads_in_memory() {
    is_sound(&oracle(memory(), puts(100)).expect("the oracle runs"));
}

#[test]
#[cfg(feature = "sqlite")]
fn threads_on_sqlite() -> Result<(), BoxError> {
    let dir = larder::testing::ScratchDir::new()?;
    let config = Config::sqlite(dir.path().join("store.db")).durability(larder::Durability::Buffered);
    is_sound(&oracle(Arc::new(processes::backend(&config)?), puts(100))?);
    let store = Store::open(config).wait()?;
    let report = store.verify(larder::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    Ok(store.close().wait()?)
}

/// What the checker says of a backend with a fault.
#[track_caller]
fn caught(fault: Fault, says: &str) {
    let found = oracle(Arc::new(Broken::new(memory(), fault)), 60).expect("the oracle runs");
    let hit = found.iter().any(|violation| violation.contains(says));
    assert!(hit, "{fault:?} was not caught as `{says}`, but as {found:#?}");
}

#[test]
fn a_backend_that_forgets_leases_is_caught() {
    caught(Fault::ForgetsLeases, "under another's lease");
}

#[test]
fn a_backend_that_forgets_keys_is_caught() {
    caught(Fault::ForgetsKeys, "before an earlier one of its key");
}

#[test]
fn a_backend_that_loses_triggers_is_caught() {
    caught(Fault::LosesTriggers, "neither acknowledged nor a dead letter");
}

#[test]
fn a_backend_that_forgets_acknowledgements_is_caught() {
    caught(Fault::ForgetsAcknowledgements, "after it was acknowledged");
}

#[test]
fn a_backend_that_answers_late_acknowledgements_is_caught() {
    caught(Fault::AnswersLateAcknowledgements, "was answered, and is not there");
}

#[test]
fn a_backend_that_retries_for_ever_is_caught() {
    caught(Fault::RetriesForEver, "is the most");
}

#[test]
fn a_backend_that_gives_up_early_is_caught() {
    caught(Fault::GivesUpEarly, "nobody gave it up");
}

#[test]
fn a_backend_that_drops_dead_letters_is_caught() {
    caught(Fault::DropsDeadLetters, "neither acknowledged nor a dead letter");
}

#[test]
fn a_backend_that_does_not_wait_is_caught() {
    caught(Fault::DoesNotWait, "before its time");
}

#[test]
fn a_backend_that_takes_leases_away_is_caught() {
    caught(Fault::TakesLeasesAway, "for no reason");
}
