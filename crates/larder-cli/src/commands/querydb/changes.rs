//! `larder querydb changes`

use larder::{Change, ChangeKind, ErrorKind, Removal};
use serde_json::json;

use super::existing;
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    interrupt::Interrupt,
    ui::{Part, Ui, clean, counted},
};

/// Shows the changes that a QueryDb keeps, the oldest first, and with `--follow` every new one
#[derive(Debug, clap::Args)]
pub(super) struct Changes {
    /// The QueryDb
    name: String,
    /// Starts after this version
    #[arg(long, value_name = "VERSION")]
    after: Option<u64>,
    /// Ends after this many changes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Goes on with what is committed from now on, by other processes too; Ctrl-C ends it
    #[arg(long)]
    follow: bool,
}

impl Changes {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let (query_db, info) = existing(&store, &self.name)?;
        if !info.spec.keeps_changes() {
            let failure = Failure::invalid(format!("QueryDb `{}` keeps no changes", self.name));
            let hint = format!("have it keep them with `larder querydb define {} --changes`", self.name);
            return Err(failure.hint(hint).into());
        }
        if self.follow {
            // Closing the store ends the subscription.
            let to_close = store.clone();
            Interrupt::listen(move || drop(to_close.close().wait()))?;
        }
        let (after, last) = (self.after.unwrap_or(0), info.version);
        let mut shown = 0;
        if self.follow || after < last {
            for change in query_db.changes().after(after).wait_iter() {
                let version = match change {
                    Ok(change) => {
                        show(&context.ui, &change)?;
                        context.ui.flush()?;
                        shown += 1;
                        change.version
                    }
                    Err(error) => self.told(context, error)?,
                };
                if self.limit == Some(shown) || (version >= last && !self.follow) {
                    break;
                }
            }
        }
        context.ui.note(counted(shown, "change"));
        Ok(ExitCode::Success)
    }

    /// A feed tells once that older changes are gone, and goes on; answers the last version that is.
    fn told(&self, context: &Context, error: larder::Error) -> anyhow::Result<u64> {
        let ErrorKind::ChangesTruncated { oldest } = *error.kind() else { return Err(error.into()) };
        if self.after.is_some() {
            context.ui.warn(format!("changes before version {oldest} are no longer there"));
        }
        Ok(oldest.saturating_sub(1))
    }
}

fn show(ui: &Ui, change: &Change) -> anyhow::Result<()> {
    let reason = match change.kind {
        ChangeKind::Removed { reason: Removal::Deleted } => Some("deleted"),
        ChangeKind::Removed { reason: Removal::Expired } => Some("expired"),
        _ => None,
    };
    if ui.is_json() {
        return Ok(ui.object(&json!({
            "version": change.version,
            "kind": change.kind.name(),
            "reason": reason,
            "partition": change.key.as_ref().map(|key| &key.partition),
            "sub": change.key.as_ref().map(|key| &key.sub),
        }))?);
    }
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let key = change.key.as_ref().map(|key| clean(&key.to_string())).unwrap_or_default();
    let line = format!(
        "{}  {}{reason}  {}",
        ui.paint(Part::Number, format!("{:>6}", change.version)),
        change.kind.name(),
        ui.paint(Part::Name, key)
    );
    Ok(ui.line(line.trim_end())?)
}
