//! The entries in memory.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

use crate::{
    error::{Error, Result},
    scan::Entry,
    sync::{
        entry::{Author, Stamp},
        outbox::Outbox,
        version_vector::VersionVector,
    },
    value::{Key, Value},
    wal::record::{RECORD_HEAD_BYTES, Record, RecordKind},
};

/// The latest write of every key, removals included, and what is known about authors and peers.
#[derive(Debug)]
pub(crate) struct Store {
    entries: BTreeMap<Key, Stored>,
    /// Node ids by author; the first is the owner's.
    authors: Vec<String>,
    vector: VersionVector,
    outbox: Outbox<()>,
    /// Entries with a value.
    visible: usize,
    /// What the keys and values add up to.
    data_bytes: u64,
}

#[derive(Debug)]
struct Stored {
    stamp: Stamp,
    value: Option<Value>,
}

impl Store {
    pub(crate) fn new(node_id: &str) -> Self {
        Self {
            entries: BTreeMap::new(),
            authors: vec![node_id.to_owned()],
            vector: VersionVector::default(),
            outbox: Outbox::default(),
            visible: 0,
            data_bytes: 0,
        }
    }

    /// Takes a write in, unless there is a later one.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) {
        self.vector.see(stamp.author, stamp.seq, stamp.hlc);
        let authors = &self.authors;
        let old = self.entries.get(key);
        if let Some(old) = old {
            if !stamp.supersedes(&old.stamp, |author| &authors[author.0 as usize]) {
                return;
            }
            if old.stamp.author == Author::OWNER {
                self.outbox.remove(old.stamp.seq);
            }
            self.visible -= usize::from(old.value.is_some());
            self.data_bytes -= (key.len() + old.value.as_deref().map_or(0, <[u8]>::len)) as u64;
        }
        if stamp.author == Author::OWNER {
            self.outbox.insert(stamp.seq, ());
        }
        self.visible += usize::from(value.is_some());
        self.data_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        self.entries.insert(key.into(), Stored { stamp, value: value.map(Value::from) });
    }

    /// Takes in what a record of a file says. Its checksum was right; that it makes sense is checked here.
    pub(crate) fn replay(&mut self, record: &Record<'_>, offset: u64) -> Result<()> {
        let author = Author(record.author);
        if record.kind == RecordKind::Author {
            if record.author as usize != self.authors.len() {
                return Err(Error::corrupted(offset, format!("author {} out of order", record.author)));
            }
            self.authors.push(text(record.key, offset)?);
            return Ok(());
        }
        if record.author as usize >= self.authors.len() {
            return Err(Error::corrupted(
                offset,
                format!("author {}, who was not introduced", record.author),
            ));
        }
        let stamp = Stamp { hlc: record.hlc, author, seq: record.seq };
        match record.kind {
            RecordKind::Put => self.apply(record.key, Some(record.value), stamp),
            RecordKind::Remove => self.apply(record.key, None, stamp),
            RecordKind::Seen => self.vector.see(author, record.seq, record.hlc),
            RecordKind::Delivered => self.vector.deliver(&text(record.key, offset)?, author, record.seq),
            RecordKind::Author => {}
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        self.entries.get(key)?.value.clone()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.entries.get(key).is_some_and(|stored| stored.value.is_some())
    }

    /// Entries with a value.
    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    /// Removed keys.
    pub(crate) fn tombstones(&self) -> usize {
        self.entries.len() - self.visible
    }

    /// Own writes that some peer may not have.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.len()
    }

    pub(crate) fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// What the keys and values add up to.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// What records of all entries take in a file.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.data_bytes + (self.entries.len() * RECORD_HEAD_BYTES) as u64
    }

    /// Entries with a value in this range, in order, up to this many rows and about this many bytes; and whether there
    /// may be more. The range must not be the wrong way round.
    pub(crate) fn page(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        rows: usize,
        bytes: usize,
    ) -> (Vec<Entry>, bool) {
        let (mut page, mut taken) = (Vec::new(), 0);
        for (key, stored) in self.entries.range::<[u8], _>(range) {
            let Some(value) = &stored.value else { continue };
            if page.len() >= rows || taken >= bytes {
                return (page, true);
            }
            taken += key.len() + value.len();
            page.push(Entry { key: key.clone(), value: value.clone() });
        }
        (page, false)
    }

    /// Encodes the records of entries after a key, in order, about this many bytes of them. Answers the last one's key,
    /// none at the end.
    pub(crate) fn encode_after(&self, after: Option<&[u8]>, bytes: usize, to: &mut Vec<u8>) -> Option<Key> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, stored) in self.entries.range::<[u8], _>((start, Bound::Unbounded)) {
            let Stored { stamp: Stamp { hlc, author, seq }, value } = stored;
            let kind = if value.is_some() { RecordKind::Put } else { RecordKind::Remove };
            let value = value.as_deref().unwrap_or_default();
            Record { kind, author: author.0, hlc: *hlc, seq: *seq, key, value }.encode(to);
            if to.len() >= bytes {
                return Some(key.clone());
            }
        }
        None
    }

    /// Encodes what is known of authors and peers.
    pub(crate) fn encode_vector(&self, to: &mut Vec<u8>) {
        let names = self.authors.iter().enumerate();
        for (number, name) in names.filter(|(number, _)| *number != Author::OWNER.0 as usize) {
            let author = u32::try_from(number).expect("numbered by a u32");
            let (kind, key) = (RecordKind::Author, name.as_bytes());
            Record { kind, author, hlc: Default::default(), seq: 0, key, value: b"" }.encode(to);
        }
        for number in 0..self.authors.len() {
            let author = u32::try_from(number).expect("numbered by a u32");
            let (seq, hlc) = self.vector.seen(Author(author));
            Record { kind: RecordKind::Seen, author, hlc, seq, key: b"", value: b"" }.encode(to);
        }
        for (peer, author, seq) in self.vector.delivered() {
            let (kind, key) = (RecordKind::Delivered, peer.as_bytes());
            Record { kind, author: author.0, hlc: Default::default(), seq, key, value: b"" }.encode(to);
        }
    }
}

fn text(key: &[u8], offset: u64) -> Result<String> {
    let text = std::str::from_utf8(key).map(str::to_owned);
    text.map_err(|_| Error::corrupted(offset, "a node id that is no text"))
}

/// Whether nothing can be in a range; ordered maps refuse some of these.
pub(crate) fn is_empty_range<K: Ord + ?Sized>(range: &impl RangeBounds<K>) -> bool {
    match (range.start_bound(), range.end_bound()) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
    }
}
