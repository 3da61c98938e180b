//! `larder projections list`

use super::Progress;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, count, counted},
};

/// Lists the projections of the store by name
#[derive(Debug, clap::Args)]
pub(super) struct List {}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let mut table =
            Table::new(ui, &["name", "log", "checkpoint", "head", "state", "dead letters", "owns"]);
        let infos = store.projections().wait()?;
        let shown = infos.len();
        for info in infos {
            let progress = Progress::of(&store, info)?;
            if ui.is_json() {
                ui.object(&progress.json())?;
                continue;
            }
            let info = &progress.info;
            table.row(&[
                info.projection.clone(),
                info.log.clone().unwrap_or_default(),
                count(info.checkpoint.get()),
                count(progress.head.get()),
                progress.state().to_owned(),
                count(info.dead_letters),
                info.owns.join(", "),
            ]);
        }
        if !ui.is_json() {
            if shown > 0 {
                table.show(ui)?;
            }
            ui.note(counted(shown as u64, "projection"));
        }
        Ok(ExitCode::Success)
    }
}
