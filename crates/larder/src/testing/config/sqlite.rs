//! Cases of opening a SQLite file: cf_01 to cf_07.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    config::{Config, Durability},
    error::{Error, ErrorKind},
    query::Query,
    store::Store,
    testing::{
        config::{backend_name, logged},
        fixture::{Fixture, ScratchDir},
        process,
        support::{CaseResult, everything, next, numbered, orders, refused},
    },
};

/// A URL of this file with these flags.
pub(super) fn url(path: &Path, flags: &str) -> String {
    format!("sqlite:{}{flags}", path.display())
}

/// How many events there are.
pub(super) fn count(store: &Store) -> crate::Result<usize> {
    Ok(everything(&orders(store)?)?.len())
}

/// Opens, appends as many events to stream `s`, closes.
pub(super) fn fill(path: &Path, events: u64) -> crate::Result<()> {
    let store = Store::open(Config::sqlite(path)).wait()?;
    orders(&store)?.append("s", 0, numbered(events)).wait()?;
    store.close().wait()
}

pub(in crate::testing) fn cf_01_sqlite_urls(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("a b é.db");
    let store = Store::open(url(&path, "")).wait()?;
    assert_eq!(backend_name(&store)?, format!("sqlite ({})", path.display()));
    store.close().wait()?;
    assert!(path.is_file());

    let flags = "?durability=buffered&busy_timeout=50";
    let store = Store::open(url(&path, flags)).wait()?;
    assert_eq!(count(&store)?, 1, "it is the same store");
    store.close().wait()?;
    let store = Store::open(url(&path, "?durability=flushed&mode=ro")).wait()?;
    assert_eq!(count(&store)?, 1);
    refused!(orders(&store)?.append("s", 0, numbered(1)).wait(), ErrorKind::ReadOnly);
    Ok(())
}

pub(in crate::testing) fn cf_01_url_and_code_say_the_same(_: &dyn Fixture) -> CaseResult {
    let config: Config = "sqlite:x/y.db?reset&durability=buffered&busy_timeout=70".parse()?;
    let same = Config::sqlite("x/y.db")
        .reset_on_start(true)
        .durability(Durability::Buffered)
        .busy_timeout(Duration::from_millis(70));
    assert_eq!(config.backend, same.backend);
    let config: Config = "sqlite:x/y.db?mode=ro&durability=flushed".parse()?;
    assert_eq!(config.backend, Config::sqlite("x/y.db").read_only(true).backend);
    assert_eq!("sqlite:x/y.db?".parse::<Config>()?.backend, Config::sqlite("x/y.db").backend);
    Ok(())
}

pub(in crate::testing) fn cf_01_the_parent_directory_is_created(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("not/yet/there/store.db");
    fill(&path, 1)?;
    assert!(path.is_file());
    Ok(())
}

pub(in crate::testing) fn cf_02_the_environment_names_a_file(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (first, second) = (dir.path().join("first.db"), dir.path().join("second.db"));
    let settings = [
        ("larder", vec![("LARDER_BACKEND", &first)], &first),
        ("reventless", vec![("REVENTLESS_LOCAL_BACKEND", &second)], &second),
        ("both", vec![("LARDER_BACKEND", &first), ("REVENTLESS_LOCAL_BACKEND", &second)], &first),
    ];
    for (role, variables, expected) in settings {
        process::in_process(
            role,
            |command| {
                command.env_remove("LARDER_BACKEND").env_remove("REVENTLESS_LOCAL_BACKEND");
                for (name, path) in &variables {
                    command.env(name, url(path, ""));
                }
                command.env("LARDER_TESTING_EXPECTED", expected);
            },
            || {
                let expected = PathBuf::from(std::env::var_os("LARDER_TESTING_EXPECTED").ok_or("unset")?);
                let store = Store::from_env().wait()?;
                assert_eq!(backend_name(&store)?, format!("sqlite ({})", expected.display()));
                assert!(expected.is_file());
                Ok(store.close().wait()?)
            },
        )?;
    }
    Ok(())
}

pub(in crate::testing) fn cf_03_reset_wipes_at_every_open(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 3)?;
    for _ in 0..2 {
        let store = Store::open(url(&path, "?reset")).wait()?;
        let log = orders(&store)?;
        assert_eq!((count(&store)?, log.head("s").wait()?, store.logs().wait()?), (0, 0, vec![]));
        let appended = log.append("s", 0, numbered(2)).wait()?;
        assert_eq!(appended.first_position.get(), 1, "a wiped store starts anew");
        store.close().wait()?;
    }
    let store = Store::open(Config::sqlite(&path).reset_on_start(true)).wait()?;
    assert_eq!(count(&store)?, 0, "in code, too");
    Ok(())
}

