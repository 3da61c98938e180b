//! `larder kv compact`: writes the file anew.

use serde_json::json;

use super::place::Place;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, bytes},
};

/// Writes the file anew, with nothing but what is needed
#[derive(Debug, clap::Args)]
pub(super) struct Compact {}

impl Compact {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let client = place.open()?;
        let before = client.status()?.file_bytes;
        client.compact().wait()?;
        let after = client.status()?.file_bytes;
        client.close().wait()?;
        context.ui.result(&json!({ "bytes_before": before, "bytes_after": after }), |ui| {
            let done = ui.paint(Part::Good, "compacted");
            ui.line(format!("{done} from {} to {}", bytes(before), bytes(after)))
        })?;
        Ok(ExitCode::Success)
    }
}
