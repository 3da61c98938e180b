//! `larder kv size`: how many keys there are.

use serde_json::json;

use super::place::Place;
use crate::{context::Context, exit_code::ExitCode, ui::count};

/// Prints how many keys have a value
#[derive(Debug, clap::Args)]
pub(super) struct Size {}

impl Size {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let client = place.open()?;
        let size = client.size() as u64;
        client.close().wait()?;
        context.ui.result(&json!({ "size": size }), |ui| ui.line(count(size)))?;
        Ok(ExitCode::Success)
    }
}
