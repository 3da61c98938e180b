//! Ctrl-C, taken as a wish to end and not as an end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use tempfile::TempDir;

use crate::exit_code::ExitCode;

/// Whether Ctrl-C was pressed. A second time ends the process at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on, and calls `on_first` when it happens.
    pub(crate) fn listen(on_first: impl Fn() + Send + 'static) -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let pressed = interrupt.0.clone();
        ctrlc::set_handler(move || {
            if pressed.swap(true, Ordering::SeqCst) {
                std::process::exit(ExitCode::Interrupted as i32);
            }
            on_first();
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// A temporary directory that goes away with the command, also when Ctrl-C ends it.
    pub(crate) fn scratch(prefix: &str) -> anyhow::Result<TempDir> {
        let scratch = tempfile::Builder::new().prefix(prefix).tempdir();
        let scratch = scratch.context("cannot make a temporary directory")?;
        let path = scratch.path().to_owned();
        Self::listen(move || {
            let _ = std::fs::remove_dir_all(&path);
            std::process::exit(ExitCode::Interrupted as i32);
        })?;
        Ok(scratch)
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
