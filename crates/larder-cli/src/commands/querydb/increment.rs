//! `larder querydb increment`

use larder::{ItemKey, Number};
use serde_json::json;

use super::item_key;
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

/// Adds to a number in an item, and shows the total; what is not there begins at 0
#[derive(Debug, clap::Args)]
pub(super) struct Increment {
    /// The QueryDb; it comes to be with its first item
    name: String,
    /// The partition key
    partition: String,
    /// The field's path, as in `address.visits`
    field: String,
    /// The sub key of the item
    #[arg(long, value_name = "SUB")]
    sub: Option<String>,
    /// What to add
    #[arg(long, value_name = "NUMBER", default_value = "1", allow_hyphen_values = true)]
    by: String,
}

impl Increment {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let by: Number = serde_json::from_str(&self.by)
            .map_err(|_| Failure::invalid(format!("`{}` is not a number", self.by)))?;
        let store = context.open_or_create()?;
        let query_db = store.query_db(&self.name)?;
        let key = match (&self.sub, query_db.info().wait()?) {
            (None, _) => ItemKey::from(&*self.partition),
            (Some(sub), Some(info)) => item_key(&info, &self.partition, sub)?,
            (Some(sub), None) => ItemKey::new(&*self.partition, &**sub),
        };
        let total = query_db.increment(&key, &self.field, by).wait()?;
        store.close().wait()?;
        let result = json!({
            "partition": key.partition,
            "sub": key.sub,
            "field": self.field,
            "total": total,
        });
        context.ui.result(&result, |ui| {
            let name = ui.paint(Part::Name, clean(&key.to_string()));
            ui.line(format!("{name}  {} = {total}", clean(&self.field)))
        })?;
        Ok(ExitCode::Success)
    }
}
