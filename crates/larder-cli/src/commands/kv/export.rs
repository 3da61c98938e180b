//! `larder kv export`: entries as JSON Lines.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;

use super::place::{Place, bytes_of};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, counted},
};

/// Writes keys and values as JSON Lines, to come back with `larder kv import`
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The file to write, which must not exist; without it, the standard output
    file: Option<PathBuf>,
    /// Only keys that start with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<OsString>,
}

impl Export {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let client = place.open()?;
        let prefix = self.prefix.as_deref().map_or(&b""[..], bytes_of);
        let Some(file) = self.file.as_deref().filter(|file| *file != Path::new("-")) else {
            context.ui.raw(|out| client.export(prefix, out).map(drop).map_err(std::io::Error::other))?;
            return Ok(ExitCode::Success);
        };
        if file.exists() {
            let failure =
                Failure::new(ExitCode::AlreadyExists, format!("`{}` is there already", file.display()));
            return Err(failure.hint("name another file, or remove this one first").into());
        }
        // Beside it first: it is whole, or it is not there.
        let part = file.with_extension("part");
        let exported = (|| {
            let out = File::create(&part).with_context(|| format!("cannot write `{}`", part.display()))?;
            let exported = client.export(prefix, BufWriter::new(&out))?;
            out.sync_all()?;
            fs::rename(&part, file)?;
            anyhow::Ok(exported)
        })()
        .inspect_err(|_| drop(fs::remove_file(&part)))?;
        client.close().wait()?;
        let shown = file.display().to_string();
        context.ui.result(&json!({ "file": shown, "entries": exported.entries }), |ui| {
            let done = ui.paint(Part::Good, "exported");
            ui.line(format!(
                "{done} {} to {}",
                counted(exported.entries, "key"),
                ui.paint(Part::Name, &shown)
            ))
        })?;
        Ok(ExitCode::Success)
    }
}
