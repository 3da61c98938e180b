//! Writing the file anew, with nothing but what is needed, while writes go on.

use std::{
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
};

use crate::{
    core::{Core, Stage, beside, lock},
    error::{Error, ErrorKind, Result},
    io::{DiskFile, OpenFile},
    open::{folder, lock_names},
    wal::{
        header::{HEADER_BYTES, Header, Identity},
        reader::{FrameReader, Step},
        writer::{NewFile, Writer},
    },
};

/// A file is due when it is this many times what is needed.
const DUE_RATIO: u64 = 3;
/// Writers wait for a compaction in the background when it is this many times more.
const OVERDUE_RATIO: u64 = 3;
/// The size of a frame of entries.
const FRAME_OF_ENTRIES: usize = 64 << 10;
/// What may be left to copy while writes wait.
const LEFT_TO_COPY: u64 = 1 << 20;
/// If writes come faster than they are copied, it has to end all the same.
const MOST_ROUNDS: usize = 8;

/// Compacts in the background if most of the file is outdated. A writer that outruns the compaction waits for it, or
/// the file would have no bound.
pub(crate) fn if_due(core: &Arc<Core>) {
    if !core.options.enable_wal || !core.options.auto_compact {
        return;
    }
    if core.gauges.compacts.load(Ordering::Relaxed) {
        if exceeds(core, OVERDUE_RATIO) {
            wait_for_background(core);
        }
    } else if exceeds(core, 1) && core.check_open().is_ok() {
        in_background(core);
    }
}

/// Whether the file is this many times what it may be without a compaction. After a failed one it may double.
fn exceeds(core: &Core, times: u64) -> bool {
    let file_bytes = core.gauges.file_bytes.load(Ordering::Relaxed);
    file_bytes >= times * core.options.compact_min_bytes
        && file_bytes >= core.gauges.retry_bytes.load(Ordering::Relaxed)
        && file_bytes
            >= times * DUE_RATIO * (core.gauges.live_bytes.load(Ordering::Relaxed) + HEADER_BYTES as u64)
}

