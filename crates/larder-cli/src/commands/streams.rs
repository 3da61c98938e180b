//! `larder streams`: what streams a log has.

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, count, counted},
};

/// Lists the streams of a log, by name
#[derive(Debug, clap::Args)]
pub(crate) struct Streams {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    /// Only streams after this name
    #[arg(long, value_name = "STREAM")]
    after: Option<String>,
    /// No more streams than this
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Streams {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let log = context.existing_log(&store, &self.log)?;
        let streams = log.streams().after(self.after).each().wait_iter();
        let mut streams = streams.take(self.limit.unwrap_or(usize::MAX));
        if ui.is_json() {
            for info in streams {
                let info = info?;
                ui.object(&json!({
                    "log": self.log,
                    "stream": info.stream,
                    "head": info.head,
                    "compacted_through": info.compacted_through,
                    "compacted_empty": info.is_compacted_empty(),
                }))?;
            }
            return Ok(ExitCode::Success);
        }
        // A table at a time, so that a log of millions of streams is listed in bounded memory.
        const TABLE_ROWS: usize = 1_000;
        let mut shown = 0;
        loop {
            let mut table = Table::new(ui, &["stream", "head", "compacted through"]);
            let mut rows = 0;
            for info in streams.by_ref().take(TABLE_ROWS) {
                let info = info?;
                let compacted = match info.compacted_through {
                    0 => String::new(),
                    through if info.is_compacted_empty() => format!("{} (all)", count(through)),
                    through => count(through),
                };
                table.row(&[info.stream, count(info.head), compacted]);
                rows += 1;
            }
            if rows > 0 {
                table.show(ui)?;
            }
            shown += rows;
            if rows < TABLE_ROWS {
                break;
            }
        }
        ui.note(counted(shown as u64, "stream"));
        Ok(ExitCode::Success)
    }
}
