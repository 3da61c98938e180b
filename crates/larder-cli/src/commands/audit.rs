//! `larder audit`: whether a log keeps the conditions of its appends.

use serde_json::json;

use crate::{context::Context, exit_code::ExitCode, ui::Part};

/// Keeps the condition of each conditional append from now on, so that `verify` can replay every decision
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// The log; it need not have events yet
    #[arg(long, value_name = "LOG")]
    log: String,
    /// Whether to keep conditions
    #[arg(value_name = "on|off", value_enum)]
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    On,
    Off,
}

impl Audit {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let enabled = self.state == State::On;
        store.event_log(&self.log)?.audit_conditions(enabled).wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "log": self.log, "audits_conditions": enabled }), |ui| {
            let state = if enabled { "keeps" } else { "no longer keeps" };
            ui.line(format!("log {} {state} the conditions of its appends", ui.paint(Part::Name, &self.log)))
        })?;
        Ok(ExitCode::Success)
    }
}
