//! The files that are open in this process: opening one again shares its instance.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{schema, shared::Shared};
use crate::{
    config::{Config, SqliteConfig},
    error::Result,
};

/// The instances of one file. The lock is held while one is opened: others who open that file wait for it.
type Instances = Mutex<Vec<Weak<Shared>>>;

static OPEN_FILES: Mutex<BTreeMap<PathBuf, Arc<Instances>>> = Mutex::new(BTreeMap::new());

/// Opens a file, or joins whoever has it open in this process.
pub(super) fn open(config: &Config, sqlite: &SqliteConfig) -> Result<Arc<Shared>> {
    schema::prepare_path(sqlite)?;
    let Ok(path) = real_path(&sqlite.path) else { return Shared::open(config, sqlite) };
    let file = instances_of(path);
    let mut instances = file.lock().unwrap_or_else(PoisonError::into_inner);
    instances.retain(|shared| shared.strong_count() > 0);
    if let Some(shared) = instances.iter().filter_map(Weak::upgrade).find(|shared| shared.try_share(sqlite)) {
        return shared.shared_as(config, sqlite);
    }
    let shared = Shared::open(config, sqlite)?;
    instances.push(Arc::downgrade(&shared));
    Ok(shared)
}

/// The path without links, also of a file that is not there yet.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|_| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(parent.canonicalize()?.join(path.file_name().unwrap_or_default()))
    })
}

fn instances_of(path: PathBuf) -> Arc<Instances> {
    let mut files = OPEN_FILES.lock().unwrap_or_else(PoisonError::into_inner);
    // Files that nobody has open, nor is opening.
    files.retain(|_, instances| {
        Arc::strong_count(instances) > 1
            || instances.lock().is_ok_and(|open| open.iter().any(|shared| shared.strong_count() > 0))
    });
    files.entry(path).or_default().clone()
}
