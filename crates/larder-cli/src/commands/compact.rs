//! `larder compact`: hides the beginning of a stream.

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, count},
};

/// Hides and deletes the events of a stream through a sequence number
///
/// Its head stays, so numbers go on. Append conditions still see that the events happened.
#[derive(Debug, clap::Args)]
pub(crate) struct Compact {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    /// The stream
    #[arg(long, value_name = "STREAM")]
    stream: String,
    /// The last sequence number to hide; beyond the head it means the head
    #[arg(long, value_name = "N")]
    through: u64,
    /// Does it also beyond the checkpoint of a projection that reads the log
    #[arg(long)]
    force: bool,
}

impl Compact {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let log = context.existing_log(&store, &self.log)?;
        let head = log.head(&self.stream).wait()?;
        if head == 0 {
            let message = format!("there is no stream `{}` in log `{}`", self.stream, self.log);
            let hint = format!("see them with `larder streams --log {}`", self.log);
            return Err(Failure::new(ExitCode::NotFound, message).hint(hint).into());
        }
        let compact = log.compact(&self.stream, self.through);
        if self.force { compact.force() } else { compact }.wait()?;
        let through = self.through.min(head);
        store.close().wait()?;
        let result =
            json!({ "log": self.log, "stream": self.stream, "compacted_through": through, "head": head });
        context.ui.result(&result, |ui| {
            ui.line(format!(
                "{} stream {} through {} of {}",
                ui.paint(Part::Good, "compacted"),
                ui.paint(Part::Name, &self.stream),
                count(through),
                count(head)
            ))
        })?;
        Ok(ExitCode::Success)
    }
}
