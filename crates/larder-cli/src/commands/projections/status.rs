//! `larder projections status`

use super::{Progress, existing};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Ui, clean, count, counted},
};

/// Shows one projection: what it reads and owns, how far it has come, and why it has stopped
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// The projection
    name: String,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let (_, info) = existing(&store, &self.name)?;
        let progress = Progress::of(&store, info)?;
        context.ui.result(&progress.json(), |ui| show(ui, &progress))?;
        Ok(ExitCode::Success)
    }
}

fn show(ui: &Ui, progress: &Progress) -> std::io::Result<()> {
    let info = &progress.info;
    let state = ui.paint(if info.failure.is_some() { Part::Bad } else { Part::Good }, progress.state());
    ui.line(format!("{} is {state}", ui.paint(Part::Name, clean(&info.projection))))?;
    let field = |name: &str, value: String| ui.line(format!("  {name:<14}{value}"));
    field("log", clean(info.log.as_deref().unwrap_or("not known: it has not run")))?;
    let (checkpoint, head) = (count(info.checkpoint.get()), count(progress.head.get()));
    field("checkpoint", format!("{checkpoint} of {head}"))?;
    if !info.owns.is_empty() {
        field("owns", clean(&info.owns.join(", ")))?;
    }
    if info.rebuild_requested {
        field("rebuild", "asked for".into())?;
    }
    if let Some(rebuilt) = info.rebuild {
        field("rebuild", format!("under way, at {} of {head}", count(rebuilt.get())))?;
    }
    if let Some(failure) = &info.failure {
        let after = counted(u64::from(failure.attempts), "attempt");
        field("failed", format!("at {}, after {after}", count(failure.position.get())))?;
        field("error", clean(&failure.error))?;
    }
    if info.dead_letters > 0 {
        let see = format!("; see `larder projections dead {}`", clean(&info.projection));
        field("dead letters", format!("{}{see}", count(info.dead_letters)))?;
    }
    Ok(())
}
