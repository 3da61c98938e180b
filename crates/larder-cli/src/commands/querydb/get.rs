//! `larder querydb get`

use larder::ItemQuery;

use super::{existing, item_key, shown};
use crate::{context::Context, exit_code::ExitCode, failure::Failure, ui::counted};

/// Shows an item, or every item of a partition in the order of their sub keys
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The QueryDb
    name: String,
    /// The partition key
    partition: String,
    /// The sub key of one item
    sub: Option<String>,
}

impl Get {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let (query_db, info) = existing(&store, &self.name)?;
        let nothing = |key: &str| {
            let failure = Failure::new(
                ExitCode::NotFound,
                format!("there is no item `{key}` in QueryDb `{}`", self.name),
            );
            failure.hint("see what there is with `larder querydb scan`")
        };
        if let Some(sub) = &self.sub {
            let key = item_key(&info, &self.partition, sub)?;
            let item = query_db.load_one(&key).wait()?.ok_or_else(|| nothing(&key.to_string()))?;
            shown::item(ui, &item)?;
            return Ok(ExitCode::Success);
        }
        let mut shown = 0;
        for item in query_db.query(ItemQuery::key(&self.partition)).each().wait_iter() {
            shown::item(ui, &item?)?;
            shown += 1;
        }
        if shown == 0 {
            return Err(nothing(&self.partition).into());
        }
        ui.note(counted(shown, "item"));
        Ok(ExitCode::Success)
    }
}
