//! The entries in memory.

mod arena;
mod block;
mod hash_index;
mod ordered_index;
#[cfg(test)]
mod tests;

use std::{
    hint::black_box,
    ops::{Bound, RangeBounds},
};

pub(crate) use self::{arena::MOST_BYTES, block::LARGE_VALUE_BYTES};
use self::{
    arena::{Arena, Place},
    block::{Block, Content, LargeValues, key_at, length_of},
    hash_index::HashIndex,
    ordered_index::OrderedIndex,
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

/// So few writes are not worth a look ahead.
const FEW_WRITES: usize = 8;
/// Higher sequence numbers and times would leave no room for later ones.
const MOST_SEQ: u64 = u64::MAX / 2;
const MOST_HLC: u64 = u64::MAX / 2;

/// The latest write of every key, removals included, and what is known about authors and peers.
///
/// Entries lie in an arena, stamp, key and value together; a hash leads to them for reading one, an ordered index for
/// reading many, and the outbox to those that are pending. That takes about 60 bytes per entry beside key and value.
#[derive(Debug)]
pub(crate) struct Store {
    arena: Arena,
    large: LargeValues,
    by_hash: HashIndex,
    /// None while a file is being read: it is built once, when all entries are known.
    by_key: Option<OrderedIndex>,
    outbox: Outbox<Place>,
    /// Node ids by author, with the epoch of the author's data; the first is the owner's.
    authors: Vec<(String, u64)>,
    vector: VersionVector,
    /// Entries with a value.
    visible: usize,
    /// What the keys and values add up to.
    data_bytes: u64,
}

impl Store {
    /// An empty store. It does not know the order of its keys until it is [ready](Self::make_ready).
    pub(crate) fn loading(node_id: &str) -> Self {
        Self {
            arena: Arena::default(),
            large: LargeValues::default(),
            by_hash: HashIndex::default(),
            by_key: None,
            outbox: Outbox::default(),
            authors: vec![(node_id.to_owned(), 0)],
            vector: VersionVector::default(),
            visible: 0,
            data_bytes: 0,
        }
    }

    /// An empty store that is ready.
    pub(crate) fn new(node_id: &str) -> Self {
        let mut store = Self::loading(node_id);
        store.make_ready();
        store
    }

    /// Brings the keys into order, so that ranges can be read.
    pub(crate) fn make_ready(&mut self) {
        let places: Vec<Place> = self.by_hash.places().collect();
        self.by_key = Some(OrderedIndex::build(&self.arena, places.iter().copied()));
    }

    /// Takes writes in, one after the other.
    pub(crate) fn apply_all<'a>(
        &mut self,
        writes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Stamp)> + Clone,
    ) {
        if writes.clone().nth(FEW_WRITES).is_some() {
            self.fetch(writes.clone().map(|(key, ..)| key));
        }
        for (key, value, stamp) in writes {
            self.apply(key, value, stamp);
        }
    }

    /// Looks for keys, of which nothing depends on the one before: so the processor fetches what many of them need at a
    /// time, where a write waits for what it needs itself.
    fn fetch<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let found = keys.filter(|key| self.by_hash.get(&self.arena, key).is_some());
        black_box(found.count());
    }

    /// Takes a write in, unless there is a later one.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) {
        self.vector.see(stamp.author, stamp.seq, stamp.hlc);
        let place = match self.by_hash.get(&self.arena, key) {
            None => self.add(key, value, stamp),
            Some(place) => {
                let authors = &self.authors;
                let old = Block::read(self.arena.at(place)).stamp;
                if !stamp.supersedes(&old, |author| &authors[author.0 as usize].0) {
                    return;
                }
                if old.author == Author::OWNER {
                    self.outbox.remove(old.seq);
                }
                self.supersede(place, key, value, stamp)
            }
        };
        self.visible += usize::from(value.is_some());
        self.data_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        if stamp.author == Author::OWNER {
            self.outbox.insert(stamp.seq, place);
        }
        if let Some(number) = self.arena.sparse_chunk() {
            self.empty_chunk(number);
        }
    }

    /// A new key.
    fn add(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) -> Place {
        let block = Block { stamp, key, content: content(&mut self.large, value) };
        let place = self.arena.allocate(block.length());
        block.write(self.arena.at_mut(place));
        self.by_hash.insert(key, place);
        if let Some(by_key) = &mut self.by_key {
            by_key.insert(&self.arena, key, place);
        }
        place
    }

    /// A new write of a key that is in: in the old one's place if it has the same size.
    fn supersede(&mut self, place: Place, key: &[u8], value: Option<&[u8]>, stamp: Stamp) -> Place {
        let old = Block::read(self.arena.at(place));
        let (old_length, old_content) = (old.length(), old.content);
        let old_bytes = self.large.bytes(old_content);
        self.visible -= usize::from(old_bytes.is_some());
        self.data_bytes -= (key.len() + old_bytes.map_or(0, <[u8]>::len)) as u64;
        if let Content::Large(number) = old_content {
            self.large.remove(number);
        }
        let block = Block { stamp, key, content: content(&mut self.large, value) };
        if Arena::is_same_size(old_length, block.length()) {
            block.write(self.arena.at_mut(place));
            return place;
        }
        let to = self.arena.allocate(block.length());
        block.write(self.arena.at_mut(to));
        self.lead_to(key, place, to);
        self.arena.release(place, old_length);
        to
    }

    /// Lets the indexes lead to where an entry is now. It is still at its old place too.
    fn lead_to(&mut self, key: &[u8], from: Place, to: Place) {
        self.by_hash.replace(key, from, to);
        if let Some(by_key) = &mut self.by_key {
            by_key.replace(&self.arena, key, to);
        }
    }

    /// Moves the entries of a chunk elsewhere.
    fn empty_chunk(&mut self, number: usize) {
        for from in self.arena.begin_emptying(number, length_of) {
            let block = Block::read(self.arena.at(from));
            let (stamp, length) = (block.stamp, block.length());
            let (key, bytes) = (block.key.to_vec(), self.arena.at(from)[..length].to_vec());
            let to = self.arena.allocate(length);
            self.arena.at_mut(to)[..length].copy_from_slice(&bytes);
            self.lead_to(&key, from, to);
            if stamp.author == Author::OWNER {
                self.outbox.redirect(stamp.seq, to);
            }
        }
        self.arena.drop_chunk(number);
    }

    /// Takes in what a record of a file says. Its checksum was right; that it makes sense is checked here.
    pub(crate) fn replay(&mut self, record: &Record<'_>, offset: u64) -> Result<()> {
        let author = Author(record.author);
        if record.kind == RecordKind::Author {
            if record.author as usize != self.authors.len() {
                return Err(Error::corrupted(offset, format!("author {} out of order", record.author)));
            }
            self.authors.push((text(record.key, offset)?, record.seq));
            return Ok(());
        }
        if record.author as usize >= self.authors.len() {
            return Err(Error::corrupted(
                offset,
                format!("author {}, who was not introduced", record.author),
            ));
        }
        if record.seq > MOST_SEQ || record.hlc.to_bits() > MOST_HLC {
            return Err(Error::corrupted(offset, "a sequence number or time that no writer ever reaches"));
        }
        if self.held_bytes() >= MOST_BYTES {
            return Err(Error::too_large("entries", MOST_BYTES, self.held_bytes()));
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
        let place = self.by_hash.get(&self.arena, key)?;
        self.large.value(Block::read(self.arena.at(place)).content)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let place = self.by_hash.get(&self.arena, key);
        place.is_some_and(|place| !matches!(Block::read(self.arena.at(place)).content, Content::Removed))
    }

    /// Entries with a value.
    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    /// Removed keys.
    pub(crate) fn tombstones(&self) -> usize {
        self.by_hash.len() - self.visible
    }

    /// Own writes that some peer may not have.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.len()
    }

    pub(crate) fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The memory that entries take, but for large values and the indexes.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.arena.held_bytes()
    }

    /// What the keys and values add up to.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// What records of all entries take in a file.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.data_bytes + (self.by_hash.len() * RECORD_HEAD_BYTES) as u64
    }

    /// Entries with a value in this range, in order, up to this many bytes of so many entries that are looked at, removed
    /// ones among them; and the last key of those, if there may be more.
    pub(crate) fn page(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        entries: usize,
        bytes: usize,
    ) -> (Vec<Entry>, Option<Key>) {
        let (mut page, mut taken) = (Vec::new(), 0);
        for (place, looked_at) in self.ordered().from(&self.arena, range.0).zip(1..) {
            let key = key_at(&self.arena, place);
            if !(Bound::Unbounded, range.1).contains(key) {
                break;
            }
            if let Some(value) = self.large.value(Block::read(self.arena.at(place)).content) {
                taken += key.len() + value.len();
                page.push(Entry { key: key.into(), value });
            }
            if looked_at >= entries || taken >= bytes {
                return (page, Some(key.into()));
            }
        }
        (page, None)
    }

    /// Encodes the records of entries after a key, in order, about this many bytes of them. Answers the last one's key,
    /// none at the end.
    pub(crate) fn encode_after(&self, after: Option<&[u8]>, bytes: usize, to: &mut Vec<u8>) -> Option<Key> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for place in self.ordered().from(&self.arena, start) {
            let Block { stamp: Stamp { hlc, author, seq }, key, content } = Block::read(self.arena.at(place));
            let value = self.large.bytes(content);
            let kind = if value.is_some() { RecordKind::Put } else { RecordKind::Remove };
            Record { kind, author: author.0, hlc, seq, key, value: value.unwrap_or_default() }.encode(to);
            if to.len() >= bytes {
                return Some(key.into());
            }
        }
        None
    }

    fn ordered(&self) -> &OrderedIndex {
        self.by_key.as_ref().expect("ranges are read once the store is ready")
    }

    /// Encodes what is known of authors and peers.
    pub(crate) fn encode_vector(&self, to: &mut Vec<u8>) {
        let names = self.authors.iter().enumerate();
        for (number, (name, epoch)) in names.filter(|(number, _)| *number != Author::OWNER.0 as usize) {
            let author = u32::try_from(number).expect("numbered by a u32");
            let (kind, key) = (RecordKind::Author, name.as_bytes());
            Record { kind, author, hlc: Default::default(), seq: *epoch, key, value: b"" }.encode(to);
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

/// A value as its entry holds it: within, or apart.
fn content<'a>(large: &mut LargeValues, value: Option<&'a [u8]>) -> Content<'a> {
    match value {
        None => Content::Removed,
        Some(value) if value.len() >= LARGE_VALUE_BYTES => Content::Large(large.insert(value)),
        Some(value) => Content::Small(value),
    }
}

fn text(key: &[u8], offset: u64) -> Result<String> {
    let text = std::str::from_utf8(key).map(str::to_owned);
    text.map_err(|_| Error::corrupted(offset, "a node id that is no text"))
}

/// Whether nothing can be in a range.
pub(crate) fn is_empty_range<K: Ord + ?Sized>(range: &impl RangeBounds<K>) -> bool {
    match (range.start_bound(), range.end_bound()) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
    }
}
