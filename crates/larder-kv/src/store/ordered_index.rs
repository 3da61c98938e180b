//! Entries in the order of their keys.

use std::ops::Bound;

use crate::store::{
    arena::{Arena, Place},
    block::key_at,
};

const LEAF_ENTRIES: usize = 256;
/// A leaf's room grows by this many entries, so that little of it is unused.
const LEAF_GROWTH: usize = 64;
/// What keys have in common is kept with a leaf if it is no longer than this, in bytes.
const KEPT_BYTES: usize = 16;
/// A leaf may take the common part of its keys for this much shorter than it is, in bytes.
const SLACK_BYTES: usize = 1;
/// How full leaves are that are built from sorted entries: new keys find room.
const BUILT_ENTRIES: usize = 192;

/// Places of entries in the order of their keys: a sorted list of sorted leaves.
///
/// Beside each place are the next bytes of its key after those that the whole leaf has in common, so that a search
/// seldom has to look at a key elsewhere.
#[derive(Debug, Default)]
pub(crate) struct OrderedIndex {
    #[expect(clippy::vec_box, reason = "many leaves move when one is split, and those are pointers then")]
    leaves: Vec<Box<Leaf>>,
    /// The same for the first key of each leaf.
    heads: Vec<u64>,
    /// What the first keys of all leaves have in common, in bytes.
    common: usize,
}

#[derive(Debug, Default)]
struct Leaf {
    slots: Vec<Slot>,
    /// What all keys have in common, in bytes.
    common: usize,
    /// That itself, if it fits, so that a search need not fetch a key for it.
    kept: [u8; KEPT_BYTES],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    head: u32,
    place: Place,
}

impl OrderedIndex {
    /// An index of these entries, in no order, of which no two have the same key.
    pub(crate) fn build(arena: &Arena, places: impl Iterator<Item = Place> + Clone) -> Self {
        let mut all_common: Option<&[u8]> = None;
        for key in places.clone().map(|place| key_at(arena, place)) {
            let common = all_common.unwrap_or(key);
            all_common = Some(&common[..common_length(common, key)]);
        }
        let common = all_common.map_or(0, <[u8]>::len);
        let head = |place| (wide_head(key_at(arena, place), common), place);
        let mut sorted: Vec<(u64, Place)> = places.map(head).collect();
        sorted.sort_unstable_by(|(head, place), (other_head, other)| {
            head.cmp(other_head).then_with(|| key_at(arena, *place).cmp(key_at(arena, *other)))
        });
        let mut index = Self::default();
        for part in sorted.chunks(BUILT_ENTRIES) {
            let slots = part.iter().map(|(_, place)| Slot { head: 0, place: *place }).collect();
            let mut leaf = Leaf { slots, ..Leaf::default() };
            leaf.rebuild(arena);
            index.leaves.push(Box::new(leaf));
        }
        index.rebuild_heads(arena);
        index
    }

    /// Adds an entry whose key is not in yet.
    pub(crate) fn insert(&mut self, arena: &Arena, key: &[u8], place: Place) {
        if self.leaves.is_empty() {
            let mut leaf = Leaf { slots: vec![Slot { head: 0, place }], ..Leaf::default() };
            leaf.rebuild(arena);
            self.leaves.push(Box::new(leaf));
            self.rebuild_heads(arena);
            return;
        }
        let mut at = self.leaf_of(arena, key);
        if self.leaves[at].slots.len() >= LEAF_ENTRIES {
            self.split(arena, at, key);
            at = self.leaf_of(arena, key);
        }
        let is_first = self.leaves[at].insert(arena, key, place);
        if is_first {
            self.set_head(arena, at);
        }
    }

    /// Lets a key that is in lead to another place. The entry has to be at both.
    pub(crate) fn replace(&mut self, arena: &Arena, key: &[u8], to: Place) {
        let at = self.leaf_of(arena, key);
        let leaf = &mut self.leaves[at];
        let found = leaf.search(arena, key).expect("the key is in");
        leaf.slots[found].place = to;
    }

    /// The entries from a bound on.
    pub(crate) fn from(&self, arena: &Arena, start: Bound<&[u8]>) -> impl Iterator<Item = Place> {
        let (leaf, slot) = match start {
            _ if self.leaves.is_empty() => (0, 0),
            Bound::Unbounded => (0, 0),
            Bound::Included(key) | Bound::Excluded(key) => {
                let leaf = self.leaf_of(arena, key);
                let slot = match self.leaves[leaf].search(arena, key) {
                    Ok(found) => found + usize::from(matches!(start, Bound::Excluded(_))),
                    Err(after) => after,
                };
                (leaf, slot)
            }
        };
        let rest = self.leaves.get(leaf).map_or(&[][..], |leaf| &leaf.slots[slot..]);
        let after = self.leaves.iter().skip(leaf + 1).flat_map(|leaf| &leaf.slots);
        rest.iter().chain(after).map(|slot| slot.place)
    }

    /// The last leaf whose first key is not after this one; the first, if there is none.
    fn leaf_of(&self, arena: &Arena, key: &[u8]) -> usize {
        let common = &self.first_key(arena, 0)[..self.common];
        if !key.starts_with(common) {
            return if key < common { 0 } else { self.leaves.len() - 1 };
        }
        let head = wide_head(key, self.common);
        let (low, high) = ties(&self.heads, |other| *other, head);
        let within = partition(low, high, |at| self.first_key(arena, at) <= key);
        within.saturating_sub(1)
    }

