//! Opening and closing.

use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
};

use larder_runtime::micros_since_epoch;

use crate::{
    core::{Core, Parts, beside, lock},
    error::{Error, ErrorKind, Result},
    io::{DiskFile, DiskLock, Locking, OpenFile},
    options::ClientOptions,
    store::Store,
    sync::{entry::Author, hlc::HybridClock},
    wal::{
        header::{HEADER_BYTES, Header, Identity},
        record,
        recovery::{Recovery, read_frames, read_header},
        writer::{NewFile, Place, Writer},
    },
};

/// How much is written again at a time.
const AGAIN_BYTES: usize = 256 << 10;

/// A file whose header was read or written.
type Opened = (Arc<dyn DiskFile>, Header, Identity);

/// Opens a client: recovers its file, or begins one.
pub(crate) fn open(mut options: ClientOptions) -> Result<Arc<Core>> {
    options.check()?;
    if !options.enable_wal {
        let store = Store::new(&options.node_id);
        let (clock, recovery) = (HybridClock::default(), Recovery::default());
        let parts = Parts { store, clock, last_seq: 0, wal: None, recovery, file_lock: None };
        return Ok(Arc::new(Core::new(options, parts)));
    }
    let path = options.wal_path.display().to_string();
    let opened = resolve(&mut options).and_then(|()| open_file(&options));
    let parts = opened.map_err(|error| error.with("wal_path", path))?;
    if parts.recovery.cut_off > 0 {
        let (bytes, end) = (parts.recovery.cut_off, parts.recovery.end);
        tracing::warn!(bytes, end, path = %options.wal_path.display(), "cut off a torn tail");
    }
    let core = Arc::new(Core::new(options, parts));
    if !core.options.auto_flush {
        let flusher = core.clone();
        let builder = thread::Builder::new().name("larder-kv-flush".into());
        let thread = builder.spawn(move || flusher.flush_now_and_then()).map_err(Error::io)?;
        lock(&core.threads).push(thread);
    }
    Ok(core)
}

fn open_file(options: &ClientOptions) -> Result<Parts> {
    let file_lock = lock_file(options)?;
    // Left by a crash; it counts for nothing, so it does not matter if it stays.
    let _ = options.disk.remove(&beside(options, ".new"));
    let (file, header, identity) = match existing(options)? {
        Some(found) => {
            // A crash, or a failure, may have come between a rename and this: what is written from now on would be lost
            // with the name.
            options.disk.sync_directory(folder(&options.wal_path)).map_err(Error::io)?;
            found
        }
        None => begin(options)?,
    };
    if header.node_id != options.node_id {
        let found = format!("the file of node `{}`, not of `{}`", header.node_id, options.node_id);
        return Err(
            Error::incompatible(found).with_hint("one node, one file: give this node another wal_path")
        );
    }
    let mut store = Store::loading(&options.node_id);
    let (recovery, place) = recover(&*file, identity, &mut store)?;
    let (last_seq, _) = store.vector().seen(Author::OWNER);
    let mut clock = HybridClock::default();
    clock.observe(store.vector().latest());
    let wal = Some(Writer::new(file, header, &place, options.auto_flush));
    Ok(Parts { store, clock, last_seq, wal, recovery, file_lock: Some(file_lock) })
}

/// Goes on with the file that the path leads to, for which there is one lock, and whose place a compaction takes.
pub(crate) fn resolve(options: &mut ClientOptions) -> Result<()> {
    options.wal_path = options.disk.resolve(&options.wal_path).map_err(Error::io)?;
    Ok(())
}

/// Takes the lock of the file itself too, for those who come by another of its names.
pub(crate) fn lock_names(file: &dyn DiskFile) -> Result<()> {
    if file.try_lock().map_err(Error::io)? {
        return Ok(());
    }
    Err(taken(None).with("found", "another name of the same file is in use"))
}

fn taken(pid: Option<u32>) -> Error {
    Error::new(ErrorKind::Locked { pid })
        .with_hint("a file is for one client at a time: close the other, or use it")
}

/// Takes the lock beside the file, creating the folder.
pub(crate) fn lock_file(options: &ClientOptions) -> Result<Box<dyn DiskLock>> {
    options.disk.create_directories(folder(&options.wal_path)).map_err(Error::io)?;
    match options.disk.try_lock(&beside(options, ".lock")).map_err(Error::io)? {
        Locking::Locked(file_lock) => Ok(file_lock),
        Locking::Taken { pid } => Err(taken(pid)),
    }
}

pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The file as it is; none if there is none, or nothing in it.
fn existing(options: &ClientOptions) -> Result<Option<Opened>> {
    let file = match options.disk.open(&options.wal_path, OpenFile::Existing) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Err(Error::invalid("wal_path", "it is a folder, not a file"));
        }
        Err(error) => return Err(Error::io(error)),
    };
    if file.is_empty().map_err(Error::io)? {
        return Ok(None);
    }
    lock_names(&*file)?;
    let (header, identity) = read_header(&*file)?;
    Ok(Some((file, header, identity)))
}

