//! `larder projections rebuild`

use serde_json::json;

use super::existing;
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

/// Asks the program that runs a projection to rebuild it, now or when it runs next
///
/// The rebuild is done by the program that has the projection's code: it fills fresh QueryDbs from the log's beginning,
/// and puts them in place of the old ones in one commit. `larder projections status` shows how far it is.
#[derive(Debug, clap::Args)]
pub(super) struct Rebuild {
    /// The projection
    name: String,
}

impl Rebuild {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (projection, info) = existing(&store, &self.name)?;
        if info.owns.is_empty() {
            let message = format!("projection `{}` owns no QueryDb that could be rebuilt", self.name);
            return Err(Failure::invalid(message)
                .about("projection", self.name)
                .hint("the program that runs it says what it owns with `Projection::owns`")
                .into());
        }
        projection.request_rebuild().wait()?;
        store.close().wait()?;
        let result = json!({ "projection": self.name, "rebuild_requested": true, "owns": info.owns });
        context.ui.result(&result, |ui| {
            let (asked, name) = (ui.paint(Part::Good, "asked"), ui.paint(Part::Name, clean(&self.name)));
            ui.line(format!("{asked} for a rebuild of {name}: {}", clean(&info.owns.join(", "))))
        })?;
        context.ui.note("the program that runs the projection rebuilds it, now or when it runs next");
        Ok(ExitCode::Success)
    }
}
