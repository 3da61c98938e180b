//! Frames: an atomic batch of records with a checksum.

use crate::wal::header::Identity;

/// The bytes before a frame's records.
pub const FRAME_HEAD_BYTES: usize = 24;
/// Frames start at multiples of this.
pub const FRAME_ALIGNMENT: usize = 8;
/// The longest frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 128 << 20;

/// A frame whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which frame of its file it is, from 1.
    pub sequence: u64,
    /// The offset up to which the file was durable when this was written.
    pub durable_through: u64,
    /// The records' bytes, for [`record::decode`](crate::wal::record::decode).
    pub records: &'a [u8],
    /// How much of the file the frame takes, padding included.
    pub file_bytes: usize,
}

/// What is found where a frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// A length of zero: nothing was written here.
    Nothing,
    /// The frame is said to be this long, with its padding, which is more than these bytes.
    Cut {
        /// The bytes it takes.
        file_bytes: usize,
    },
    /// No frame.
    Bad(&'static str),
}

/// Reads the frame at the start of these bytes, which lie at this offset of a file of this identity.
///
/// ```
/// use larder_kv::wal::{frame::{Found, parse}, header::Header};
///
/// let identity = Header { node_id: "node-a".into(), epoch: 1, generation: 1 }.identity();
/// assert_eq!(parse(&[0; 64], identity, 4096), Found::Nothing);
/// assert!(matches!(parse(&[0xff; 64], identity, 4096), Found::Bad(_)));
/// ```
#[must_use]
pub fn parse(bytes: &[u8], identity: Identity, offset: u64) -> Found<'_> {
    let Some(head) = bytes.get(..FRAME_HEAD_BYTES) else {
        return match bytes.get(..4).map(|length| u32_at(length, 0)) {
            Some(0) => Found::Nothing,
            None if bytes.iter().all(|byte| *byte == 0) => Found::Nothing,
            _ => Found::Cut { file_bytes: FRAME_HEAD_BYTES },
        };
    };
    let length = u32_at(head, 0) as usize;
    if length == 0 {
        return Found::Nothing;
    }
    if !(FRAME_HEAD_BYTES..=MAX_FRAME_BYTES).contains(&length) {
        return Found::Bad("a length that no frame has");
    }
    let file_bytes = padded(length);
    let Some(covered) = bytes.get(8..file_bytes) else { return Found::Cut { file_bytes } };
    if checksum(identity, offset, u32_at(head, 0), covered) != u32_at(head, 4) {
        return Found::Bad("a checksum that does not match");
    }
    let (sequence, durable_through) = (u64_at(head, 8), u64_at(head, 16));
    Found::Frame(Frame { sequence, durable_through, records: &bytes[FRAME_HEAD_BYTES..length], file_bytes })
}

/// Adds a frame's head to a buffer; its records follow, and then [`finish`].
pub(crate) fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    debug_assert!(start.is_multiple_of(FRAME_ALIGNMENT), "frames are aligned");
    buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    start
}

/// Completes the frame that begins at `start` of the buffer and at `offset` of the file.
pub(crate) fn finish(
    buffer: &mut Vec<u8>,
    start: usize,
    identity: Identity,
    offset: u64,
    sequence: u64,
    durable_through: u64,
) {
    let length = buffer.len() - start;
    assert!(length <= MAX_FRAME_BYTES, "sizes are checked at the edge");
    assert!(durable_through <= offset && offset.is_multiple_of(FRAME_ALIGNMENT as u64), "{offset}");
    buffer.resize(start + padded(length), 0);
    let frame = &mut buffer[start..];
    let length = u32::try_from(length).expect("no longer than a frame may be");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    frame[16..24].copy_from_slice(&durable_through.to_le_bytes());
    let sum = checksum(identity, offset, length, &frame[8..]);
    frame[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// A frame's length with its padding.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGNMENT)
}

/// Over everything after it, and over what it does not cover there: the file, the place in it, and the length.
fn checksum(identity: Identity, offset: u64, length: u32, covered: &[u8]) -> u32 {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&offset.to_le_bytes());
    place[8..].copy_from_slice(&length.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(identity.0, &place), covered)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let (number, _) = bytes[at..].split_first_chunk().expect("its place was checked");
    u32::from_le_bytes(*number)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let (number, _) = bytes[at..].split_first_chunk().expect("its place was checked");
    u64::from_le_bytes(*number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Identity = Identity(0x1234_5678);
    const OFFSET: u64 = 4096;

    fn frame(records: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = begin(&mut bytes);
        bytes.extend_from_slice(records);
        finish(&mut bytes, start, FILE, OFFSET, 7, OFFSET);
        bytes
    }

    #[test]
    fn a_frame_comes_back_with_its_padding() {
        let bytes = frame(b"hello");
        assert_eq!(bytes.len(), 32);
        let Found::Frame(found) = parse(&bytes, FILE, OFFSET) else { panic!() };
        assert_eq!((found.sequence, found.durable_through, found.records), (7, OFFSET, &b"hello"[..]));
        assert_eq!(found.file_bytes, bytes.len());
    }

    #[test]
    fn every_damaged_bit_is_noticed() {
        let bytes = frame(b"hello");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(!matches!(parse(&damaged, FILE, OFFSET), Found::Frame(_)), "{at} {bit}");
            }
        }
    }

    #[test]
    fn a_frame_belongs_to_its_file_and_place() {
        let bytes = frame(b"hello");
        assert!(matches!(parse(&bytes, FILE, OFFSET + 8), Found::Bad(_)));
        assert!(matches!(parse(&bytes, Identity(1), OFFSET), Found::Bad(_)));
    }

    #[test]
    fn a_frame_cut_short_says_how_long_it_is() {
        let bytes = frame(b"hello");
        assert_eq!(parse(&bytes[..24], FILE, OFFSET), Found::Cut { file_bytes: 32 });
        assert_eq!(parse(&bytes[..31], FILE, OFFSET), Found::Cut { file_bytes: 32 });
        assert_eq!(parse(&bytes[..5], FILE, OFFSET), Found::Cut { file_bytes: FRAME_HEAD_BYTES });
        assert_eq!(parse(&[], FILE, OFFSET), Found::Nothing);
        assert_eq!(parse(&[0; 3], FILE, OFFSET), Found::Nothing);
    }
}
