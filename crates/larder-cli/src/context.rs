//! What a command works with: the output, and the store that was named.

use std::{cell::RefCell, env, path::Path};

use larder::{BackendConfig, Config, EventLog, Store};

use crate::{exit_code::ExitCode, failure::Failure, ui::Ui};

/// Where the store is when nobody says.
pub(crate) const DEFAULT_STORE: &str = "sqlite:.larder/local.db";

/// The output and the named store of a command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ui: Ui,
    /// The value of `--store`.
    pub(crate) store: Option<String>,
    /// What the command has opened, to be closed however it ends.
    opened: RefCell<Option<Store>>,
}

/// What a command needs of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Change,
}

impl Context {
    pub(crate) fn new(ui: Ui, store: Option<String>) -> Self {
        Self { ui, store, opened: RefCell::new(None) }
    }

    /// Closes what is still open, so that the store is one file again. Commands that write have closed it
    /// themselves, and looked at the answer.
    pub(crate) fn close(&self) {
        if let Some(store) = self.opened.take() {
            let _ = store.close().wait();
        }
    }

    fn remember(&self, store: Store) -> Store {
        *self.opened.borrow_mut() = Some(store.clone());
        store
    }

    /// Opens the store for reading only; it must exist, and is never reset.
    pub(crate) fn open_to_read(&self) -> anyhow::Result<Store> {
        self.open(Access::Read)
    }

    /// Opens a store that must exist.
    pub(crate) fn open_to_change(&self) -> anyhow::Result<Store> {
        self.open(Access::Change)
    }

    /// The store, which its first operation opens, creating it if need be: what is refused before that
    /// leaves no file behind.
    pub(crate) fn open_or_create(&self) -> anyhow::Result<Store> {
        let config = self.config()?;
        if config.backend == BackendConfig::Memory {
            self.ui.warn("the store is `memory`: it is gone at the end of this command");
        }
        Ok(self.remember(Store::lazy(config)?))
    }

    /// The configuration of the store that was named.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        if let Some(url) = &self.store {
            return Ok(url.parse()?);
        }
        let named = |name| env::var_os(name).filter(|value: &std::ffi::OsString| !value.is_empty());
        if named("LARDER_BACKEND").or_else(|| named("REVENTLESS_LOCAL_BACKEND")).is_some() {
            return Ok(Config::from_env()?);
        }
        Ok(DEFAULT_STORE.parse()?)
    }

    fn open(&self, access: Access) -> anyhow::Result<Store> {
        let mut config = self.config()?;
        if let BackendConfig::Sqlite(sqlite) = &config.backend {
            if !sqlite.path.exists() {
                return Err(self.no_file(&sqlite.path).into());
            }
        } else {
            self.ui.warn("the store is `memory`: it is empty at the start of every command");
        }
        if access == Access::Read {
            config = config.reset_on_start(false).read_only(true);
        }
        Ok(self.remember(Store::open(config).wait()?))
    }

    fn no_file(&self, path: &Path) -> Failure {
        let failure = Failure::new(ExitCode::NotFound, format!("there is no store at `{}`", path.display()))
            .about("path", path.display().to_string());
        if self.store.is_some() {
            return failure
                .hint("check the path after `sqlite:`; `larder import` and `larder append` create a store");
        }
        failure.hint("name another store with `--store sqlite:PATH` or LARDER_BACKEND; `larder import` and `larder append` create one")
    }

    /// A log that must exist.
    pub(crate) fn existing_log(&self, store: &Store, name: &str) -> anyhow::Result<EventLog> {
        let log = store.event_log(name)?;
        if log.info().wait()?.is_some() {
            return Ok(log);
        }
        let logs: Vec<String> = store.logs().wait()?.into_iter().map(|info| info.log).collect();
        let failure = Failure::new(ExitCode::NotFound, format!("there is no log `{name}` in this store"));
        Err(match logs.len() {
            0 => failure.hint("the store is empty; `larder import` and `larder append` write to it"),
            1..=12 => failure.hint(format!("there is: {}", logs.join(", "))),
            _ => failure.hint("see all of them with `larder logs`"),
        }
        .about("log", name)
        .into())
    }
}
