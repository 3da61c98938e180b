//! `larder kv put`: gives a key a value.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdin},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::place::{Place, bytes_of, json_bytes, read_input};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{clean, counted},
};

/// Gives a key a value: the argument, a file, or the standard input, byte for byte
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The key
    key: OsString,
    /// The value; without it, and without `--file`, it is read from the standard input
    value: Option<OsString>,
    /// Reads the value from a file; `-` is the standard input
    #[arg(long, value_name = "PATH", conflicts_with = "value")]
    file: Option<PathBuf>,
}

impl Put {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let value = self.read_value()?;
        let (key, length) = (bytes_of(&self.key), value.len());
        let client = place.open_or_create()?;
        client.put(key, value).wait()?;
        client.close().wait()?;
        context.ui.result(&json!({ "key": json_bytes(key), "bytes": length }), |ui| {
            ui.line(format!(
                "put {} ({})",
                clean(&String::from_utf8_lossy(key)),
                counted(length as u64, "byte")
            ))
        })?;
        Ok(ExitCode::Success)
    }

    fn read_value(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.value, &self.file) {
            (Some(value), _) => Ok(bytes_of(value).to_vec()),
            (None, Some(file)) => read_input(file),
            (None, None) if stdin().is_terminal() => {
                let failure = Failure::invalid("no value was given");
                Err(failure
                    .hint("give one after the key, name a file with `--file PATH`, or pipe one in")
                    .into())
            }
            (None, None) => read_input(Path::new("-")),
        }
    }
}
