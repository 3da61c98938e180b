//! `larder querydb purge`

use serde_json::json;

use super::existing;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, counted},
};

/// Deletes items that have expired, the oldest first; nobody sees them any more
#[derive(Debug, clap::Args)]
pub(super) struct Purge {
    /// The QueryDb
    name: String,
    /// No more than this
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Purge {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (query_db, _) = existing(&store, &self.name)?;
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut purged = 0;
        while purged < limit {
            // One purge does some of them, so that others can write in between.
            match query_db.purge_expired(limit - purged).wait()? {
                0 => break,
                some => purged += some,
            }
        }
        store.close().wait()?;
        context.ui.result(&json!({ "purged": purged }), |ui| {
            ui.line(format!("{} {}", ui.paint(Part::Good, "purged"), counted(purged, "item")))
        })?;
        Ok(ExitCode::Success)
    }
}
