//! Saving what is sound in a damaged file.

use std::{io, ops::Range, path::PathBuf, sync::Arc};

use larder_runtime::micros_since_epoch;

use crate::{
    Call,
    completion::on_thread,
    core::beside,
    error::{Error, ErrorKind, Result},
    io::{DiskFile, OpenFile},
    open::{folder, lock_file, lock_names, resolve},
    options::ClientOptions,
    store::Store,
    wal::{
        frame::{FRAME_ALIGNMENT, Frame},
        header::{HEADER_BYTES, Header, Identity},
        reader::{FrameReader, Step},
        record,
        recovery::find_frame,
        writer::NewFile,
    },
};

/// The size of a frame of entries in the new file.
const FRAME_OF_ENTRIES: usize = 64 << 10;
const COPY_BYTES: usize = 1 << 20;

/// What [`repair`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Sound frames that were found.
    pub frames: u64,
    /// Records in them: puts and removals.
    pub records: u64,
    /// Keys that have a value now.
    pub keys: u64,
    /// The damage: parts of the file, in bytes from its start, in which there was no sound frame.
    pub damaged: Vec<Range<u64>>,
    /// Where the damaged file was copied to. None if there was no damage: then nothing was done.
    pub set_aside: Option<PathBuf>,
}

/// Saves what is sound in a damaged file: every frame whose checksum is right, also those after the damage.
///
/// A copy of the damaged file is put aside, and a new file with what was saved takes its place. What was in the damaged
/// part is lost: keys may have an older value than they had, or none. Other nodes will see that data was lost, by the
/// new file's epoch. Nobody may have the file open.
///
/// ```
/// use larder_kv::{Client, ClientOptions, ErrorKind, repair};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("node-a.wal");
/// let options = ClientOptions::persistent("node-a", &path);
/// let client = Client::open(options.clone()).wait()?;
/// client.put("settings/theme", "dark").wait()?;
/// client.put("settings/size", "12").wait()?;
/// client.close().wait()?;
///
/// let mut bytes = std::fs::read(&path)?;
/// bytes[4096 + 40] ^= 1; // within the first frame
/// std::fs::write(&path, bytes)?;
/// let error = Client::open(options.clone()).wait().unwrap_err();
/// assert_eq!(*error.kind(), ErrorKind::Corrupted { offset: 4096 });
///
/// let repaired = repair(options.clone()).wait()?;
/// assert_eq!((repaired.keys, repaired.damaged.len()), (1, 1));
/// assert_eq!(Client::open(options).wait()?.get("settings/size")?, "12");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidArgument` if there is no file to repair, `Incompatible` if it is no file of this node or has records of a newer
/// version, `Locked`; `Corrupted` if both copies of its header are damaged; `Io`, `Full`: nothing is lost, the damaged
/// file is in its place or set aside.
pub fn repair(mut options: ClientOptions) -> Call<Repaired> {
    Call::new(async move {
        options.check()?;
        if !options.enable_wal {
            return Err(Error::invalid(
                "enable_wal",
                "it is false, and without a file there is nothing to repair",
            ));
        }
        let path = options.wal_path.display().to_string();
        let work = move || resolve(&mut options).and_then(|()| run(&options));
        let repaired = on_thread("larder-kv-repair", work).await;
        repaired.map_err(|error| error.with("wal_path", path))
    })
}

fn run(options: &ClientOptions) -> Result<Repaired> {
    let _lock = lock_file(options)?;
    let file = match options.disk.open(&options.wal_path, OpenFile::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::invalid("wal_path", "there is no such file"));
        }
        file => file.map_err(Error::io)?,
    };
    lock_names(&*file)?;
    let mut page = vec![0; HEADER_BYTES];
    let length = file.read_at(0, &mut page).map_err(Error::io)?;
    let page = &page[..length];
    let (header, identity) = Header::decode_either(page)?;
    if header.node_id != options.node_id {
        let found = format!("the file of node `{}`, not of `{}`", header.node_id, options.node_id);
        return Err(Error::incompatible(found));
    }
    let mut repaired = Repaired::default();
    if Header::decode(page).is_err() {
        repaired.damaged.push(0..HEADER_BYTES as u64);
    }
    let mut store = Store::loading(&options.node_id);
    salvage(&*file, identity, &mut store, &mut repaired)?;
    store.make_ready();
    repaired.keys = store.visible() as u64;
    if !repaired.damaged.is_empty() {
        repaired.set_aside = Some(set_aside(options, &file)?);
        let epoch = micros_since_epoch(options.clock.now()).max(header.epoch + 1);
        put_in_place(options, &store, &Header { epoch, generation: 1, ..header })?;
    }
    Ok(repaired)
}

