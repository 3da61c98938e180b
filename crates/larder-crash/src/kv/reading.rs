//! A second reading of the file of a client, in the plainest way: written from `docs/formats/kv-wal.md` alone, and sharing no
//! code with the client's.

use super::step::State;

const HEADER_BYTES: usize = 4_096;
const COPY_BYTES: usize = 512;
const FRAME_HEAD_BYTES: usize = 24;
const MOST_FRAME_BYTES: usize = 128 << 20;
const RECORD_HEAD_BYTES: usize = 32;

/// What a file has to be taken for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// These entries, from so many frames.
    Contents(State, u64),
    /// Corruption at this offset.
    Corrupted(u64),
    /// Corruption of the header, or another format.
    NoHeader,
}

/// A frame whose checksum is right.
struct Frame<'a> {
    durable_through: u64,
    records: &'a [u8],
    /// With its padding.
    file_bytes: usize,
}

/// How checksums are taken: as they should be, or, to show that it would be noticed, as if they were always right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// Compared.
    Compared,
    /// Taken for right.
    Trusted,
}

/// Reads a file.
pub(super) fn read(bytes: &[u8], checksums: Checksums) -> Reading {
    let Some(identity) = identity(bytes) else { return Reading::NoHeader };
    let frame = |at| frame(bytes, at, identity, checksums);
    let (mut at, mut frames, mut state) = (HEADER_BYTES, 0, State::new());
    while let Some(sound) = frame(at) {
        take(sound.records, &mut state);
        frames += 1;
        at += sound.file_bytes;
    }
    let vouches = |later| frame(later).is_some_and(|sound: Frame<'_>| sound.durable_through > at as u64);
    if (at..bytes.len()).step_by(8).any(vouches) {
        return Reading::Corrupted(at as u64);
    }
    Reading::Contents(state, frames)
}

/// The checksum of the header, if both copies are whole and the same.
fn identity(bytes: &[u8]) -> Option<u32> {
    let first = bytes.get(..COPY_BYTES)?;
    let second = bytes.get(2_048..2_048 + COPY_BYTES)?;
    let sum = crc32c(crc32c(0, &first[8..12]), &first[16..]);
    let is_sound = first == second && first.starts_with(b"LARDERKV") && number(first, 8, 4) == 1;
    (is_sound && number(first, 12, 4) == u64::from(sum)).then_some(sum)
}

fn frame(bytes: &[u8], at: usize, identity: u32, checksums: Checksums) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let head = rest.get(..FRAME_HEAD_BYTES)?;
    let length = usize::try_from(number(head, 0, 4)).ok()?;
    if !(FRAME_HEAD_BYTES..=MOST_FRAME_BYTES).contains(&length) {
        return None;
    }
    let file_bytes = length.next_multiple_of(8);
    let covered = rest.get(8..file_bytes)?;
    let place = [&(at as u64).to_le_bytes()[..], &head[..4]].concat();
    let sum = crc32c(crc32c(identity, &place), covered);
    if checksums == Checksums::Compared && number(head, 4, 4) != u64::from(sum) {
        return None;
    }
    let records = &rest[FRAME_HEAD_BYTES..length];
    Some(Frame { durable_through: number(head, 16, 8), records, file_bytes })
}

/// Takes in what records say. They have one author, so the later write is the greater one.
fn take(mut records: &[u8], state: &mut State) {
    while let Some((head, rest)) = records.split_at_checked(RECORD_HEAD_BYTES) {
        let key_length = usize::try_from(number(head, 8, 4)).expect("32 bits");
        let value_length = usize::try_from(number(head, 12, 4)).expect("32 bits");
        let Some((key, rest)) = rest.split_at_checked(key_length) else { return };
        let Some((value, rest)) = rest.split_at_checked(value_length) else { return };
        let key = String::from_utf8_lossy(key).into_owned();
        match head[0] {
            1 => drop(state.insert(key, Some(value.to_vec()))),
            2 => drop(state.insert(key, None)),
            _ => {}
        }
        records = rest;
    }
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32C (Castagnoli), continued from an earlier one, byte by byte.
fn crc32c(earlier: u32, bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| sum >> 8 ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)];
    !bytes.iter().fold(!earlier, step)
}

/// What each byte does to a sum.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut sum = 0;
    while sum < table.len() {
        let (mut shifted, mut bit) = (sum as u32, 0);
        while bit < 8 {
            shifted = shifted >> 1 ^ if shifted & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[sum] = shifted;
        sum += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xe306_9283);
    }
}
