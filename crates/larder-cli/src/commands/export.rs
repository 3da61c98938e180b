//! `larder export`: everything as JSON Lines, to come back with `larder import --native`.

use std::{
    io,
    path::{Path, PathBuf},
};

use larder::{ErrorKind, Store, TransferOptions, Transferred, TransferredProjection, TransferredTaskBucket};
use serde_json::{Value, json};

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Unit, counted},
    whole_file::write_whole_file,
};

/// Writes logs, snapshots, QueryDbs, task buckets and projections as JSON Lines
///
/// Positions, sequence numbers, marks, ids, conditions, triggers and checkpoints stay as they are.
/// `larder import --native` reads it back, into this or another store. The format is in `docs/formats/export.md`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The file to write, which must not exist; without it, the standard output
    file: Option<PathBuf>,
    /// Only this log, with its snapshots; may be repeated
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<String>,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let Some(file) = self.file.as_deref().filter(|file| *file != Path::new("-")) else {
            self.write(context, &store, io::stdout())?;
            return Ok(ExitCode::Success);
        };
        let exported = write_whole_file(file, |out| self.write(context, &store, out))?;
        let result = json!({
            "file": file.display().to_string(),
            "events": exported.events(),
            "logs": exported.logs.iter().map(|log| json!({
                "log": log.log, "events": log.events, "rows": log.rows,
            })).collect::<Vec<_>>(),
            "items": exported.items(),
            "query_dbs": exported.query_dbs.iter().map(|query_db| json!({
                "query_db": query_db.query_db, "items": query_db.items,
            })).collect::<Vec<_>>(),
            "task_buckets": exported.task_buckets.iter().map(bucket_json).collect::<Vec<_>>(),
            "projections": exported.projections.iter().map(projection_json).collect::<Vec<_>>(),
        });
        context.ui.result(&result, |ui| {
            let (done, what) = (ui.paint(Part::Good, "exported"), told(&exported));
            ui.line(format!("{done} {what} to {}", ui.paint(Part::Name, file.display().to_string())))
        })?;
        for projection in exported.projections.iter().filter(|projection| projection.rebuild) {
            context
                .ui
                .note(format!("projection {} will be rebuilt where it is imported", projection.projection));
        }
        Ok(ExitCode::Success)
    }

    fn write(
        &self,
        context: &Context,
        store: &Store,
        writer: impl io::Write + Send + 'static,
    ) -> anyhow::Result<Transferred> {
        let bar = context.ui.bar(None, Unit::Steps);
        let options = TransferOptions::new().progress(bar.as_progress());
        let options = self.logs.iter().fold(options, TransferOptions::log);
        let exported = store.export(options, writer).wait();
        bar.finish();
        let error = match exported {
            Ok(exported) => return Ok(exported),
            Err(error) => error,
        };
        let log = error.context().iter().find(|(key, _)| *key == "log");
        if let (ErrorKind::NotFound, Some((_, log))) = (error.kind(), log) {
            context.existing_log(store, log)?;
        }
        Err(error.into())
    }
}

/// What an export holds, in a line.
fn told(exported: &Transferred) -> String {
    let of =
        |rows, row, count: usize, what| format!("{} of {}", counted(rows, row), counted(count as u64, what));
    let mut parts = vec![of(exported.events(), "event", exported.logs.len(), "log")];
    if !exported.query_dbs.is_empty() {
        parts.push(of(exported.items(), "item", exported.query_dbs.len(), "QueryDb"));
    }
    if !exported.task_buckets.is_empty() {
        let triggers = counted(exported.triggers(), "trigger");
        parts.push(format!(
            "{} and {triggers} of {}",
            counted(exported.objects(), "object"),
            counted(exported.task_buckets.len() as u64, "bucket")
        ));
    }
    if !exported.projections.is_empty() {
        parts.push(counted(exported.projections.len() as u64, "projection"));
    }
    parts.join(", ")
}

pub(super) fn bucket_json(bucket: &TransferredTaskBucket) -> Value {
    json!({ "bucket": bucket.bucket, "objects": bucket.objects, "triggers": bucket.triggers })
}

pub(super) fn projection_json(projection: &TransferredProjection) -> Value {
    json!({
        "projection": projection.projection,
        "checkpoint": projection.checkpoint,
        "dead_letters": projection.dead_letters,
        "rebuild": projection.rebuild,
    })
}
