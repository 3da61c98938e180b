//! `larder kv get`: a key's value.

use std::{
    ffi::OsString,
    io::{IsTerminal, stdout},
};

use serde_json::json;

use super::place::{Place, bytes_of, json_bytes};
use crate::{context::Context, exit_code::ExitCode};

/// Prints a key's value, byte for byte; on a terminal, with a line break after it
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The key
    key: OsString,
}

impl Get {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let key = bytes_of(&self.key);
        let client = place.open()?;
        let value = client.get(key)?;
        client.close().wait()?;
        let ui = &context.ui;
        ui.result(&json!({ "key": json_bytes(key), "value": json_bytes(&value) }), |ui| {
            ui.raw(|out| {
                out.write_all(&value)?;
                if stdout().is_terminal() { out.write_all(b"\n") } else { Ok(()) }
            })
        })?;
        Ok(ExitCode::Success)
    }
}