/// Takes every sound frame in, and notes what lies between them.
fn salvage(
    file: &dyn DiskFile,
    identity: Identity,
    store: &mut Store,
    repaired: &mut Repaired,
) -> Result<()> {
    let file_bytes = file.len().map_err(Error::io)?;
    let (mut start, mut sequence) = (HEADER_BYTES as u64, 0);
    loop {
        let mut reader = FrameReader::new(file, identity, start, file_bytes.max(start));
        let end = loop {
            match reader.next().map_err(Error::io)? {
                Step::Frame(offset, frame) if frame.sequence > sequence => {
                    sequence = frame.sequence;
                    repaired.frames += 1;
                    if !take(offset, &frame, store, repaired)? {
                        repaired.damaged.push(offset..offset + frame.file_bytes as u64);
                    }
                }
                Step::Frame(offset, _) | Step::End(offset, _) => break offset,
            }
        };
        let search = find_frame(file, identity, end, sequence, file_bytes, |_| true).map_err(Error::io)?;
        let damage_end = search.found.unwrap_or(end + search.rest_bytes);
        if damage_end > end {
            repaired.damaged.push(end..damage_end);
        }
        match search.found {
            Some(found) => start = found,
            None => return Ok(()),
        }
    }
}

/// Whether all of a frame's records made sense. What a newer version has written is no damage: it fails.
fn take(offset: u64, frame: &Frame<'_>, store: &mut Store, repaired: &mut Repaired) -> Result<bool> {
    let mut sound = true;
    for record in record::decode(frame.records, offset) {
        let taken = record.and_then(|record| {
            store.replay(&record, offset)?;
            repaired.records += u64::from(record.kind.is_write());
            Ok(())
        });
        match taken {
            Err(error) if *error.kind() == ErrorKind::Incompatible => return Err(error),
            taken => sound &= taken.is_ok(),
        }
    }
    Ok(sound)
}

/// Copies the damaged file to a name that is free.
fn set_aside(options: &ClientOptions, file: &Arc<dyn DiskFile>) -> Result<PathBuf> {
    let disk = &options.disk;
    let mut number = 1;
    let path = loop {
        let path = beside(options, &format!(".damaged-{number}"));
        match disk.open(&path, OpenFile::Existing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break path,
            Err(error) if error.kind() != io::ErrorKind::IsADirectory => return Err(Error::io(error)),
            _ => number += 1,
        }
    };
    let copy = disk.open(&path, OpenFile::Empty).map_err(Error::io)?;
    let (mut at, mut bytes) = (0, vec![0; COPY_BYTES]);
    loop {
        let length = file.read_at(at, &mut bytes).map_err(Error::io)?;
        if length == 0 {
            break;
        }
        copy.write_at(at, &bytes[..length]).map_err(Error::io)?;
        at += length as u64;
    }
    copy.sync().map_err(Error::io)?;
    disk.sync_directory(folder(&path)).map_err(Error::io)?;
    Ok(path)
}

/// Writes a file with what was saved, and gives it the damaged one's name.
fn put_in_place(options: &ClientOptions, store: &Store, header: &Header) -> Result<()> {
    let disk = &options.disk;
    let path = beside(options, ".new");
    let mut new = NewFile::begin(disk.open(&path, OpenFile::Empty).map_err(Error::io)?, header)?;
    let (mut records, mut after) = (Vec::new(), None);
    store.encode_vector(&mut records);
    loop {
        after = store.encode_after(after.as_deref(), FRAME_OF_ENTRIES, &mut records);
        if !records.is_empty() {
            new.push(&records)?;
            records.clear();
        }
        if after.is_none() {
            break;
        }
    }
    new.seal()?;
    new.file.sync().map_err(Error::io)?;
    disk.rename(&path, &options.wal_path).map_err(Error::io)?;
    disk.sync_directory(folder(&options.wal_path)).map_err(Error::io)
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(FRAME_ALIGNMENT));
