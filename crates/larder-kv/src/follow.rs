//! Watching a file that another process writes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    error::{Error, Result},
    io::{Disk, DiskFile, OpenFile, OsDisk},
    value::{Key, Value},
    wal::{
        header::{HEADER_BYTES, Header, Identity},
        reader::{FrameReader, Step},
        record,
        record::RecordKind,
    },
    watch::Change,
};

/// Reads the changes that other processes write to a file, without its lock: for tools that look on.
///
/// It sees what was written, whether or not it is durable yet. A write that is superseded before a compaction may
/// be left out; the latest of each key never is. When other data takes the file's place (after a repair, or because the
/// file was begun anew), everything in it is new.
///
/// ```
/// use larder_kv::{Client, ClientOptions, Follow};
///
/// # fn main() -> larder_kv::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("node-a.wal");
/// let client = Client::open(ClientOptions::persistent("node-a", &path)).wait()?;
/// client.put("settings/size", "12").wait()?;
/// let mut follow = Follow::open(&path)?;
/// client.put("settings/theme", "dark").wait()?;
/// let changes = follow.poll()?;
/// assert_eq!((changes.len(), changes[0].key.as_str()), (1, Some("settings/theme")));
/// # Ok(())
/// # }
/// ```
pub struct Follow {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    header: Header,
    identity: Identity,
    /// Where the next frame will be.
    offset: u64,
    /// The highest number seen of each author.
    seen: HashMap<u32, u64>,
    /// What is to be reported once the changes before it were.
    failed: Option<Error>,
}

impl Follow {
    /// Starts at the end of what is written now.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such file, `Incompatible` and `Corrupted` if it is no sound one, `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let (file, header, identity) = open(&path)?;
        let offset = HEADER_BYTES as u64;
        let (seen, failed) = (HashMap::new(), None);
        let mut follow = Self { path, file, header, identity, offset, seen, failed };
        follow.read_on(&mut Vec::new())?;
        Ok(follow)
    }

    /// The node whose file it is.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.header.node_id
    }

    /// The changes since the last look, in the order in which they were written; none if there are none yet.
    ///
    /// # Errors
    /// `Io`; `Corrupted` and `Incompatible` for what cannot be read, or if another node's file has taken this one's
    /// place. Changes that came before it are answered first.
    pub fn poll(&mut self) -> Result<Vec<Change>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut changes = Vec::new();
        match self.look(&mut changes) {
            Err(error) if changes.is_empty() => return Err(error),
            result => self.failed = result.err(),
        }
        Ok(changes)
    }

    fn look(&mut self, changes: &mut Vec<Change>) -> Result<()> {
        self.read_on(changes)?;
        // After a compaction, the rest is in the file that has taken the place of this one.
        let (file, header, identity) = open(&self.path)?;
        if header == self.header {
            return Ok(());
        }
        if header.node_id != self.header.node_id {
            return Err(Error::incompatible(format!("the file of node `{}`", header.node_id)));
        }
        if header.epoch != self.header.epoch {
            // Other data, whose numbers were given out anew.
            self.seen.clear();
        }
        (self.file, self.header, self.identity) = (file, header, identity);
        self.offset = HEADER_BYTES as u64;
        self.read_on(changes)
    }

    /// Reads to the end of what is there.
    fn read_on(&mut self, changes: &mut Vec<Change>) -> Result<()> {
        let mut found = BTreeMap::new();
        let result = self.read_frames(&mut found);
        for (author, seq) in found.keys() {
            self.seen.insert(*author, *seq);
        }
        changes.extend(found.into_values());
        result
    }

    /// Reads changes by author and number: a compacted file holds its entries by key, and the latest of them twice.
    fn read_frames(&mut self, found: &mut BTreeMap<(u32, u64), Change>) -> Result<()> {
        let limit = self.file.len().map_err(Error::io)?.max(self.offset);
        let mut reader = FrameReader::new(&*self.file, self.identity, self.offset, limit);
        // What is not a sound frame yet may become one: whoever writes it is not done.
        while let Step::Frame(offset, frame) = reader.next().map_err(Error::io)? {
            self.offset = offset + frame.file_bytes as u64;
            for record in record::decode(frame.records, offset) {
                let record = record?;
                let is_new = self.seen.get(&record.author).is_none_or(|seen| record.seq > *seen);
                if record.kind.is_write() && is_new {
                    let value = (record.kind == RecordKind::Put).then(|| Value::from(record.value));
                    let change = Change { key: Key::from(record.key), value };
                    found.insert((record.author, record.seq), change);
                }
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<(Arc<dyn DiskFile>, Header, Identity)> {
    let file = OsDisk.open(path, OpenFile::Reading).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::invalid("wal_path", format!("there is no file `{}`", path.display()))
        }
        _ => Error::io(error).with("wal_path", path.display().to_string()),
    })?;
    let mut page = vec![0; HEADER_BYTES];
    let length = file.read_at(0, &mut page).map_err(Error::io)?;
    let (header, identity) = Header::decode_either(&page[..length])
        .map_err(|error| error.with("wal_path", path.display().to_string()))?;
    Ok((file, header, identity))
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("path", &self.path).finish_non_exhaustive()
    }
}
