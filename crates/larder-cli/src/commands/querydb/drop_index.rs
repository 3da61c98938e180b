//! `larder querydb drop-index`

use serde_json::json;

use super::existing;
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

/// Removes an index; the items stay
#[derive(Debug, clap::Args)]
pub(super) struct DropIndex {
    /// The QueryDb
    name: String,
    /// The index
    index: String,
}

impl DropIndex {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (query_db, info) = existing(&store, &self.name)?;
        if info.spec.find_index(&self.index).is_none() {
            let message = format!("QueryDb `{}` has no index `{}`", self.name, self.index);
            let names: Vec<&str> = info.spec.indexes.iter().map(|index| index.name.as_str()).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Failure::new(ExitCode::NotFound, message).hint(format!("there is: {there}")).into());
        }
        query_db.drop_index(&self.index).wait()?;
        store.close().wait()?;
        let result = json!({ "name": self.name, "index": self.index, "dropped": true });
        context.ui.result(&result, |ui| {
            let (done, index) = (ui.paint(Part::Good, "dropped"), ui.paint(Part::Name, clean(&self.index)));
            ui.line(format!("{done} index {index}"))
        })?;
        Ok(ExitCode::Success)
    }
}
