//! `larder projections dead`

use larder::Position;
use serde_json::json;

use super::{existing, failed_at};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, Table, count, counted},
};

/// Lists the events that a projection passed over, or forgets one of them
#[derive(Debug, clap::Args)]
pub(super) struct Dead {
    /// The projection
    name: String,
    /// Forgets the one at this position
    #[arg(long, value_name = "POSITION")]
    forget: Option<Position>,
}

impl Dead {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.forget {
            Some(position) => self.forget(context, position),
            None => self.list(context),
        }
    }

    fn list(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let (projection, info) = existing(&context.open_to_read()?, &self.name)?;
        let letters = projection.dead_letters().wait()?;
        let mut table = Table::new(ui, &["position", "type", "failed at", "error"]);
        for letter in &letters {
            if ui.is_json() {
                ui.object(&json!({
                    "position": letter.position,
                    "type": letter.event_type,
                    "failed_at": failed_at(letter),
                    "error": letter.error,
                }))?;
                continue;
            }
            let position = letter.position.to_string();
            table.row(&[position, letter.event_type.clone(), failed_at(letter), letter.error.clone()]);
        }
        if !ui.is_json() && !letters.is_empty() {
            table.show(ui)?;
        }
        let shown = letters.len() as u64;
        if info.dead_letters > shown {
            ui.note(format!("the first {} of {}", count(shown), counted(info.dead_letters, "dead letter")));
        } else {
            ui.note(counted(shown, "dead letter"));
        }
        Ok(ExitCode::Success)
    }

    fn forget(&self, context: &Context, position: Position) -> anyhow::Result<ExitCode> {
        let store = context.open_to_change()?;
        let (projection, info) = existing(&store, &self.name)?;
        projection.remove_dead_letter(position).wait()?;
        let left = projection.info().wait()?.map_or(0, |info| info.dead_letters);
        if left == info.dead_letters {
            let message = format!("projection `{}` has no dead letter at {position}", self.name);
            let hint = format!("see them with `larder projections dead {}`", self.name);
            return Err(Failure::new(ExitCode::NotFound, message).hint(hint).into());
        }
        store.close().wait()?;
        let result = json!({ "projection": self.name, "forgotten": position, "left": left });
        context.ui.result(&result, |ui| {
            let done = ui.paint(Part::Good, "forgot");
            ui.line(format!("{done} the dead letter at {position}; {} left", count(left)))
        })?;
        Ok(ExitCode::Success)
    }
}
