//! `larder trim`: hides the beginning of a log.

use larder::Position;
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, count},
};

/// Hides and deletes the events of a log through a position
///
/// Streams keep their heads. Append conditions still see that the events happened, until `larder forget`.
#[derive(Debug, clap::Args)]
pub(crate) struct Trim {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    /// The last position to hide; beyond the head it means the head
    #[arg(long, value_name = "POSITION")]
    through: Position,
    /// Does it also beyond the checkpoint of a projection that reads the log
    #[arg(long)]
    force: bool,
}

impl Trim {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let log = context.existing_log(&store, &self.log)?;
        let trim = log.trim(self.through);
        let trimmed = if self.force { trim.force() } else { trim }.wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "log": self.log, "trimmed_through": trimmed.through }), |ui| {
            let (done, log) = (ui.paint(Part::Good, "trimmed"), ui.paint(Part::Name, &self.log));
            ui.line(format!("{done} log {log} through position {}", count(trimmed.through.get())))
        })?;
        Ok(ExitCode::Success)
    }
}
