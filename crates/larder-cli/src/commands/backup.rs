//! `larder backup`: a copy of the store's file.

use std::path::PathBuf;

use larder::ErrorKind;
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, Unit, bytes},
};

/// Copies the store to a new file, while others read and write
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The file to write, which must not exist
    file: PathBuf,
}

impl Backup {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let bar = context.ui.bar(None, Unit::Steps);
        let copied = store.backup(&self.file, bar.as_progress()).wait();
        bar.finish();
        copied.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let message = format!("`{}` is there already", self.file.display());
                anyhow::Error::from(
                    Failure::new(ExitCode::AlreadyExists, message).hint("give a new name, or remove it"),
                )
            }
            _ => error.into(),
        })?;
        let size = std::fs::metadata(&self.file)?.len();
        let file = self.file.display().to_string();
        context.ui.result(&json!({ "file": file, "bytes": size }), |ui| {
            let (done, file) = (ui.paint(Part::Good, "copied"), ui.paint(Part::Name, &file));
            ui.line(format!("{done} the store to {file}, {}", bytes(size)))
        })?;
        Ok(ExitCode::Success)
    }
}
