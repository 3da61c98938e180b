//! `larder kv watch`: the changes that another process makes.

use std::{ffi::OsString, thread, time::Duration};

use larder_kv::Follow;
use serde_json::json;

use super::place::{Place, bytes_of, json_bytes};
use crate::{
    context::Context,
    exit_code::ExitCode,
    interrupt::Interrupt,
    ui::{Part, clean},
};

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows changes as the process that has the file writes them; Ctrl-C ends it
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Only keys that start with this
    prefix: Option<OsString>,
    /// Ends after this many changes
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Watch {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        place.check_exists()?;
        let prefix = self.prefix.as_deref().map_or(&b""[..], bytes_of);
        let interrupt = Interrupt::listen(|| {})?;
        let mut follow = Follow::open(place.path())?;
        ui.note(format!("watching {}", place.path().display()));
        let mut left = self.limit.unwrap_or(u64::MAX);
        while !interrupt.happened() && left > 0 {
            let changes = follow.poll()?;
            for change in changes.iter().filter(|change| change.key.starts_with(prefix)) {
                let value = change.value.as_deref().map(json_bytes);
                ui.result(&json!({ "key": json_bytes(&change.key), "value": value }), |ui| {
                    let key = ui.paint(Part::Name, clean(&change.key.to_string()));
                    match &change.value {
                        Some(value) => ui.line(format!("{key} = {}", clean(&value.to_string()))),
                        None => ui.line(format!("{key} {}", ui.paint(Part::Faint, "removed"))),
                    }
                })?;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            ui.flush()?;
            if changes.is_empty() {
                thread::sleep(INTERVAL);
            }
        }
        Ok(ExitCode::Success)
    }
}
