//! The oracle over two processes on one SQLite file: this test program runs itself again.
#![cfg(feature = "sqlite")]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use larder::{
    BackendConfig, BoxError, Config, Durability, Store, backend::sqlite::SqliteBackend, testing::ScratchDir,
};

use crate::{
    checker::violations,
    is_sound, outcome, puts,
    recorder::{Entry, Recorder},
    seed, workload,
};

/// Tells a child where the store is.
const STORE: &str = "LARDER_ORACLE_STORE";

pub(crate) fn backend(config: &Config) -> larder::Result<SqliteBackend> {
    let BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!("it is a file") };
    SqliteBackend::open(config, sqlite)
}

/// Where the other process tells what it did.
fn told(store: &Path) -> PathBuf {
    store.with_file_name("told.json")
}

fn open(path: &Path, process: &str) -> larder::Result<(Store, Arc<Recorder>)> {
    let config = Config::sqlite(path).durability(Durability::Buffered);
    let recorder = Arc::new(Recorder::new(Arc::new(backend(&config)?), process));
    Ok((Store::with_backend(recorder.clone()), recorder))
}

/// Does nothing unless it is run by the oracle.
#[test]
fn worker_process() -> Result<(), BoxError> {
    let Some(path) = env::var_os(STORE) else { return Ok(()) };
    let path = PathBuf::from(path);
    let (store, recorder) = open(&path, "child")?;
    // Both start together.
    std::io::stdin().read_exact(&mut [0])?;
    workload::run(&store, &recorder, seed(), puts(60))?;
    store.close().wait()?;
    fs::write(told(&path), serde_json::to_vec(&recorder.take())?)?;
    Ok(())
}

#[test]
fn processes_on_one_sqlite_file() -> Result<(), BoxError> {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let (store, recorder) = open(&path, "parent")?;
    let seed = seed();
    let mut child = Command::new(env::current_exe()?)
        .args(["--exact", "processes::worker_process", "--nocapture"])
        .env(STORE, &path)
        .env("LARDER_SEED", seed.wrapping_add(104_729).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or("it has no input")?.write_all(b"!")?;
    // This process puts and works as well.
    let ran = workload::run(&store, &recorder, seed, puts(60));
    let status = child.wait()?;
    ran?;
    assert!(status.success(), "the other process ended with {status}");
    let mut entries = recorder.take();
    entries.extend(serde_json::from_slice::<Vec<Entry>>(&fs::read(told(&path))?)?);
    let outcome = outcome(&store, entries)?;
    println!("{}", outcome.summary());
    is_sound(&violations(&outcome));
    outcome.assert_that_it_tells();
    let report = store.verify(larder::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    Ok(store.close().wait()?)
}
