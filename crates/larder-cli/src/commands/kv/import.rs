//! `larder kv import`: puts what an export holds.

use std::{
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;

use super::place::Place;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, counted},
};

/// Puts the keys and values of an export, as writes of this node
///
/// It commits up to 1,000 of them at a time; if a line cannot be taken, those before it may be there.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The file to read; `-` is the standard input
    file: PathBuf,
}

impl Import {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let from: Box<dyn BufRead> = if self.file == Path::new("-") {
            Box::new(stdin().lock())
        } else {
            let file =
                File::open(&self.file).with_context(|| format!("cannot read `{}`", self.file.display()))?;
            Box::new(BufReader::new(file))
        };
        let client = place.open_or_create()?;
        let imported = client.import(from)?;
        client.close().wait()?;
        context.ui.result(&json!({ "entries": imported.entries }), |ui| {
            let done = ui.paint(Part::Good, "imported");
            ui.line(format!("{done} {} into {}", counted(imported.entries, "key"), place.path().display()))
        })?;
        Ok(ExitCode::Success)
    }
}
