//! `larder snapshots show`

use larder::Payload;
use serde_json::json;

use super::{
    Named,
    keys::{self, KeyOptions},
};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, clean, counted, payload_json, time},
};

/// Shows the newest snapshot of a stream or query, with its state
#[derive(Debug, clap::Args)]
#[command(after_long_help = keys::HELP)]
pub(crate) struct Show {
    #[command(flatten)]
    named: Named,
    /// The newest one below this place (a sequence number, or a position)
    #[arg(long, value_name = "N", conflicts_with = "schema")]
    before: Option<u64>,
    /// The newest one in this schema
    #[arg(long, value_name = "SCHEMA")]
    schema: Option<String>,
    #[command(flatten)]
    keys: KeyOptions,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let codec = self.keys.codec()?;
        let store = context.open_to_read()?;
        let snapshots = self.named.snapshots(&store)?.codec(codec);
        let subject = self.named.subject();
        let (found, what) = match (self.before, &self.schema) {
            (Some(before), _) => (snapshots.before(&subject, before), format!("below {before} ")),
            (None, Some(schema)) => {
                (snapshots.latest_for(&subject, schema), format!("in schema `{schema}` "))
            }
            (None, None) => (snapshots.latest(&subject), String::new()),
        };
        let found = found.wait()?.ok_or_else(|| self.named.nothing(&what))?;
        let result = json!({
            "log": &*found.log,
            "kind": found.subject.kind(),
            "subject": found.subject.name(),
            "at": found.at,
            "schema": found.schema,
            "recorded_at": time(found.recorded_at),
            "state": payload_json(&found.state)?,
        });
        context.ui.result(&result, |ui| {
            let schema = found.schema.as_ref().map(|schema| format!("  schema {}", clean(schema)));
            ui.line(format!(
                "{} at {}{}  {}",
                ui.paint(Part::Name, clean(&found.subject.to_string())),
                ui.paint(Part::Number, found.at.to_string()),
                schema.unwrap_or_default(),
                ui.paint(Part::Faint, time(found.recorded_at))
            ))?;
            match &found.state {
                Payload::Json(json) => json.lines().try_for_each(|line| ui.line(clean(line))),
                Payload::Bytes(bytes) => ui.line(counted(bytes.len() as u64, "byte")),
            }
        })?;
        Ok(ExitCode::Success)
    }
}