    fn first_key<'a>(&self, arena: &'a Arena, leaf: usize) -> &'a [u8] {
        key_at(arena, self.leaves[leaf].slots[0].place)
    }

    fn split(&mut self, arena: &Arena, at: usize, key: &[u8]) {
        let is_last = at + 1 == self.leaves.len();
        let leaf = &mut self.leaves[at];
        // Keys that only ever rise fill their leaves to the end.
        let appends = is_last && key_at(arena, leaf.slots[leaf.slots.len() - 1].place) < key;
        let middle = if appends { leaf.slots.len() - 1 } else { leaf.slots.len() / 2 };
        let slots = leaf.slots.split_off(middle);
        let mut right = Leaf { slots, common: leaf.common, kept: leaf.kept };
        leaf.slots.shrink_to(middle.next_multiple_of(LEAF_GROWTH));
        leaf.sharpen(arena);
        right.sharpen(arena);
        self.leaves.insert(at + 1, Box::new(right));
        self.heads.insert(at + 1, 0);
        self.set_head(arena, at + 1);
    }

    /// Sets the head of a leaf whose first key is new. What all have in common may be less now.
    fn set_head(&mut self, arena: &Arena, leaf: usize) {
        let last = self.first_key(arena, self.leaves.len() - 1);
        let common = common_length(self.first_key(arena, 0), last);
        if common == self.common {
            self.heads[leaf] = wide_head(self.first_key(arena, leaf), common);
        } else {
            self.rebuild_heads(arena);
        }
    }

    fn rebuild_heads(&mut self, arena: &Arena) {
        let Some(last) = self.leaves.len().checked_sub(1) else { return };
        let common = common_length(self.first_key(arena, 0), self.first_key(arena, last));
        self.common = common;
        self.heads.clear();
        let heads = self.leaves.iter().map(|leaf| wide_head(key_at(arena, leaf.slots[0].place), common));
        self.heads.extend(heads);
    }
}

impl Leaf {
    /// Where the key is, or where it belongs.
    fn search(&self, arena: &Arena, key: &[u8]) -> Result<usize, usize> {
        let common = self.common_bytes(arena);
        if !key.starts_with(common) {
            return Err(if key < common { 0 } else { self.slots.len() });
        }
        let (low, high) = ties(&self.slots, |slot| slot.head, head(key, self.common));
        let at = partition(low, high, |at| key_at(arena, self.slots[at].place) < key);
        if at < high && key_at(arena, self.slots[at].place) == key { Ok(at) } else { Err(at) }
    }

    fn common_bytes<'a>(&'a self, arena: &'a Arena) -> &'a [u8] {
        match self.kept.get(..self.common) {
            Some(common) => common,
            None => &key_at(arena, self.slots[0].place)[..self.common],
        }
    }

    /// Adds an entry whose key is not in. True: it is the first.
    fn insert(&mut self, arena: &Arena, key: &[u8], place: Place) -> bool {
        let at = self.search(arena, key).expect_err("the key is not in");
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(LEAF_GROWTH);
        }
        let shares_common = key.starts_with(self.common_bytes(arena));
        self.slots.insert(at, Slot { head: head(key, self.common), place });
        if !shares_common {
            self.rebuild(arena);
        }
        at == 0
    }

    /// Finds anew what the keys have in common, if that has become much more: the heads of fewer keys tell them apart
    /// even if they begin a little early, and to read all keys again takes long.
    fn sharpen(&mut self, arena: &Arena) {
        let (first, last) = (self.slots[0].place, self.slots[self.slots.len() - 1].place);
        if common_length(key_at(arena, first), key_at(arena, last)) > self.common + SLACK_BYTES {
            self.rebuild(arena);
        }
    }

    /// Finds anew what the keys have in common, and the heads after that.
    fn rebuild(&mut self, arena: &Arena) {
        let first = key_at(arena, self.slots[0].place);
        self.common = common_length(first, key_at(arena, self.slots[self.slots.len() - 1].place));
        let kept = &first[..self.common.min(KEPT_BYTES)];
        self.kept[..kept.len()].copy_from_slice(kept);
        for slot in &mut self.slots {
            slot.head = head(key_at(arena, slot.place), self.common);
        }
    }
}

/// The range of items with this head.
fn ties<T, H: Ord + Copy>(items: &[T], head_of: impl Fn(&T) -> H, head: H) -> (usize, usize) {
    let low = items.partition_point(|item| head_of(item) < head);
    // There is seldom more than one.
    let mut within = 1;
    while items.get(low + within - 1).is_some_and(|item| head_of(item) == head) {
        within *= 2;
    }
    let rest = &items[low..items.len().min(low + within)];
    (low, low + rest.partition_point(|item| head_of(item) == head))
}

/// The first of these numbers for which something does not hold that holds for all before it.
fn partition(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn common_length(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The bytes of a key after those in common, as a number that compares as they do.
fn head(key: &[u8], common: usize) -> u32 {
    let rest = key.get(common..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u32::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 4];
            bytes[..rest.len()].copy_from_slice(rest);
            u32::from_be_bytes(bytes)
        }
    }
}

fn wide_head(key: &[u8], common: usize) -> u64 {
    u64::from(head(key, common)) << 32 | u64::from(head(key, common + 4))
}
