//! `larder querydb query`

use super::{
    existing,
    request::{self, Paging, Request},
};
use crate::{context::Context, exit_code::ExitCode, ui::counted};

/// Shows the items of a partition, or those of equal key in an index, in order
#[derive(Debug, clap::Args)]
#[command(after_help = request::HELP)]
pub(super) struct Query {
    #[command(flatten)]
    request: Request,
    #[command(flatten)]
    paging: Paging,
}

impl Query {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let (query_db, info) = existing(&store, &self.request.name)?;
        let query = self.request.query(&info)?;
        let shown = self.paging.show(&context.ui, || query_db.query(&query))?;
        context.ui.note(counted(shown, "item"));
        Ok(ExitCode::Success)
    }
}
