//! The oracle over several processes on one SQLite file: this test program runs itself again, as a writer.
#![cfg(feature = "sqlite")]

use std::{
    env, fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use larder::{BoxError, Config, Durability, Store, testing::ScratchDir};

use crate::{attempts, checker::violations, claim::Attempt, history, run, seed};

const PROCESSES: u64 = 3;
const THREADS: u64 = 2;

/// Tells a child where the store is, who it is, and its seed.
const STORE: &str = "LARDER_ORACLE_STORE";
const NAME: &str = "LARDER_ORACLE_NAME";

/// Where a writer tells what it tried.
fn told(store: &Path, name: &str) -> PathBuf {
    store.with_file_name(format!("{name}.json"))
}

fn open(path: &Path) -> larder::Result<Store> {
    Store::open(Config::sqlite(path).durability(Durability::Buffered)).wait()
}

/// Does nothing unless it is run by the oracle.
#[test]
fn writer_process() -> Result<(), BoxError> {
    let (Some(path), Ok(name)) = (env::var_os(STORE), env::var(NAME)) else { return Ok(()) };
    let path = PathBuf::from(path);
    let store = open(&path)?;
    // All start together.
    std::io::stdin().read_exact(&mut [0])?;
    let tried = run(&store, seed(), &name, THREADS, attempts(200))?;
    store.close().wait()?;
    fs::write(told(&path, &name), serde_json::to_vec(&tried)?)?;
    Ok(())
}

fn spawn(path: &Path, name: &str, seed: u64) -> std::io::Result<Child> {
    Command::new(env::current_exe()?)
        .args(["--exact", "processes::writer_process", "--nocapture"])
        .env(STORE, path)
        .env(NAME, name)
        .env("LARDER_SEED", seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}

#[test]
fn processes_on_one_sqlite_file() -> Result<(), BoxError> {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = open(&path)?;
    let seed = seed();
    let name = |n| format!("process{n}-");
    let spawn = |n: u64| spawn(&path, &name(n), seed.wrapping_add(n * 104_729));
    let mut children = (0..PROCESSES).map(spawn).collect::<Result<Vec<_>, _>>()?;
    for child in &mut children {
        child.stdin.take().ok_or("it has no input")?.write_all(b"!")?;
    }
    // This process writes as well.
    let mut tried = run(&store, seed, "parent-", THREADS, attempts(200))?;
    for (n, mut child) in (0..).zip(children) {
        let status = child.wait()?;
        assert!(status.success(), "{} ended with {status}", name(n));
        tried.extend(serde_json::from_slice::<Vec<Attempt>>(&fs::read(told(&path, &name(n)))?)?);
    }

    let history = history(&store)?;
    let accepted = tried.iter().filter(|attempt| attempt.is_accepted()).count();
    println!("{} attempts, {accepted} accepted, {} events", tried.len(), history.len());
    let found = violations(&history, &tried);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    assert!(accepted * 10 > tried.len() && accepted * 10 < tried.len() * 9, "{accepted} of {}", tried.len());
    let report = store.verify(larder::backend::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    Ok(store.close().wait()?)
}
