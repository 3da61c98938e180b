//! Opening the file: whose it is, its version, its settings, its schema.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::error::translate;
use crate::{
    config::{Durability, SqliteConfig},
    error::{Error, ErrorKind, Result},
};

/// `Lrdr`, in the file's header: whose file it is.
const APPLICATION_ID: i32 = 0x4c72_6472;
/// The schema's version, in the file's header.
const SCHEMA_VERSION: i32 = 1;
/// A bug that could corrupt the write-ahead log was fixed in 3.51.3.
const LEAST_SQLITE: i32 = 3_051_003;

/// How much of the file readers map into memory; what lies beyond is copied.
const MAPPED_BYTES: i64 = 1 << 40;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// Opens the writer's connection, creating or wiping the store as configured.
pub(super) fn open_writer(config: &SqliteConfig) -> Result<Connection> {
    let version = rusqlite::version_number();
    if version < LEAST_SQLITE {
        return Err(Error::new(ErrorKind::Unsupported).with("SQLite", rusqlite::version()));
    }
    if config.reset_on_start {
        reset(config)?;
    }
    let mut connection = connect(config, Role::Writer)?;
    match state_of(&connection)? {
        FileState::Ours if config.read_only => {}
        FileState::Ours => write_ahead(&connection)?,
        FileState::Empty if config.read_only => {
            return Err(Error::new(ErrorKind::Incompatible).with("found", "an empty file"));
        }
        FileState::Empty => create(&mut connection)?,
    }
    settle(&connection, config, Role::Writer)?;
    Ok(connection)
}

/// Opens a connection that only reads; the store exists.
pub(super) fn open_reader(config: &SqliteConfig) -> Result<Connection> {
    let connection = connect(config, Role::Reader)?;
    settle(&connection, config, Role::Reader)?;
    Ok(connection)
}

/// Creates the parent directory, or finds out early what SQLite would not say.
pub(super) fn prepare_path(config: &SqliteConfig) -> Result<()> {
    let path = &config.path;
    if path.is_dir() {
        return Err(Error::invalid("path", format!("`{}` is a directory", path.display())));
    }
    if config.read_only {
        return match fs::metadata(path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotFound)
                    .with_hint("is the path right? reading never creates a store"))
            }
            Err(error) => Err(Error::new(ErrorKind::Io).caused_by(error)),
        };
    }
    match path.parent() {
        Some(parent) if parent != Path::new("") => fs::create_dir_all(parent).map_err(|error| {
            Error::new(ErrorKind::Io).with("directory", parent.display().to_string()).caused_by(error)
        }),
        _ => Ok(()),
    }
}

