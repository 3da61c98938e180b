//! `larder tasks redrive`

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, counted},
};

/// Has tasks that were given up handled again
#[derive(Debug, clap::Args)]
pub(crate) struct Redrive {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// Only the one with this number
    #[arg(long, value_name = "N")]
    trigger: Option<u64>,
}

impl Redrive {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let redriven = store.task_bucket(&self.bucket)?.redrive(self.trigger).wait()?;
        store.close().wait()?;
        let result = json!({ "bucket": self.bucket, "redriven": redriven });
        context.ui.result(&result, |ui| {
            ui.line(format!("{} {}", ui.paint(Part::Good, "redriven"), counted(redriven, "task")))
        })?;
        Ok(ExitCode::Success)
    }
}
