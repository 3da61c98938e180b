//! Room for many small blocks, without a pointer or an allocation for each.

use std::{collections::BTreeMap, num::NonZeroU32};

/// Blocks are whole units of this many bytes, and so are their places.
const UNIT: usize = 8;
const CHUNK_UNITS: usize = 1 << 15;
/// A part that is left over and shorter than this would never be used.
const LEAST_UNITS: usize = 4;
/// One part in this many may be free, in pieces, before chunks are emptied.
const FREE_PARTS: usize = 16;
/// In the first word of a block that is free; its length in units is in the other bits.
const FREE: u32 = 1 << 31;

/// What can be told apart by a place, but for what is needed to move blocks.
pub(crate) const MOST_BYTES: u64 = (1 << 32) * UNIT as u64 - 4 * (CHUNK_UNITS * UNIT) as u64;

/// Where a block is: its first unit, counted through all chunks, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place(NonZeroU32);

/// Blocks of bytes in chunks of 256 KiB.
///
/// A block's first word (4 bytes) is its user's, but for the highest bit, which has to be zero: so that a chunk can be
/// walked block by block.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// The chunk whose end is still free.
    open: Option<usize>,
    /// Chunks without bytes, to be used again.
    vacant: Vec<usize>,
    /// Free blocks by their length in units.
    free: BTreeMap<usize, Vec<Place>>,
    free_units: usize,
    held_units: usize,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Box<[u8]>,
    /// Units up to which blocks were made.
    made: usize,
    /// Units of blocks that are in use.
    used: usize,
}

impl Arena {
    /// What the chunks take, whether their room is in use or not.
    pub(crate) fn held_bytes(&self) -> u64 {
        (self.held_units * UNIT) as u64
    }

    /// A place for a block of this many bytes, whose content is undefined.
    pub(crate) fn allocate(&mut self, length: usize) -> Place {
        let units = length.div_ceil(UNIT).max(LEAST_UNITS);
        assert!(units <= CHUNK_UNITS, "a block fits into a chunk");
        let place = self.reuse(units).unwrap_or_else(|| self.extend(units));
        self.chunks[place.chunk()].used += units;
        place
    }

    /// Gives a block free that was allocated with this length.
    pub(crate) fn release(&mut self, place: Place, length: usize) {
        let units = length.div_ceil(UNIT).max(LEAST_UNITS);
        self.chunks[place.chunk()].used -= units;
        self.set_free(place, units);
    }

    /// Whether blocks of these lengths take the same room.
    pub(crate) fn is_same_size(one: usize, other: usize) -> bool {
        one.div_ceil(UNIT).max(LEAST_UNITS) == other.div_ceil(UNIT).max(LEAST_UNITS)
    }

    /// The bytes from a place to the end of its chunk.
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        &self.chunks[place.chunk()].bytes[place.offset()..]
    }

    pub(crate) fn at_mut(&mut self, place: Place) -> &mut [u8] {
        &mut self.chunks[place.chunk()].bytes[place.offset()..]
    }

    /// A chunk worth emptying, if much of the room is free but in pieces: the one with the least in use.
    pub(crate) fn sparse_chunk(&self) -> Option<usize> {
        if self.free_units * FREE_PARTS < self.held_units || self.free_units < 2 * CHUNK_UNITS {
            return None;
        }
        let closed = self
            .chunks
            .iter()
            .enumerate()
            .filter(|(number, chunk)| Some(*number) != self.open && !chunk.bytes.is_empty());
        closed.min_by_key(|(_, chunk)| chunk.used).map(|(number, _)| number)
    }

    /// Takes the free blocks of a chunk out of use, so that nothing new comes into it, and answers the blocks that are
    /// in use. `length` tells a block's length from its bytes. All of them have to be moved, then it is
    /// [dropped](Self::drop_chunk).
    pub(crate) fn begin_emptying(&mut self, number: usize, length: impl Fn(&[u8]) -> usize) -> Vec<Place> {
        for places in self.free.values_mut() {
            places.retain(|place| place.chunk() != number);
        }
        self.free.retain(|_, places| !places.is_empty());
        let chunk = &self.chunks[number];
        let (mut used, mut at) = (Vec::new(), 0);
        while at < chunk.made {
            let block = &chunk.bytes[at * UNIT..];
            let word = first_word(block);
            if word & FREE == 0 {
                used.push(Place::new(number, at));
                at += length(block).div_ceil(UNIT).max(LEAST_UNITS);
            } else {
                let units = (word & !FREE) as usize;
                self.free_units -= units;
                at += units;
            }
        }
        used
    }

    /// Drops a chunk whose blocks were all moved elsewhere.
    pub(crate) fn drop_chunk(&mut self, number: usize) {
        self.held_units -= CHUNK_UNITS;
        self.chunks[number] = Chunk::default();
        self.vacant.push(number);
    }

    /// A free block of exactly this size, or the end of one whose rest is still of use.
    fn reuse(&mut self, units: usize) -> Option<Place> {
        let size = match self.free.get(&units) {
            Some(_) => units,
            None => *self.free.range(units + LEAST_UNITS..).next()?.0,
        };
        let places = self.free.get_mut(&size)?;
        let place = places.pop()?;
        if places.is_empty() {
            self.free.remove(&size);
        }
        self.free_units -= size;
        if size > units {
            self.set_free(place, size - units);
        }
        Some(Place::new(place.chunk(), place.unit() + size - units))
    }

    /// A new block at the end of the open chunk, or of a new one.
    fn extend(&mut self, units: usize) -> Place {
        if let Some(number) = self.open {
            let chunk = &mut self.chunks[number];
            let left = CHUNK_UNITS - chunk.made;
            if left >= units {
                let place = Place::new(number, chunk.made);
                chunk.made += units;
                return place;
            }
            let rest = Place::new(number, chunk.made);
            if left >= LEAST_UNITS {
                chunk.made = CHUNK_UNITS;
                self.set_free(rest, left);
            }
        }
        let chunk = Chunk { bytes: vec![0; CHUNK_UNITS * UNIT].into(), made: units, used: 0 };
        self.held_units += CHUNK_UNITS;
        let number = match self.vacant.pop() {
            Some(number) => {
                self.chunks[number] = chunk;
                number
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }
        };
        self.open = Some(number);
        Place::new(number, 0)
    }

    fn set_free(&mut self, place: Place, units: usize) {
        let word = FREE | u32::try_from(units).expect("no longer than a chunk");
        self.at_mut(place)[..4].copy_from_slice(&word.to_le_bytes());
        self.free.entry(units).or_default().push(place);
        self.free_units += units;
    }
}