pub(in crate::testing) fn cf_03_without_reset_everything_survives(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 3)?;
    for _ in 0..2 {
        let store = Store::open(url(&path, "")).wait()?;
        assert_eq!(count(&store)?, 3);
        store.close().wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn cf_03_a_foreign_database_is_refused(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("theirs.db");
    let theirs = Connection::open(&path)?;
    theirs.execute_batch("CREATE TABLE bird (name); INSERT INTO bird VALUES ('owl');")?;
    theirs.close().map_err(|(_, error)| error)?;
    let before = fs::read(&path)?;
    for flags in ["", "?reset", "?mode=ro"] {
        let error = refused!(Store::open(url(&path, flags)).wait(), ErrorKind::Incompatible);
        assert!(error.hint().is_some_and(|hint| hint.contains("larder import")), "{error:?}");
    }
    assert!(fs::read(&path)? == before, "it was not touched");
    assert_eq!(dir.names()?, ["theirs.db"], "nor was anything left beside it");
    Ok(())
}

pub(in crate::testing) fn cf_03_a_file_that_is_no_database_is_refused(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("notes.txt");
    let text = "not a database\n".repeat(1_000);
    fs::write(&path, &text)?;
    for flags in ["", "?reset", "?mode=ro"] {
        refused!(Store::open(url(&path, flags)).wait(), ErrorKind::Incompatible);
    }
    assert_eq!(fs::read_to_string(&path)?, text);
    Ok(())
}

pub(in crate::testing) fn cf_03_a_newer_version_is_refused(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 3)?;
    let connection = Connection::open(&path)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    assert!(version > 0);
    connection.pragma_update(None, "user_version", version + 1)?;
    connection.close().map_err(|(_, error)| error)?;
    for flags in ["", "?reset", "?mode=ro"] {
        let error = refused!(Store::open(url(&path, flags)).wait(), ErrorKind::Incompatible);
        assert!(format!("{error} {:?}", error.hint()).contains("version"), "{error:?}");
    }
    let connection = Connection::open(&path)?;
    connection.pragma_update(None, "user_version", version)?;
    connection.close().map_err(|(_, error)| error)?;
    assert_eq!(count(&Store::open(url(&path, "")).wait()?)?, 3, "nothing was done to it");
    Ok(())
}

pub(in crate::testing) fn cf_04_one_line_names_the_file(_: &dyn Fixture) -> CaseResult {
    logged("file", |lines| {
        let dir = ScratchDir::new()?;
        let path = dir.path().join("store.db");
        let store = Store::open(url(&path, "?durability=buffered")).wait()?;
        backend_name(&store)?;
        store.close().wait()?;
        let plain = format!("backend: sqlite ({})", path.display());
        assert_eq!(lines.all(), [plain.as_str()]);
        let store = Store::open(url(&path, "?busy_timeout=9&reset")).wait()?;
        backend_name(&store)?;
        let reset = format!("backend: sqlite ({}, resetOnStart)", path.display());
        assert_eq!(lines.all(), [plain, reset]);
        Ok(())
    })
}

pub(in crate::testing) fn cf_04_a_failed_open_names_no_backend(_: &dyn Fixture) -> CaseResult {
    logged("failed", |lines| {
        let dir = ScratchDir::new()?;
        refused!(Store::open(url(&dir.path().join("x.db"), "?mode=ro")).wait(), ErrorKind::NotFound);
        assert_eq!(lines.all(), Vec::<String>::new());
        Ok(())
    })
}

/// A path below something that is not a directory, and what has to go for it to work.
fn obstructed(dir: &ScratchDir) -> io::Result<(PathBuf, PathBuf)> {
    let obstacle = dir.path().join("obstacle");
    fs::write(&obstacle, "a file")?;
    Ok((obstacle.join("store.db"), obstacle))
}

pub(in crate::testing) fn cf_05_a_failed_open_can_be_retried(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (path, obstacle) = obstructed(&dir)?;
    for _ in 0..2 {
        refused!(Store::open(Config::sqlite(&path)).wait(), ErrorKind::Io);
    }
    fs::remove_file(obstacle)?;
    fill(&path, 1)?;
    Ok(())
}

pub(in crate::testing) fn cf_05_a_clean_close_leaves_one_file(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    for events in [0, 2_000] {
        let store = Store::open(Config::sqlite(&path)).wait()?;
        orders(&store)?.append("s", 0, numbered(events)).wait()?;
        assert_eq!(count(&store)? as u64, events);
        store.close().wait()?;
        assert_eq!(dir.names()?, ["store.db"]);
    }
    Ok(())
}