fn connect(config: &SqliteConfig, role: Role) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE;
    if role == Role::Writer && !config.read_only {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let opened = match &config.vfs {
        None => Connection::open_with_flags(&config.path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(&config.path, flags, vfs.as_str()),
    };
    let mut connection =
        opened.map_err(|error| translate(error).with_hint("can this process read and write it?"))?;
    wait_for_locks(&mut connection, config.busy_timeout)?;
    // A file from elsewhere must not make SQLite run what its schema says.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite looks at bound limits while it plans, and compiles such a statement anew at every execution.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

/// Waits for another process's lock with short, uneven naps: the gap between two groups of a busy writer is
/// brief, and SQLite's own handler would sleep through it.
#[expect(clippy::disallowed_methods, reason = "the patience with other processes is not the store's time")]
fn wait_for_locks(connection: &mut Connection, timeout: Duration) -> Result<()> {
    let mut start = Instant::now();
    connection.busy_handler(Some(move |count: i32| {
        if count == 0 {
            start = Instant::now();
        }
        let left = timeout.saturating_sub(start.elapsed());
        let uneven = u64::from(start.elapsed().subsec_nanos() % 700);
        thread::sleep(Duration::from_micros(300 + uneven).min(left));
        !left.is_zero()
    }))?;
    Ok(())
}

enum FileState {
    Empty,
    Ours,
}

/// Whose file it is, without changing it.
fn state_of(connection: &Connection) -> Result<FileState> {
    let application_id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| match translate(error) {
            error if *error.kind() == ErrorKind::Incompatible => {
                error.with("found", "a file that is not a database")
            }
            error => error,
        })?;
    if application_id == APPLICATION_ID {
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        return match version {
            SCHEMA_VERSION => Ok(FileState::Ours),
            newer if newer > SCHEMA_VERSION => Err(Error::new(ErrorKind::Incompatible)
                .with("found", format!("schema version {newer}"))
                .with("known", format!("up to {SCHEMA_VERSION}"))
                .with_hint("a newer larder wrote this store: use that one, or a newer one")),
            other => Err(Error::corrupted(format!("schema version {other}"))),
        };
    }
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && objects == 0 {
        return Ok(FileState::Empty);
    }
    Err(Error::new(ErrorKind::Incompatible)
        .with("found", "a SQLite file of another application")
        .with_hint("name another file; `larder import` brings data from elsewhere into a store"))
}

/// Makes an empty file a store. Another process may be at it too: who comes second finds it done.
fn create(connection: &mut Connection) -> Result<()> {
    connection.pragma_update(None, "page_size", 4096)?;
    write_ahead(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let FileState::Empty = state_of(&transaction)? {
        create_schema(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Makes sure that the file has a write-ahead log: another tool may have taken it away, and with a rollback
/// journal a commit is not durable before the directory is synced, which SQLite leaves out.
fn write_ahead(connection: &Connection) -> Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode == "wal" {
        return Ok(());
    }
    // The statement says "wal" before it commits the switch: only its end shows whether that worked.
    let mut statement = connection.prepare("PRAGMA journal_mode = wal")?;
    let modes = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    match modes.first() {
        Some(mode) if mode == "wal" => Ok(()),
        mode => Err(Error::new(ErrorKind::Unsupported)
            .with("journal mode", mode.cloned().unwrap_or_default())
            .with_hint("is the file on a network drive?")),
    }
}

fn create_schema(connection: &Connection) -> Result<()> {
    connection.execute_batch(include_str!("sql/schema.sql"))?;
    let insert = "INSERT INTO meta (key, value) VALUES (?1, ?2)";
    // Version 4 UUIDs are the random bytes that are at hand.
    connection.execute(insert, ("store_id", uuid::Uuid::new_v4().as_bytes()))?;
    connection.execute(insert, ("term_key", uuid::Uuid::new_v4().as_bytes()))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// Wipes the store, in one transaction, with nobody else in the file.
fn reset(config: &SqliteConfig) -> Result<()> {
    if !config.path.exists() {
        return Ok(());
    }
    let mut connection = connect(config, Role::Writer)?;
    if let FileState::Empty = state_of(&connection)? {
        return Ok(());
    }
    // With this set before the first access in WAL mode, SQLite locks out every other connection.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    drop_everything(&transaction)?;
    create_schema(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn drop_everything(connection: &Connection) -> Result<()> {
    let objects: Vec<(String, String)> = connection
        .prepare("SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (kind, name) in objects {
        let quoted = name.replace('"', "\"\"");
        connection.execute_batch(&format!("DROP {kind} \"{quoted}\""))?;
    }
    Ok(())
}

/// Settings of the connection, none of them stored in the file.
fn settle(connection: &Connection, config: &SqliteConfig, role: Role) -> Result<()> {
    let synchronous = match config.durability {
        Durability::Flushed => "full",
        Durability::Buffered => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    match role {
        Role::Writer => {
            connection.pragma_update(None, "cache_size", -65_536)?;
            // The writer checkpoints when it sees fit.
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            connection.pragma_update(None, "query_only", config.read_only)?;
        }
        Role::Reader => {
            connection.pragma_update(None, "cache_size", -16_384)?;
            connection.pragma_update(None, "query_only", true)?;
            if config.map_file && cfg!(target_pointer_width = "64") {
                connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
                // Mapped pages would be checked at every visit; events carry their own checksums.
                connection.pragma_update(None, "cell_size_check", false)?;
            }
        }
    }
    Ok(())
}
