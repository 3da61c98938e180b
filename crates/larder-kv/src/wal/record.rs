//! Records: what a frame says.

use crate::{
    error::{Error, Result},
    sync::hlc::Hlc,
    value::{MAX_KEY_BYTES, MAX_VALUE_BYTES},
    wal::frame::{u32_at, u64_at},
};

/// The bytes before a record's key.
pub const RECORD_HEAD_BYTES: usize = 32;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordKind {
    /// The key has this value.
    Put,
    /// The key has no value: a tombstone.
    Remove,
    /// The author's number stands for the node id in `key`; its epoch is in `seq`.
    Author,
    /// This file has everything that the author wrote through `seq`, up to the time `hlc`.
    Seen,
    /// The peer whose node id is in `key` has everything that the author wrote through `seq`.
    Delivered,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Remove => 2,
            Self::Author => 3,
            Self::Seen => 4,
            Self::Delivered => 5,
        }
    }

    /// Whether it is a write of a key.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Remove)
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Put, Self::Remove, Self::Author, Self::Seen, Self::Delivered]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A record, borrowing its bytes.
///
/// ```
/// use larder_kv::{Hlc, wal::record::{Record, RecordKind, decode}};
///
/// let record = Record {
///     kind: RecordKind::Put,
///     author: 0,
///     hlc: Hlc::new(1_700_000_000_000, 0),
///     seq: 1,
///     key: b"settings/theme",
///     value: b"dark",
/// };
/// let mut bytes = Vec::new();
/// record.encode(&mut bytes);
/// let decoded: Vec<Record> = decode(&bytes, 4096).collect::<larder_kv::Result<_>>()?;
/// assert_eq!(decoded, [record]);
/// # Ok::<(), larder_kv::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: RecordKind,
    /// Who wrote it: a number that an earlier `Author` record stands for; 0 is the file's own node.
    pub author: u32,
    /// When it was written.
    pub hlc: Hlc,
    /// Which of its author's writes it is, from 1.
    pub seq: u64,
    /// The key, or a node id.
    pub key: &'a [u8],
    /// The value, of a put.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record's size in a frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        RECORD_HEAD_BYTES + self.key.len() + self.value.len()
    }

    /// Appends the record's bytes.
    ///
    /// # Panics
    /// If the key or value is over its limit.
    pub fn encode(&self, to: &mut Vec<u8>) {
        assert!(
            self.key.len() <= MAX_KEY_BYTES && self.value.len() <= MAX_VALUE_BYTES,
            "checked at the edge"
        );
        let mut head = [0; RECORD_HEAD_BYTES];
        head[0] = self.kind.code();
        head[4..8].copy_from_slice(&self.author.to_le_bytes());
        head[8..12].copy_from_slice(&length(self.key));
        head[12..16].copy_from_slice(&length(self.value));
        head[16..24].copy_from_slice(&self.hlc.to_bits().to_le_bytes());
        head[24..32].copy_from_slice(&self.seq.to_le_bytes());
        to.extend_from_slice(&head);
        to.extend_from_slice(self.key);
        to.extend_from_slice(self.value);
    }

    /// The record at the start of these bytes, and what comes after it; says what is wrong if there is none.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Wrong> {
        let (head, rest) =
            bytes.split_at_checked(RECORD_HEAD_BYTES).ok_or(Wrong::Damage("a record cut short"))?;
        let kind = RecordKind::from_code(head[0]).ok_or(Wrong::Unknown(head[0]))?;
        if head[1..4] != [0; 3] {
            return Err(Wrong::Unknown(head[0]));
        }
        let (key_length, value_length) = (u32_at(head, 8) as usize, u32_at(head, 12) as usize);
        if key_length == 0 || key_length > MAX_KEY_BYTES || value_length > MAX_VALUE_BYTES {
            // Nothing that may be written looks like this, except records without a key.
            if kind != RecordKind::Seen || key_length != 0 {
                return Err(Wrong::Damage("a key or value over its limit"));
            }
        }
        if value_length != 0 && kind != RecordKind::Put {
            return Err(Wrong::Damage("a value where none belongs"));
        }
        let (key, rest) = rest.split_at_checked(key_length).ok_or(Wrong::Damage("a key cut short"))?;
        let (value, rest) = rest.split_at_checked(value_length).ok_or(Wrong::Damage("a value cut short"))?;
        let hlc = Hlc::from_bits(u64_at(head, 16));
        Ok((Self { kind, author: u32_at(head, 4), hlc, seq: u64_at(head, 24), key, value }, rest))
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("within the limits").to_le_bytes()
}

enum Wrong {
    Damage(&'static str),
    Unknown(u8),
}

/// The records of a frame, whose checksum was right and which lies at this offset of its file.
///
/// Each item is an error if the bytes are no record: `Corrupted`, or `Incompatible` for a kind or flag that this
/// build does not know. Nothing follows an error.
pub fn decode(records: &[u8], frame_offset: u64) -> Records<'_> {
    Records { rest: records, frame_offset }
}

/// The records of a frame: see [`decode`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    frame_offset: u64,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match Record::split(self.rest) {
            Ok((record, rest)) => {
                self.rest = rest;
                Ok(record)
            }
            Err(wrong) => {
                self.rest = &[];
                Err(match wrong {
                    Wrong::Damage(what) => Error::corrupted(self.frame_offset, what),
                    Wrong::Unknown(kind) => Error::incompatible(format!("a record of kind {kind}"))
                        .with("offset", self.frame_offset.to_string())
                        .with_hint("open it with a newer version of Larder"),
                })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn record<'a>(kind: RecordKind, key: &'a [u8], value: &'a [u8]) -> Record<'a> {
        Record { kind, author: 2, hlc: Hlc::new(5, 6), seq: 9, key, value }
    }

    #[test]
    fn every_kind_comes_back() {
        let records = [
            record(RecordKind::Put, b"k", b"v"),
            record(RecordKind::Put, &[0; MAX_KEY_BYTES], b""),
            record(RecordKind::Remove, b"k", b""),
            record(RecordKind::Author, b"node-b", b""),
            record(RecordKind::Seen, b"", b""),
            record(RecordKind::Delivered, b"node-b", b""),
        ];
        let mut bytes = Vec::new();
        for record in &records {
            let before = bytes.len();
            record.encode(&mut bytes);
            assert_eq!(bytes.len() - before, record.encoded_len());
        }
        let decoded: Vec<_> = decode(&bytes, 0).map(Result::unwrap).collect();
        assert_eq!(decoded, records);
    }

    #[test]
    fn unknown_kinds_and_flags_are_of_a_newer_version() {
        let mut bytes = Vec::new();
        record(RecordKind::Put, b"k", b"v").encode(&mut bytes);
        for (at, with) in [(0, 6), (0, 0), (1, 1), (3, 1)] {
            let mut changed = bytes.clone();
            changed[at] = with;
            let error = decode(&changed, 4096).next().unwrap().unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Incompatible, "{at}");
        }
    }

    #[test]
    fn what_is_cut_short_or_oversized_is_corrupted() {
        let mut bytes = Vec::new();
        record(RecordKind::Put, b"key", b"value").encode(&mut bytes);
        for length in 1..bytes.len() {
            let error = decode(&bytes[..length], 77).next().unwrap().unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Corrupted { offset: 77 }, "{length}");
        }
        bytes[11] = 0xff;
        assert!(decode(&bytes, 77).next().unwrap().is_err());
    }
}
