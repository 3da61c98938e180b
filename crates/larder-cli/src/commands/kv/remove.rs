//! `larder kv remove`: takes a key's value away.

use std::ffi::OsString;

use serde_json::json;

use super::place::{Place, bytes_of, json_bytes};
use crate::{context::Context, exit_code::ExitCode, ui::clean};

/// Removes a key; one that is not there is fine
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The key
    key: OsString,
}

impl Remove {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let key = bytes_of(&self.key);
        let client = place.open()?;
        let was_there = client.contains(key)?;
        client.remove(key).wait()?;
        client.close().wait()?;
        context.ui.result(&json!({ "key": json_bytes(key), "was_there": was_there }), |ui| {
            let shown = clean(&String::from_utf8_lossy(key));
            ui.line(if was_there { format!("removed {shown}") } else { format!("{shown} was not there") })
        })?;
        Ok(ExitCode::Success)
    }
}
