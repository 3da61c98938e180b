//! `larder snapshots delete`

use serde_json::json;

use super::Named;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, clean, counted},
};

/// Deletes the snapshots of a stream or query through a place
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    named: Named,
    /// The last one to delete, by its place (a sequence number, or a position)
    #[arg(long, value_name = "N")]
    through: u64,
}

impl Delete {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let subject = self.named.subject();
        let deleted = self.named.snapshots(&store)?.delete(&subject, self.through).wait()?;
        store.close().wait()?;
        let result = json!({
            "log": self.named.log,
            "kind": subject.kind(),
            "subject": subject.name(),
            "through": self.through,
            "deleted": deleted,
        });
        context.ui.result(&result, |ui| {
            let done = ui.paint(Part::Good, "deleted");
            let of = ui.paint(Part::Name, clean(&subject.to_string()));
            ui.line(format!("{done} {} of {of} through {}", counted(deleted, "snapshot"), self.through))
        })?;
        Ok(ExitCode::Success)
    }
}
