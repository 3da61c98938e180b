//! `larder drop-log`: removes a log.

use serde_json::json;

use crate::{context::Context, exit_code::ExitCode, failure::Failure, ui::Part};

/// Removes a log and everything in it; positions go on where they were
#[derive(Debug, clap::Args)]
pub(crate) struct DropLog {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    /// Says that it is meant: there is no way back
    #[arg(long)]
    yes: bool,
    /// Does it also beyond the checkpoint of a projection that reads the log
    #[arg(long)]
    force: bool,
}

impl DropLog {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let log = context.existing_log(&store, &self.log)?;
        if !self.yes {
            let message = format!("this would remove log `{}` and every event in it, for good", self.log);
            return Err(Failure::invalid(message)
                .hint("repeat it with `--yes`; `larder export` or `larder backup` keep a copy first")
                .into());
        }
        let drop_log = log.drop_log();
        if self.force { drop_log.force() } else { drop_log }.wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "log": self.log, "dropped": true }), |ui| {
            let (done, log) = (ui.paint(Part::Good, "dropped"), ui.paint(Part::Name, &self.log));
            ui.line(format!("{done} log {log}"))
        })?;
        Ok(ExitCode::Success)
    }
}
