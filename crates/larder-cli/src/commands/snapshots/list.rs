//! `larder snapshots list`

use larder::Subject;

use super::{info_json, stored};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, counted, time},
};

/// Lists snapshots by log, subject and place; it needs no keys
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this log
    #[arg(long, value_name = "LOG")]
    log: Option<String>,
    /// Only those of this stream
    #[arg(long, value_name = "STREAM", requires = "log", conflicts_with = "query_name")]
    stream: Option<String>,
    /// Only those of the query with this name
    #[arg(long, value_name = "NAME", requires = "log")]
    query_name: Option<String>,
    /// No more than this
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let read = match (&self.log, &self.stream, &self.query_name) {
            (None, ..) => store.snapshots(),
            (Some(log), Some(stream), _) => store.event_log(log)?.snapshots().list(stream),
            (Some(log), None, Some(name)) => store.event_log(log)?.snapshots().list(Subject::query(name)),
            (Some(log), None, None) => store.event_log(log)?.snapshots().all(),
        };
        let mut infos = read.each().wait_iter().take(self.limit.unwrap_or(usize::MAX));
        if ui.is_json() {
            for info in infos {
                ui.object(&info_json(&info?))?;
            }
            return Ok(ExitCode::Success);
        }
        // A table at a time, in bounded memory.
        const TABLE_ROWS: usize = 1_000;
        let mut shown = 0;
        loop {
            let mut table = Table::new(ui, &["log", "subject", "at", "schema", "recorded at", "stored"]);
            let mut rows = 0;
            for info in infos.by_ref().take(TABLE_ROWS) {
                let info = info?;
                let (subject, at, schema) =
                    (info.subject.to_string(), info.at.to_string(), info.schema.clone().unwrap_or_default());
                table.row(&[
                    info.log.to_string(),
                    subject,
                    at,
                    schema,
                    if info.damage.is_some() { String::new() } else { time(info.recorded_at) },
                    stored(&info),
                ]);
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
        ui.note(counted(shown as u64, "snapshot"));
        Ok(ExitCode::Success)
    }
}
