//! A file that is whole, or not there.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{exit_code::ExitCode, failure::Failure};

/// Writes a file that does not exist yet: beside it first, and it gets its name once everything is on disk.
pub(crate) fn write_whole_file<T>(
    file: &Path,
    write: impl FnOnce(File) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
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
    let out = File::options().write(true).create_new(true).open(&part).with_context(|| cannot(&part))?;
    let written = (|| {
        let to_sync = out.try_clone().with_context(|| cannot(&part))?;
        let written = write(out)?;
        to_sync.sync_all().with_context(|| cannot(&part))?;
        fs::rename(&part, file).with_context(|| cannot(file))?;
        sync_folder(file).with_context(|| cannot(file))?;
        Ok(written)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

/// Makes a file's name durable.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
