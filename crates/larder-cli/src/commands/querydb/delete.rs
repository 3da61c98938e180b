//! `larder querydb delete`

use serde_json::json;

use super::{existing, item_key};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, counted},
};

/// Deletes an item, or every item of a partition; what is not there is fine
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// The QueryDb
    name: String,
    /// The partition key
    partition: String,
    /// The sub key of one item
    sub: Option<String>,
}

impl Delete {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (query_db, info) = existing(&store, &self.name)?;
        let write = match &self.sub {
            Some(sub) => query_db.delete_one(item_key(&info, &self.partition, sub)?),
            None => query_db.delete(&self.partition),
        };
        let deleted = write.wait()?;
        store.close().wait()?;
        context.ui.result(&json!({ "deleted": deleted }), |ui| {
            ui.line(format!("{} {}", ui.paint(Part::Good, "deleted"), counted(deleted, "item")))
        })?;
        Ok(ExitCode::Success)
    }
}
