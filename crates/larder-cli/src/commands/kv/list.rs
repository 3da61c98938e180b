//! `larder kv list`: keys and values in order.

use std::ffi::OsString;

use serde_json::json;

use super::place::{Place, bytes_of, json_bytes};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, clean, counted},
};

/// The most characters of a value that a table shows.
const SHOWN_CHARS: usize = 60;
/// A table at a time, so that millions of keys are listed in bounded memory.
const TABLE_ROWS: usize = 1_000;

/// Lists keys and values, in the order of the keys' bytes
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only keys that start with this
    prefix: Option<OsString>,
    /// From this key on
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY")]
    before: Option<OsString>,
    /// No more keys than this
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only the keys, one a line
    #[arg(long)]
    keys: bool,
}

impl List {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let client = place.open()?;
        let prefix = self.prefix.as_deref().map_or(&b""[..], bytes_of);
        let from = self.from.as_deref().map_or(&b""[..], bytes_of).to_vec();
        let scan = client.scan(prefix)?;
        let scan = match self.before.as_deref().map(bytes_of) {
            Some(before) => scan.range(from..before.to_vec()),
            None => scan.range(from..),
        };
        let mut entries = scan.take(self.limit.unwrap_or(usize::MAX)).peekable();
        let mut shown = 0_u64;
        while entries.peek().is_some() {
            let mut table = Table::new(ui, &["key", "value"]);
            for entry in entries.by_ref().take(TABLE_ROWS) {
                shown += 1;
                if ui.is_json() && self.keys {
                    ui.object(&json!({ "key": json_bytes(&entry.key) }))?;
                } else if ui.is_json() {
                    ui.object(&json!({ "key": json_bytes(&entry.key), "value": json_bytes(&entry.value) }))?;
                } else if self.keys {
                    ui.line(clean(&entry.key.to_string()))?;
                } else {
                    table.row(&[entry.key.to_string(), short(&entry.value.to_string())]);
                }
            }
            if !ui.is_json() && !self.keys {
                table.show(ui)?;
            }
        }
        ui.note(counted(shown, "key"));
        client.close().wait()?;
        Ok(ExitCode::Success)
    }
}

fn short(value: &str) -> String {
    let mut chars = value.chars();
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}
