//! `larder kv repair`: saves what is sound in a damaged file.

use larder_kv::repair;
use serde_json::json;

use super::place::Place;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, count, counted},
};

/// Saves what is sound in a damaged file, and puts a copy of the damaged one aside
///
/// Every frame whose checksum is right is kept, also after the damage. What was in the damaged part is lost: keys may
/// have an older value than they had, or none. A sound file is left as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Repair {}

impl Repair {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        place.check_exists()?;
        let repaired = repair(place.options()).wait()?;
        let damaged: Vec<_> =
            repaired.damaged.iter().map(|part| json!({ "from": part.start, "to": part.end })).collect();
        let aside = repaired.set_aside.as_ref().map(|path| path.display().to_string());
        let value = json!({
            "frames": repaired.frames,
            "records": repaired.records,
            "keys": repaired.keys,
            "damaged": damaged,
            "set_aside": aside,
        });
        context.ui.result(&value, |ui| {
            let Some(aside) = &aside else {
                let sound = ui.paint(Part::Good, "sound");
                return ui.line(format!("{sound}: {}, nothing to repair", counted(repaired.keys, "key")));
            };
            for part in &repaired.damaged {
                ui.line(format!("damaged: bytes {} to {}", count(part.start), count(part.end)))?;
            }
            let saved = ui.paint(Part::Good, "saved");
            ui.line(format!(
                "{saved} {} from {}",
                counted(repaired.keys, "key"),
                counted(repaired.records, "record")
            ))?;
            ui.line(format!("the damaged file is at {aside}"))
        })?;
        Ok(ExitCode::Success)
    }
}
