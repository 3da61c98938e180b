//! `larder tasks dead`

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Table, clean, count, counted, time},
};

/// Lists the tasks that were given up, or removes them
#[derive(Debug, clap::Args)]
pub(crate) struct Dead {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// Removes them
    #[arg(long)]
    discard: bool,
    /// Only the one with this number
    #[arg(long, value_name = "N", requires = "discard")]
    trigger: Option<u64>,
}

impl Dead {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if self.discard { self.discard(context) } else { self.list(context) }
    }

    fn discard(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let discarded = store.task_bucket(&self.bucket)?.discard(self.trigger).wait()?;
        store.close().wait()?;
        let result = json!({ "bucket": self.bucket, "discarded": discarded });
        context.ui.result(&result, |ui| {
            ui.line(format!("{} {}", ui.paint(Part::Good, "discarded"), counted(discarded, "dead letter")))
        })?;
        Ok(ExitCode::Success)
    }

    fn list(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let mut table = Table::new(ui, &["trigger", "key", "kind", "attempts", "given up at", "error"]);
        let mut shown = 0;
        for letter in store.task_bucket(&self.bucket)?.dead_letters().each().wait_iter() {
            let letter = letter?;
            shown += 1;
            if ui.is_json() {
                ui.object(&json!({
                    "trigger": letter.trigger,
                    "key": letter.key,
                    "kind": letter.kind.to_string(),
                    "version": letter.version,
                    "attempts": letter.attempts,
                    "failed_at": time(letter.failed_at),
                    "error": letter.error,
                }))?;
                continue;
            }
            table.row(&[
                letter.trigger.to_string(),
                letter.key,
                letter.kind.to_string(),
                count(letter.attempts.into()),
                time(letter.failed_at),
                clean(&letter.error),
            ]);
        }
        if ui.is_json() {
            return Ok(ExitCode::Success);
        }
        if shown > 0 {
            table.show(ui)?;
        }
        ui.note(counted(shown, "dead letter"));
        Ok(ExitCode::Success)
    }
}
