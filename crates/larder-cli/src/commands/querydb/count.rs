//! `larder querydb count`

use serde_json::json;

use super::{
    existing,
    request::{self, Request},
};
use crate::{context::Context, exit_code::ExitCode};

/// Counts the items of a partition, or those of equal key in an index
#[derive(Debug, clap::Args)]
#[command(after_help = request::HELP)]
pub(super) struct Count {
    #[command(flatten)]
    request: Request,
}

impl Count {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let (query_db, info) = existing(&store, &self.request.name)?;
        let count = query_db.count_items(self.request.query(&info)?).wait()?;
        context.ui.result(&json!({ "items": count }), |ui| ui.line(count.to_string()))?;
        Ok(ExitCode::Success)
    }
}
