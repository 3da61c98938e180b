//! `larder querydb scan`

use super::{existing, request::Paging};
use crate::{context::Context, exit_code::ExitCode, ui::counted};

/// Shows every item, in the order of keys
#[derive(Debug, clap::Args)]
pub(super) struct Scan {
    /// The QueryDb
    name: String,
    #[command(flatten)]
    paging: Paging,
}

impl Scan {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let (query_db, _) = existing(&store, &self.name)?;
        let shown = self.paging.show(&context.ui, || query_db.scan())?;
        context.ui.note(counted(shown, "item"));
        Ok(ExitCode::Success)
    }
}
