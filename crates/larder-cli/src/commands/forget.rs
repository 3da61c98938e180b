//! `larder forget`: removes what conditions still see of hidden events.

use larder::Position;
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, count},
};

/// Removes what append conditions still see of compacted and trimmed events
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    /// The last position to forget
    #[arg(long, value_name = "POSITION")]
    through: Position,
}

impl Forget {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let log = context.existing_log(&store, &self.log)?;
        log.forget(self.through).wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "log": self.log, "forgotten_through": self.through.get() }), |ui| {
            let (done, log) = (ui.paint(Part::Good, "forgot"), ui.paint(Part::Name, &self.log));
            ui.line(format!(
                "{done} the hidden events of log {log} through position {}",
                count(self.through.get())
            ))
        })?;
        Ok(ExitCode::Success)
    }
}
