//! `larder import --native`: an export comes back as it was.

use std::path::Path;

use larder::{ErrorKind, Limits, Position, Store, TransferOptions, Transferred, check_export};
use serde_json::json;

use crate::{
    commands::export::{bucket_json, projection_json},
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    input::open_file,
    ui::{Part, Unit, count, counted},
};

/// Imports an export, all of it or one log.
pub(super) fn run(context: &Context, file: &Path, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let bar = context.ui.bar(None, Unit::Steps);
    // What can be read twice is checked before anything is written.
    let checked = if file == Path::new("-") {
        None
    } else {
        let (reader, _) = open_file(file)?;
        Some(check_export(reader, &Limits::default()).map_err(|error| bad_export(&error, file))?)
    };
    let (reader, _) = open_file(file)?;
    let store = context.open_or_create()?;
    if let Some(export) = &checked {
        refuse_what_is_there(&store, export, log)?;
    }
    let mut options = TransferOptions::new().progress(bar.as_progress());
    if let Some(log) = log {
        options = options.log(log);
    }
    let imported = store.import(options, reader).wait();
    bar.finish();
    let closed = store.close().wait();
    let imported = imported.map_err(|error| partly(&error))?;
    closed?;
    show(context, &imported)?;
    Ok(ExitCode::Success)
}

fn bad_export(error: &larder::Error, file: &Path) -> Failure {
    let mut failure = Failure::from_library(error).with("file", file.display().to_string());
    failure.code = ExitCode::BadInput;
    failure.hint = Some(match error.kind() {
        ErrorKind::Corrupted => "nothing was imported; export it again, or copy the file again".into(),
        ErrorKind::Incompatible => "nothing was imported; import it with a newer `larder`".into(),
        _ => {
            "`--native` takes what `larder export` wrote; rows of other files are imported without it".into()
        }
    });
    failure
}

/// A log is imported only above its head, and what has no head only where there is none of its name: better said before
/// another part of the file is written.
fn refuse_what_is_there(store: &Store, export: &Transferred, only: Option<&str>) -> anyhow::Result<()> {
    const HINT: &str = "import it into another store: `larder --store sqlite:NEW.db import --native …`";
    let refused = |what: &'static str, name: &str, message: String| {
        Err(Failure::new(ExitCode::AlreadyExists, message).about(what, name).hint(HINT).into())
    };
    for log in export.logs.iter().filter(|log| only.is_none_or(|only| log.log == only)) {
        let Some(there) = store.event_log(&log.log)?.info().wait()? else { continue };
        if log.first_position > Position::START && log.first_position <= there.head {
            let message = format!(
                "log `{}` is here already, through position {}; the export starts at {}. Nothing was imported",
                log.log, there.head, log.first_position
            );
            return refused("log", &log.log, message);
        }
    }
    if only.is_some() {
        return Ok(());
    }
    for bucket in export.task_buckets.iter().map(|bucket| &bucket.bucket) {
        if store.task_bucket(bucket)?.info().wait()?.is_some() {
            let message = format!("bucket `{bucket}` is here already. Nothing was imported");
            return refused("bucket", bucket, message);
        }
    }
    for projection in export.projections.iter().map(|projection| &projection.projection) {
        if store.projection(projection)?.info().wait()?.is_some() {
            let message = format!("projection `{projection}` is here already. Nothing was imported");
            return refused("projection", projection, message);
        }
    }
    Ok(())
}

/// An import that failed on its way says what is there now.
fn partly(error: &larder::Error) -> Failure {
    let committed = error.context().iter().find(|(key, _)| *key == "committed line");
    let nothing = committed.is_none_or(|(_, line)| line == "0");
    let failure = Failure::from_library(error);
    if nothing {
        return failure;
    }
    failure.hint("a part is imported; import all of it into a new store: `larder --store sqlite:NEW.db import --native …`")
}

fn show(context: &Context, imported: &Transferred) -> anyhow::Result<()> {
    let result = json!({
        "logs": imported.logs.iter().map(|log| json!({
            "log": log.log,
            "events": log.events,
            "rows": log.rows,
            "first_position": log.first_position.get(),
            "last_position": log.last_position.get(),
        })).collect::<Vec<_>>(),
        "query_dbs": imported.query_dbs.iter().map(|query_db| json!({
            "query_db": query_db.query_db, "items": query_db.items,
        })).collect::<Vec<_>>(),
        "task_buckets": imported.task_buckets.iter().map(bucket_json).collect::<Vec<_>>(),
        "projections": imported.projections.iter().map(projection_json).collect::<Vec<_>>(),
    });
    context.ui.result(&result, |ui| {
        let told = |kind: &str, name: &str, what: String| {
            let done = ui.paint(Part::Good, "imported");
            ui.line(format!("{done} {kind} {}: {what}", ui.paint(Part::Name, name)))
        };
        for log in &imported.logs {
            let (first, last) = (count(log.first_position.get()), count(log.last_position.get()));
            let has_positions = log.last_position > Position::START;
            let positions =
                if has_positions { format!(", positions {first} to {last}") } else { String::new() };
            told("log", &log.log, counted(log.events, "event") + &positions)?;
        }
        for query_db in &imported.query_dbs {
            told("QueryDb", &query_db.query_db, counted(query_db.items, "item"))?;
        }
        for bucket in &imported.task_buckets {
            let (objects, triggers) =
                (counted(bucket.objects, "object"), counted(bucket.triggers, "trigger"));
            told("bucket", &bucket.bucket, format!("{objects}, {triggers}"))?;
        }
        for projection in &imported.projections {
            let rebuild = if projection.rebuild { ", to be rebuilt" } else { "" };
            let checkpoint = count(projection.checkpoint.get());
            told("projection", &projection.projection, format!("through position {checkpoint}{rebuild}"))?;
        }
        Ok(())
    })?;
    if *imported == Transferred::default() {
        context.ui.warn("the export is empty");
    }
    Ok(())
}
