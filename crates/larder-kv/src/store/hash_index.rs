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
    tables: Vec<HashTable<Place>>,
    hasher: RandomState,
    len: usize,
}

impl Default for HashIndex {
    fn default() -> Self {
        Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
            len: 0,
        }
    }
}

impl HashIndex {
    pub(crate) fn get(&self, arena: &Arena, key: &[u8]) -> Option<Place> {
        let hash = self.hasher.hash_one(key);
        self.tables[table(hash)].find(hash, |place| key_at(arena, *place) == key).copied()
    }

    /// Adds an entry whose key is not in yet.
    pub(crate) fn insert(&mut self, arena: &Arena, key: &[u8], place: Place) {
        let hash = self.hasher.hash_one(key);
        let hasher = &self.hasher;
        let rehash = |place: &Place| hasher.hash_one(key_at(arena, *place));
        self.tables[table(hash)].insert_unique(hash, place, rehash);
        self.len += 1;
    }

    /// Lets a key lead to another place.
    pub(crate) fn replace(&mut self, key: &[u8], from: Place, to: Place) {
        let hash = self.hasher.hash_one(key);
        let found = self.tables[table(hash)].find_mut(hash, |place| *place == from);
        *found.expect("the key is in") = to;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Every entry, in no order.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.tables.iter().flat_map(|table| table.iter().copied())
    }
}

/// The upper bits choose an entry's group within a table, so these are from the middle.
fn table(hash: u64) -> usize {
    (hash >> 40) as usize % TABLES
}
