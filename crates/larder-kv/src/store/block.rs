//! An entry as a block of bytes: stamp, key, value.

use std::sync::Arc;

use crate::{
    store::arena::{Arena, Place, first_word},
    sync::{
        entry::{Author, Stamp},
        hlc::Hlc,
    },
    value::Value,
    wal::frame::{u32_at, u64_at},
};

/// Values from this length on are kept apart, and shared with whoever reads them.
pub(crate) const LARGE_VALUE_BYTES: usize = 2 << 10;

const HEAD_BYTES: usize = 24;
/// In the first word, beside the key's length.
const KEY_LENGTH: u32 = (1 << 20) - 1;
const REMOVED: u32 = 1 << 20;
const LARGE: u32 = 1 << 21;
const FOREIGN: u32 = 1 << 22;

/// What an entry's value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    Removed,
    Small(&'a [u8]),
    /// Kept apart, under this number.
    Large(u32),
}

/// An entry, as it lies in an arena:
/// a word of flags and the key's length, a word that is the value's length or number, time, sequence number, the
/// author unless it is the owner, key, value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) key: &'a [u8],
    pub(crate) content: Content<'a>,
}

impl<'a> Block<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let (flags, second) = (first_word(bytes), u32_at(bytes, 4));
        let mut at = HEAD_BYTES;
        let mut author = Author::OWNER;
        if flags & FOREIGN != 0 {
            author = Author(u32_at(bytes, at));
            at += 4;
        }
        let key_end = at + (flags & KEY_LENGTH) as usize;
        let content = match (flags & REMOVED != 0, flags & LARGE != 0) {
            (true, _) => Content::Removed,
            (_, true) => Content::Large(second),
            _ => Content::Small(&bytes[key_end..key_end + second as usize]),
        };
        let stamp = Stamp { hlc: Hlc::from_bits(u64_at(bytes, 8)), author, seq: u64_at(bytes, 16) };
        Self { stamp, key: &bytes[at..key_end], content }
    }

    /// The entry's key, without reading the rest.
    pub(crate) fn key_of(bytes: &'a [u8]) -> &'a [u8] {
        let flags = first_word(bytes);
        let at = if flags & FOREIGN == 0 { HEAD_BYTES } else { HEAD_BYTES + 4 };
        &bytes[at..at + (flags & KEY_LENGTH) as usize]
    }

    /// The block's length in bytes.
    pub(crate) fn length(&self) -> usize {
        let author = if self.stamp.author == Author::OWNER { 0 } else { 4 };
        let value = if let Content::Small(value) = self.content { value.len() } else { 0 };
        HEAD_BYTES + author + self.key.len() + value
    }

    pub(crate) fn write(&self, to: &mut [u8]) {
        let mut flags = u32::try_from(self.key.len()).expect("keys are checked at the edge");
        let (more, second, value) = match self.content {
            Content::Removed => (REMOVED, 0, &[][..]),
            Content::Small(value) => {
                (0, u32::try_from(value.len()).expect("shorter than a large value"), value)
            }
            Content::Large(number) => (LARGE, number, &[][..]),
        };
        flags |= more;
        let mut at = HEAD_BYTES;
        if self.stamp.author != Author::OWNER {
            flags |= FOREIGN;
            to[at..at + 4].copy_from_slice(&self.stamp.author.0.to_le_bytes());
            at += 4;
        }
        to[..4].copy_from_slice(&flags.to_le_bytes());
        to[4..8].copy_from_slice(&second.to_le_bytes());
        to[8..16].copy_from_slice(&self.stamp.hlc.to_bits().to_le_bytes());
        to[16..24].copy_from_slice(&self.stamp.seq.to_le_bytes());
        to[at..at + self.key.len()].copy_from_slice(self.key);
        at += self.key.len();
        to[at..at + value.len()].copy_from_slice(value);
    }
}

/// The length of the block that starts with these bytes.
pub(crate) fn length_of(bytes: &[u8]) -> usize {
    Block::read(bytes).length()
}

/// The values that are kept apart.
#[derive(Debug, Default)]
pub(crate) struct LargeValues {
    values: Vec<Option<Arc<[u8]>>>,
    vacant: Vec<u32>,
}

impl LargeValues {
    pub(crate) fn insert(&mut self, value: &[u8]) -> u32 {
        let value = Some(Arc::from(value));
        if let Some(number) = self.vacant.pop() {
            self.values[number as usize] = value;
            return number;
        }
        self.values.push(value);
        u32::try_from(self.values.len() - 1).expect("so many large values are more than memory holds")
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.values[number as usize] = None;
        self.vacant.push(number);
    }

    pub(crate) fn get(&self, number: u32) -> &Arc<[u8]> {
        self.values[number as usize].as_ref().expect("an entry leads to it")
    }

    /// The value as its readers get it; none if there is none.
    pub(crate) fn value(&self, content: Content<'_>) -> Option<Value> {
        match content {
            Content::Removed => None,
            Content::Small(value) => Some(value.into()),
            Content::Large(number) => Some(Value::shared(self.get(number).clone())),
        }
    }

    /// The value's bytes; none if there is none.
    pub(crate) fn bytes<'a>(&'a self, content: Content<'a>) -> Option<&'a [u8]> {
        match content {
            Content::Removed => None,
            Content::Small(value) => Some(value),
            Content::Large(number) => Some(self.get(number)),
        }
    }
}

/// The key of the entry at a place.
pub(crate) fn key_at(arena: &Arena, place: Place) -> &[u8] {
    Block::key_of(arena.at(place))
}