fn wait_for_background(core: &Core) {
    let (background, done) = &core.background;
    let mut guard = lock(background);
    while core.gauges.compacts.load(Ordering::Relaxed) {
        guard = done.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Compacts on a thread of its own, unless one does already.
fn in_background(core: &Arc<Core>) {
    let guard = lock(&core.background.0);
    if core.gauges.compacts.swap(true, Ordering::Relaxed) {
        return;
    }
    drop(guard);
    let running = Running(core.clone());
    let work = move || {
        let core = &*running.0;
        if let Err(error) = compact(core) {
            if *error.kind() != ErrorKind::Closed {
                tracing::warn!(%error, "a compaction in the background failed; the file stays as it is");
            }
            let file_bytes = core.gauges.file_bytes.load(Ordering::Relaxed);
            core.gauges.retry_bytes.store(2 * file_bytes, Ordering::Relaxed);
        }
    };
    match thread::Builder::new().name("larder-kv-compact".into()).spawn(work) {
        Ok(thread) => {
            let mut threads = lock(&core.threads);
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
        Err(error) => tracing::warn!(%error, "the thread of a compaction did not start"),
    }
}

/// A compaction in the background; when it is dropped, also by a panic, nobody waits for it any more.
struct Running(Arc<Core>);

impl Drop for Running {
    fn drop(&mut self) {
        let _guard = lock(&self.0.background.0);
        self.0.gauges.compacts.store(false, Ordering::Relaxed);
        self.0.background.1.notify_all();
    }
}

/// Writes the file anew and puts it in the old one's place.
pub(crate) fn compact(core: &Core) -> Result<()> {
    if !core.options.enable_wal {
        return core.check_open();
    }
    let _one_at_a_time = lock(&core.compacting);
    let old = Old::look(core)?;
    let path = beside(&core.options, ".new");
    let result = rewrite(core, &old, &path);
    if result.is_err() && !core.is_poisoned() {
        // What is left of it counts for nothing, and goes with the next attempt if not now.
        let _ = core.options.disk.remove(&path);
    }
    result
}

/// The file as it is, through a place up to which memory has everything.
struct Old {
    file: Arc<dyn DiskFile>,
    identity: Identity,
    header: Header,
    through: u64,
    /// What is known of authors and peers there.
    vector: Vec<u8>,
}

impl Old {
    fn look(core: &Core) -> Result<Self> {
        let mut stage = lock(&core.stage);
        let through = written(core, &mut stage)?;
        // Once these are held and what is written is synced, every write that is in the file is in memory too.
        let sync = lock(&core.sync);
        let synced = core.finish(std::mem::take(&mut stage.group), sync, through);
        let mut vector = Vec::new();
        core.store().encode_vector(&mut vector);
        let wal = stage.wal.as_ref().map(|wal| (wal.file.clone(), wal.header.clone()));
        drop(stage);
        core.answer(synced);
        let (file, header) = wal.ok_or_else(|| Error::new(ErrorKind::Closed))?;
        Ok(Self { file, identity: header.identity(), header, through, vector })
    }
}

/// Gives what is encoded to the operating system, and answers where that ends.
fn written(core: &Core, stage: &mut Stage) -> Result<u64> {
    core.check_open()?;
    core.write_out(stage)?;
    stage.wal.as_ref().map(Writer::written).ok_or_else(|| Error::new(ErrorKind::Closed))
}

fn rewrite(core: &Core, old: &Old, path: &Path) -> Result<()> {
    let header = Header { generation: old.header.generation + 1, ..old.header.clone() };
    let file = core.options.disk.open(path, OpenFile::Empty).map_err(Error::io)?;
    lock_names(&*file)?;
    let mut new = NewFile::begin(file, &header)?;
    new.push(&old.vector)?;
    write_entries(core, &mut new)?;
    let mut copied = old.through;
    for _ in 0..MOST_ROUNDS {
        let through = written(core, &mut lock(&core.stage))?;
        copy(old, copied..through, &mut new)?;
        let was_little = through - copied < LEFT_TO_COPY;
        copied = through;
        if was_little {
            break;
        }
    }
    new.write_out()?;
    new.file.sync().map_err(Error::io)?;
    replace(core, old, new, header, copied, path)
}

/// Writes the entries as they are, part by part: a part that has changed since will be among the copied frames.
fn write_entries(core: &Core, new: &mut NewFile) -> Result<()> {
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        records.clear();
        after = core.store().encode_after(after.as_deref(), FRAME_OF_ENTRIES, &mut records);
        core.check_open()?;
        if !records.is_empty() {
            new.push(&records)?;
        }
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Copies frames of the old file to the end of the new one.
fn copy(old: &Old, range: std::ops::Range<u64>, new: &mut NewFile) -> Result<()> {
    let mut reader = FrameReader::new(&*old.file, old.identity, range.start, range.end);
    loop {
        match reader.next().map_err(Error::io)? {
            Step::Frame(_, frame) if frame.records.is_empty() => {}
            Step::Frame(_, frame) => new.push(frame.records)?,
            Step::End(offset, _) if offset == range.end => return Ok(()),
            Step::End(offset, why) => {
                return Err(Error::corrupted(offset, why.unwrap_or("nothing where a frame was")));
            }
        }
    }
}

/// Lets writes wait, copies the last of them, and gives the new file the old one's name.
fn replace(core: &Core, old: &Old, mut new: NewFile, header: Header, copied: u64, path: &Path) -> Result<()> {
    let (disk, wal_path) = (&core.options.disk, &core.options.wal_path);
    let mut stage = lock(&core.stage);
    let through = written(core, &mut stage)?;
    let mut sync = lock(&core.sync);
    copy(old, copied..through, &mut new)?;
    let place = new.seal()?;
    new.file.sync().map_err(Error::io)?;
    if core.is_poisoned() {
        return Err(core.poisoned());
    }
    // From here on it is not known which of the two files a crash would leave, so there is no way back.
    let renamed = disk.rename(path, wal_path).and_then(|()| disk.sync_directory(folder(wal_path)));
    renamed.map_err(|error| {
        core.poison(format!("the compacted file could not be put in place: {error}"));
        core.commit_unknown().with("path", wal_path.display().to_string())
    })?;
    core.gauges.generation.store(header.generation, Ordering::Relaxed);
    core.gauges.file_bytes.store(place.end, Ordering::Relaxed);
    core.gauges.retry_bytes.store(0, Ordering::Relaxed);
    let wal = Writer::new(new.file, header, &place, core.options.auto_flush);
    sync.file = Some(wal.file.clone());
    sync.durable = wal.durable.clone();
    stage.wal = Some(wal);
    Ok(())
}
