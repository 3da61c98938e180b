//! `larder logs`: what logs there are.

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, count},
};

/// Lists the logs of the store
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {}

impl Logs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let logs = context.open_to_read()?.logs().wait()?;
        if ui.is_json() {
            for info in &logs {
                ui.object(&json!({
                    "log": info.log,
                    "head": info.head.get(),
                    "compacted_through": info.compacted_through.get(),
                    "audits_conditions": info.audits_conditions,
                }))?;
            }
            return Ok(ExitCode::Success);
        }
        if logs.is_empty() {
            ui.note("no logs");
            return Ok(ExitCode::Success);
        }
        let mut table = Table::new(ui, &["log", "last position", "audit"]);
        for info in logs {
            let audit = if info.audits_conditions { "on" } else { "off" };
            table.row(&[info.log, count(info.head.get()), audit.into()]);
        }
        table.show(ui)?;
        Ok(ExitCode::Success)
    }
}