impl Place {
    fn new(chunk: usize, unit: usize) -> Self {
        let place = u32::try_from(chunk * CHUNK_UNITS + unit + 1).ok().and_then(NonZeroU32::new);
        Self(place.expect("32 GiB of small entries are more than memory holds"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    fn chunk(self) -> usize {
        self.index() / CHUNK_UNITS
    }

    /// Within its chunk.
    fn unit(self) -> usize {
        self.index() % CHUNK_UNITS
    }

    /// In bytes, within its chunk.
    fn offset(self) -> usize {
        self.unit() * UNIT
    }
}

pub(crate) fn first_word(block: &[u8]) -> u32 {
    let (word, _) = block.split_first_chunk().expect("a block has at least a word");
    u32::from_le_bytes(*word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block whose first word is its length, filled with a byte.
    fn fill(arena: &mut Arena, place: Place, length: usize, with: u8) {
        let block = &mut arena.at_mut(place)[..length];
        block.fill(with);
        block[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    }

    fn check(arena: &Arena, place: Place, length: usize, with: u8) {
        let block = &arena.at(place)[..length];
        assert_eq!(first_word(block) as usize, length);
        assert!(block[4..].iter().all(|byte| *byte == with));
    }

    fn empty_sparse_chunks(arena: &mut Arena, blocks: &mut [(Place, usize, u8)]) {
        while let Some(number) = arena.sparse_chunk() {
            for from in arena.begin_emptying(number, |block| first_word(block) as usize) {
                let block = blocks.iter_mut().find(|block| block.0 == from).expect("it is in use");
                block.0 = arena.allocate(block.1);
                let (place, length, with) = *block;
                fill(arena, place, length, with);
            }
            arena.drop_chunk(number);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn blocks_keep_their_bytes(
            commands in proptest::collection::vec((0..3_u8, 4..20_000_usize, any::<u8>()), 1..1_500),
        ) {
            let (mut arena, mut blocks) = (Arena::default(), Vec::<(Place, usize, u8)>::new());
            for (command, length, with) in commands {
                if command == 0 && !blocks.is_empty() {
                    let (place, length, _) = blocks.swap_remove(length % blocks.len());
                    arena.release(place, length);
                } else {
                    let place = arena.allocate(length);
                    fill(&mut arena, place, length, with);
                    blocks.push((place, length, with));
                }
                empty_sparse_chunks(&mut arena, &mut blocks);
            }
            for (place, length, with) in blocks {
                check(&arena, place, length, with);
            }
        }
    }

    #[test]
    fn room_that_was_given_free_is_used_again_whatever_its_size() {
        let (mut arena, mut blocks) = (Arena::default(), Vec::new());
        for round in 0..20 {
            let length = 100 + round * 30;
            for (place, length, _) in std::mem::take(&mut blocks) {
                arena.release(place, length);
            }
            for _ in 0..10_000 {
                let place = arena.allocate(length);
                fill(&mut arena, place, length, 1);
                blocks.push((place, length, 1));
                if let Some(number) = arena.sparse_chunk() {
                    for from in arena.begin_emptying(number, |block| first_word(block) as usize) {
                        let at = blocks.iter().position(|block| block.0 == from).unwrap();
                        blocks[at].0 = arena.allocate(blocks[at].1);
                        let (place, length, with) = blocks[at];
                        fill(&mut arena, place, length, with);
                    }
                    arena.drop_chunk(number);
                }
            }
            let used: usize = blocks.iter().map(|block| block.1).sum();
            let held = arena.held_units * UNIT;
            assert!(held < used * 5 / 4 + (2 << 20), "{held} held for {used} in round {round}");
        }
    }
}
