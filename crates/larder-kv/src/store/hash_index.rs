//! From a key to its entry.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::store::{
    arena::{Arena, Place},
    block::key_at,
};

/// Many tables, so that the one that grows is small, and nobody waits long for it.
const TABLES: usize = 64;

/// Places of entries by the hash of their key.
#[derive(Debug)]
pub(crate) struct HashIndex {
    tables: Vec<HashTable<Slot>>,
    hasher: RandomState,
    len: usize,
}

/// An entry, with its hash: so neither a table that grows nor a key that is not in has to look at others' keys.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    place: Place,
}

impl Default for HashIndex {
    fn default() -> Self {
        let tables = (0..TABLES).map(|_| HashTable::new()).collect();
        Self { tables, hasher: RandomState::default(), len: 0 }
    }
}

impl HashIndex {
    pub(crate) fn get(&self, arena: &Arena, key: &[u8]) -> Option<Place> {
        let hash = self.hash(key);
        let is_it = |slot: &Slot| slot.hash == hash && key_at(arena, slot.place) == key;
        self.tables[table(hash)].find(spread(hash), is_it).map(|slot| slot.place)
    }

    /// Adds an entry whose key is not in yet.
    pub(crate) fn insert(&mut self, key: &[u8], place: Place) {
        let hash = self.hash(key);
        self.tables[table(hash)].insert_unique(spread(hash), Slot { hash, place }, |slot| spread(slot.hash));
        self.len += 1;
    }

    /// Lets a key lead to another place.
    pub(crate) fn replace(&mut self, key: &[u8], from: Place, to: Place) {
        let hash = self.hash(key);
        let found = self.tables[table(hash)].find_mut(spread(hash), |slot| slot.place == from);
        found.expect("the key is in").place = to;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Every entry, in no order.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.tables.iter().flat_map(|table| table.iter().map(|slot| slot.place))
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        (hash >> 32) as u32 ^ hash as u32
    }
}

/// A hash of the width that a table wants, in whose upper bits all of it has a say.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The upper bits choose an entry's group within a table, and the lower ones its place, so these are from the middle.
fn table(hash: u32) -> usize {
    (spread(hash) >> 40) as usize % TABLES
}
