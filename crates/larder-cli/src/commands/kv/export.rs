//! `larder kv export`: entries as JSON Lines.

use std::{
    ffi::OsString,
    io::BufWriter,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::place::{Place, bytes_of};
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, counted},
    whole_file::write_whole_file,
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
        let exported = write_whole_file(file, |out| Ok(client.export(prefix, BufWriter::new(out))?))?;
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
