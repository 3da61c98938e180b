//! `larder export`: logs as JSON Lines, to come back with `larder import --native`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use larder::{Store, TransferOptions, Transferred};
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, Unit, counted},
};

/// Writes logs (positions, sequence numbers, marks, ids, conditions, snapshots) and QueryDbs as JSON Lines
///
/// `larder import --native` reads it back, into this or another store. The format is in `docs/formats/export.md`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The file to write, which must not exist; without it, the standard output
    file: Option<PathBuf>,
    /// Only this log, and no QueryDbs; may be repeated
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<String>,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        for log in &self.logs {
            context.existing_log(&store, log)?;
        }
        let Some(file) = self.file.as_deref().filter(|file| *file != Path::new("-")) else {
            self.write(context, &store, io::stdout())?;
            return Ok(ExitCode::Success);
        };
        let exported = self.write_file(context, &store, file)?;
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
        });
        context.ui.result(&result, |ui| {
            let (done, logs) = (ui.paint(Part::Good, "exported"), exported.logs.len());
            let file = ui.paint(Part::Name, file.display().to_string());
            let items = match exported.query_dbs.len() {
                0 => String::new(),
                count => format!(
                    " and {} of {}",
                    counted(exported.items(), "item"),
                    counted(count as u64, "QueryDb")
                ),
            };
            ui.line(format!(
                "{done} {} of {}{items} to {file}",
                counted(exported.events(), "event"),
                counted(logs as u64, "log")
            ))
        })?;
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
        Ok(exported?)
    }

    /// Writes beside the file first: it is whole, or it is not there.
    fn write_file(&self, context: &Context, store: &Store, file: &Path) -> anyhow::Result<Transferred> {
        if file.exists() {
            let message = format!("`{}` is there already", file.display());
            return Err(Failure::new(ExitCode::AlreadyExists, message)
                .hint("give a new name, or remove it")
                .into());
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let cannot = |path: &Path| format!("cannot write `{}`", path.display());
        let written = File::create(&part).with_context(|| cannot(&part)).and_then(|out| {
            let to_sync = out.try_clone().with_context(|| cannot(&part))?;
            let exported = self.write(context, store, out)?;
            to_sync.sync_all().with_context(|| cannot(&part))?;
            fs::rename(&part, file).with_context(|| cannot(file))?;
            Ok(exported)
        });
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }
}