/// Begins a file. It has its name only once it is whole.
fn begin(options: &ClientOptions) -> Result<Opened> {
    let epoch = micros_since_epoch(options.clock.now());
    let header = Header { node_id: options.node_id.clone(), epoch, generation: 1 };
    let new = beside(options, ".new");
    let file = options.disk.open(&new, OpenFile::Empty).map_err(Error::io)?;
    lock_names(&*file)?;
    NewFile::begin(file.clone(), &header)?;
    file.sync().map_err(Error::io)?;
    options.disk.rename(&new, &options.wal_path).map_err(Error::io)?;
    options.disk.sync_directory(folder(&options.wal_path)).map_err(Error::io)?;
    let identity = header.identity();
    Ok((file, header, identity))
}

/// Reads a file into memory, cuts off a torn tail, and makes what was read durable.
fn recover(file: &dyn DiskFile, identity: Identity, store: &mut Store) -> Result<(Recovery, Place)> {
    let mut recovery = Recovery::default();
    let mut vouched = HEADER_BYTES as u64;
    let end = read_frames(file, identity, |offset, frame| {
        recovery.frames += 1;
        vouched = vouched.max(frame.durable_through);
        for record in record::decode(frame.records, offset) {
            let record = record?;
            recovery.records += u64::from(record.kind.is_write());
            store.replay(&record, offset)?;
        }
        Ok(())
    })?;
    store.make_ready();
    recovery.keys = store.visible() as u64;
    recovery.end = end.offset;
    let mut reserved = end.file_bytes.max(HEADER_BYTES as u64);
    if let Some((bytes, because)) = end.torn {
        (recovery.cut_off, recovery.cut_because) = (bytes, Some(because));
        file.set_len(end.offset).map_err(Error::io)?;
        reserved = end.offset;
    }
    write_again(file, vouched..end.offset).map_err(Error::io)?;
    file.sync().map_err(Error::io)?;
    let place = Place { end: end.offset, sequence: end.sequence, reserved, is_sealed: end.is_sealed };
    Ok((recovery, place))
}

/// Writes the same bytes once more, so that the sync after it takes them to the disk. Where a sync has failed before, an
/// operating system may hold them in memory only and take them for written.
fn write_again(file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
    let (mut at, mut bytes) = (range.start, vec![0; AGAIN_BYTES]);
    while at < range.end {
        let left = usize::try_from(range.end - at).map_or(AGAIN_BYTES, |left| left.min(AGAIN_BYTES));
        let length = file.read_at(at, &mut bytes[..left])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(at, &bytes[..length])?;
        at += length as u64;
    }
    Ok(())
}

/// Flushes, gives the file free, and refuses everything from then on. Whoever closes as well waits for it, and gets
/// the same answer.
pub(crate) fn close(core: &Core) -> Result<()> {
    let mut answer = lock(&core.answer_of_close);
    if answer.is_none() {
        full_disk(core)?;
    }
    let result = answer.get_or_insert_with(|| close_once(core));
    result.as_ref().map_err(Error::duplicate).copied()
}

/// Closes, whatever becomes of the writes that there is no space for.
pub(crate) fn close_anyway(core: &Core) -> Result<()> {
    let mut answer = lock(&core.answer_of_close);
    let result = answer.get_or_insert_with(|| close_once(core));
    result.as_ref().map_err(Error::duplicate).copied()
}

/// Fails while there is no space for what is only in memory: then nothing is lost yet.
fn full_disk(core: &Core) -> Result<()> {
    match core.write_out(&mut lock(&core.stage)) {
        Err(error) if *error.kind() == ErrorKind::Full => {
            Err(error
                .with_hint("make room and close again; until then what was written last is in memory only"))
        }
        _ => Ok(()),
    }
}

fn close_once(core: &Core) -> Result<()> {
    core.closed.store(true, Ordering::Release);
    *lock(&core.stopping.0) = true;
    core.stopping.1.notify_all();
    lock(&core.queue).stopped = true;
    core.commit_group();
    core.summons.notify_all();
    // A compaction in the background sees that the client is closed, and gives up.
    let compacting = lock(&core.compacting);
    let mut stage = lock(&core.stage);
    let mut sync = lock(&core.sync);
    let result = match stage.wal.take() {
        Some(_) if core.is_poisoned() => Err(core.poisoned()),
        Some(mut wal) => wal.close().map_err(|error| {
            core.poison(format!("the last write failed: {error}"));
            core.commit_unknown()
        }),
        None => Ok(()),
    };
    sync.file = None;
    // What was committed before is noted by its watches once this is free.
    drop(core.store_mut());
    drop((sync, stage, compacting));
    core.watchers.end();
    // Not under the lock: one of them may be about to start another.
    let threads = std::mem::take(&mut *lock(&core.threads));
    for thread in threads {
        // The last handle may be dropped by one of these threads, which cannot wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("a thread of the client has panicked");
        }
    }
    *lock(&core.file_lock) = None;
    result
}
