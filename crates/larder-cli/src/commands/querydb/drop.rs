//! `larder querydb drop`

use serde_json::json;

use super::existing;
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

/// Removes a QueryDb and every item in it; versions go on where they were
#[derive(Debug, clap::Args)]
pub(super) struct Drop {
    /// The QueryDb
    name: String,
    /// Says that it is meant: there is no way back
    #[arg(long)]
    yes: bool,
}

impl Drop {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (query_db, _) = existing(&store, &self.name)?;
        if !self.yes {
            let message = format!("this would remove QueryDb `{}` and every item in it, for good", self.name);
            return Err(Failure::invalid(message)
                .hint("repeat it with `--yes`; `larder export` or `larder backup` keep a copy first")
                .into());
        }
        query_db.drop_query_db().wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "name": self.name, "dropped": true }), |ui| {
            let (done, name) = (ui.paint(Part::Good, "dropped"), ui.paint(Part::Name, clean(&self.name)));
            ui.line(format!("{done} QueryDb {name}"))
        })?;
        Ok(ExitCode::Success)
    }
}
