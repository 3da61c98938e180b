//! `larder querydb list`

use super::shown::{field, index, info_json};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, clean, counted},
};

/// Lists the QueryDbs of the store with their definitions, by name
#[derive(Debug, clap::Args)]
pub(super) struct List {}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let infos = context.open_to_read()?.query_dbs().wait()?;
        if ui.is_json() {
            for info in &infos {
                ui.object(&info_json(info))?;
            }
            return Ok(ExitCode::Success);
        }
        let mut table = Table::new(ui, &["name", "version", "sub id", "indexes", "ttl", "changes"]);
        for info in &infos {
            let spec = &info.spec;
            table.row(&[
                clean(&info.query_db),
                info.version.to_string(),
                clean(&spec.sub_id_field.as_ref().map(field).unwrap_or_default()),
                clean(&spec.indexes.iter().map(index).collect::<Vec<_>>().join("  ")),
                clean(spec.ttl_field.as_deref().unwrap_or_default()),
                if spec.keeps_changes() { "kept".into() } else { String::new() },
            ]);
        }
        if !infos.is_empty() {
            table.show(ui)?;
        }
        ui.note(counted(infos.len() as u64, "QueryDb"));
        Ok(ExitCode::Success)
    }
}