pub(in crate::testing) fn cf_05_dropping_without_closing_keeps_the_file_usable(
    _: &dyn Fixture,
) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    for n in 0..5 {
        let store = Store::open(Config::sqlite(&path)).wait()?;
        assert_eq!(orders(&store)?.append("s", n, numbered(1)).wait()?.last_seq_nr, n + 1);
    }
    Ok(())
}

pub(in crate::testing) fn cf_06_lazy_touches_nothing(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("sub/store.db");
    let store = Store::lazy(url(&path, ""))?;
    let log = orders(&store)?;
    let write = log.append("s", 0, numbered(1));
    let read = log.read("s", ..);
    let live = log.subscribe(Query::all());
    drop((read, live));
    assert!(dir.names()?.is_empty(), "no file, no directory");
    write.wait()?;
    assert!(path.is_file());
    Ok(())
}

pub(in crate::testing) fn cf_06_the_next_operation_tries_again(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (path, obstacle) = obstructed(&dir)?;
    let store = Store::lazy(Config::sqlite(&path))?;
    let log = orders(&store)?;
    refused!(log.append("s", 0, numbered(1)).wait(), ErrorKind::Io);
    refused!(log.head("s").wait(), ErrorKind::Io);
    let errors: Vec<Error> =
        crate::testing::support::in_parallel(4, |_| Ok(refused!(log.info().wait(), ErrorKind::Io)))?;
    assert_eq!(errors.len(), 4, "everybody who waits is told");
    fs::remove_file(obstacle)?;
    assert_eq!(log.append("s", 0, numbered(1)).wait()?.last_seq_nr, 1);
    Ok(())
}

pub(in crate::testing) fn cf_06_a_subscription_tries_again_too(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (path, obstacle) = obstructed(&dir)?;
    let log = orders(&Store::lazy(Config::sqlite(&path))?)?;
    let mut events = log.subscribe(Query::all());
    for _ in 0..2 {
        refused!(events.try_next().wait(), ErrorKind::Io);
    }
    fs::remove_file(obstacle)?;
    log.append("s", 0, numbered(1)).wait()?;
    assert_eq!(next(&mut events)?.seq_nr, 1);
    Ok(())
}

pub(in crate::testing) fn cf_05_closing_while_it_opens(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    for _ in 0..20 {
        let store = Store::lazy(Config::sqlite(&path).durability(Durability::Buffered))?;
        let log = orders(&store)?;
        crate::testing::support::in_parallel(2, |n| {
            if n == 0 {
                store.close().wait()?;
            } else if let Err(error) = log.head("s").wait() {
                assert_eq!(*error.kind(), ErrorKind::Closed, "{error}");
            }
            Ok(())
        })?;
        // Whoever was first: once it is closed, nobody holds the file.
        Store::open(Config::sqlite(&path).reset_on_start(true)).wait()?.close().wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn cf_07_reading_never_creates_a_file(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    for path in [dir.path().join("store.db"), dir.path().join("sub/store.db")] {
        refused!(Store::open(url(&path, "?mode=ro")).wait(), ErrorKind::NotFound);
        let lazy = Store::lazy(Config::sqlite(&path).read_only(true))?;
        let log = orders(&lazy)?;
        refused!(log.query(Query::all()).wait(), ErrorKind::NotFound);
        refused!(log.head("s").wait(), ErrorKind::NotFound);
        refused!(lazy.stats().wait(), ErrorKind::NotFound);
        refused!(log.append("s", 0, numbered(1)).wait(), ErrorKind::NotFound);
        assert!(dir.names()?.is_empty());
    }
    let path = dir.path().join("store.db");
    let lazy = Store::lazy(Config::sqlite(&path).read_only(true))?;
    refused!(lazy.logs().wait(), ErrorKind::NotFound);
    fill(&path, 2)?;
    assert_eq!(count(&lazy)?, 2, "once there is a file it is read");
    Ok(())
}

pub(in crate::testing) fn cf_07_reading_only_refuses_every_write(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    fill(&path, 2)?;
    let store = Store::open(url(&path, "?mode=ro")).wait()?;
    let log = orders(&store)?;
    refused!(log.append("s", 2, numbered(1)).wait(), ErrorKind::ReadOnly);
    refused!(log.append_many(numbered(1)).wait(), ErrorKind::ReadOnly);
    refused!(log.compact("s", 1).wait(), ErrorKind::ReadOnly);
    refused!(log.drop_log().wait(), ErrorKind::ReadOnly);
    let mut batch = store.batch();
    batch.add(log.append("s", 2, numbered(1)));
    refused!(batch.commit().wait(), ErrorKind::ReadOnly);
    assert_eq!((count(&store)?, log.head("s").wait()?), (2, 2));
    assert_eq!(store.verify(crate::backend::Progress::default()).wait()?.findings, []);
    store.close().wait()?;
    assert_eq!(dir.names()?, ["store.db"]);
    Ok(())
}
