//! Connections that only read, borrowed by whichever thread reads.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use super::schema;
use crate::{
    config::SqliteConfig,
    error::{Error, ErrorKind, Result},
};

/// How many idle connections are kept.
const IDLE: usize = 8;

#[derive(Debug)]
pub(super) struct Pool {
    config: SqliteConfig,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
    closed: bool,
}

impl Pool {
    pub(super) fn new(config: SqliteConfig) -> Self {
        Self { config, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs a read on a connection of its own.
    pub(super) fn read<T>(&self, run: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let lent = self.lend()?;
        run(lent.connection.as_ref().expect("it is lent"))
    }

    /// Runs a read in one snapshot: everything it sees is of one moment.
    pub(super) fn snapshot<T>(&self, run: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(|connection| {
            connection.prepare_cached("BEGIN")?.execute([])?;
            let result = run(connection);
            let ended = connection.prepare_cached("ROLLBACK")?.execute([]);
            let value = result?;
            ended?;
            Ok(value)
        })
    }

    fn lend(&self) -> Result<Lent<'_>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::Closed));
        }
        state.lent += 1;
        let idle = state.idle.pop();
        drop(state);
        let mut lent = Lent { pool: self, connection: idle };
        if lent.connection.is_none() {
            lent.connection = Some(schema::open_reader(&self.config)?);
        }
        Ok(lent)
    }

    /// Lends no more, and waits for what is lent.
    pub(super) fn close(&self, patience: Duration) {
        let mut state = self.lock();
        state.closed = true;
        state.idle.clear();
        let waited = self.returned.wait_timeout_while(state, patience, |state| state.lent > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back when it is dropped, unless it is in the middle of something.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.lent -= 1;
        if let Some(connection) = self.connection.take()
            && !state.closed
            && state.idle.len() < IDLE
            && connection.is_autocommit()
        {
            state.idle.push(connection);
            return;
        }
        drop(state);
        self.pool.returned.notify_all();
    }
}
