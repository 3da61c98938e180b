//! The own writes that still have to reach other nodes, in the order in which they were made.

use std::collections::VecDeque;

const CHUNK: usize = 512;
/// Neighbours with no more than this together become one.
const MERGED: usize = CHUNK / 4;

/// Pending writes by their author's sequence number, each with what leads to its entry.
///
/// Sorted runs of a few bytes per write, so that a million pending ones cost as much per operation as a thousand.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    chunks: VecDeque<Chunk<T>>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// The sequence number that the others are counted from; the first one's or less.
    base: u64,
    items: Vec<(u32, T)>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

impl<T: Copy> Outbox<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a write, or lets a write that is in already lead elsewhere. Nearly always it is the latest one.
    pub(crate) fn insert(&mut self, seq: u64, leads_to: T) {
        if self.append(seq, leads_to) {
            return;
        }
        let at = self.chunks.partition_point(|chunk| chunk.base <= seq);
        let Some(chunk) = at.checked_sub(1).map(|before| &mut self.chunks[before]) else {
            self.chunks.push_front(Chunk { base: seq, items: vec![(0, leads_to)] });
            self.len += 1;
            return;
        };
        let Ok(delta) = u32::try_from(seq - chunk.base) else {
            self.chunks.insert(at, Chunk { base: seq, items: vec![(0, leads_to)] });
            self.len += 1;
            return;
        };
        match chunk.items.binary_search_by_key(&delta, |(delta, _)| *delta) {
            Ok(found) => chunk.items[found].1 = leads_to,
            Err(place) if place == chunk.items.len() && chunk.items.len() >= CHUNK => {
                let mut items = Vec::with_capacity(CHUNK);
                items.push((0, leads_to));
                self.chunks.insert(at, Chunk { base: seq, items });
                self.len += 1;
            }
            Err(place) => {
                chunk.items.insert(place, (delta, leads_to));
                self.len += 1;
                if chunk.items.len() > 2 * CHUNK {
                    self.split(at - 1);
                }
            }
        }
    }

    /// Adds a write that is later than all others, if the last run has room for it.
    fn append(&mut self, seq: u64, leads_to: T) -> bool {
        let Some(chunk) = self.chunks.back_mut().filter(|chunk| chunk.items.len() < CHUNK) else {
            return false;
        };
        let delta = seq.checked_sub(chunk.base).and_then(|delta| u32::try_from(delta).ok());
        let Some(delta) = delta.filter(|delta| chunk.items.last().is_none_or(|(last, _)| last < delta))
        else {
            return false;
        };
        chunk.items.push((delta, leads_to));
        self.len += 1;
        true
    }

    /// Takes a write out: superseded by a newer one of its key, or delivered. Answers whether it was in.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        let Some(at) = self.chunks.partition_point(|chunk| chunk.base <= seq).checked_sub(1) else {
            return false;
        };
        let chunk = &mut self.chunks[at];
        let Ok(delta) = u32::try_from(seq - chunk.base) else { return false };
        let Ok(place) = chunk.items.binary_search_by_key(&delta, |(delta, _)| *delta) else { return false };
        chunk.items.remove(place);
        self.len -= 1;
        if chunk.items.is_empty() {
            self.chunks.remove(at);
        } else if chunk.items.len() <= MERGED {
            self.merge_with_next(at);
        }
        true
    }

    /// Lets a write that is in lead elsewhere.
    pub(crate) fn redirect(&mut self, seq: u64, leads_to: T) {
        let Some(at) = self.chunks.partition_point(|chunk| chunk.base <= seq).checked_sub(1) else { return };
        let chunk = &mut self.chunks[at];
        let Ok(delta) = u32::try_from(seq - chunk.base) else { return };
        if let Ok(found) = chunk.items.binary_search_by_key(&delta, |(delta, _)| *delta) {
            chunk.items[found].1 = leads_to;
        }
    }

    /// Everything pending, oldest first.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        self.chunks.iter().flat_map(|chunk| {
            chunk.items.iter().map(|(delta, leads_to)| (chunk.base + u64::from(*delta), *leads_to))
        })
    }

    fn split(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        let tail = chunk.items.split_off(chunk.items.len() / 2);
        chunk.items.shrink_to_fit();
        let (base, first) = (chunk.base, tail[0].0);
        let items = tail.into_iter().map(|(delta, leads_to)| (delta - first, leads_to)).collect();
        self.chunks.insert(at + 1, Chunk { base: base + u64::from(first), items });
    }

    fn merge_with_next(&mut self, at: usize) {
        let Some(next) = self.chunks.get(at + 1) else { return };
        let span = next.base - self.chunks[at].base + u64::from(next.items.last().map_or(0, |last| last.0));
        if self.chunks[at].items.len() + next.items.len() > MERGED || u32::try_from(span).is_err() {
            self.chunks[at].items.shrink_to(MERGED);
            return;
        }
        let Some(next) = self.chunks.remove(at + 1) else { return };
        let chunk = &mut self.chunks[at];
        let shift = next.base - chunk.base;
        for (delta, leads_to) in next.items {
            let delta = u32::try_from(shift + u64::from(delta)).expect("the span was seen to fit");
            chunk.items.push((delta, leads_to));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn listed<T: Copy>(outbox: &Outbox<T>) -> Vec<(u64, T)> {
        outbox.iter().collect()
    }

    #[test]
    fn a_superseded_write_leaves_its_place() {
        let mut outbox = Outbox::default();
        outbox.insert(1, 'a');
        outbox.insert(2, 'b');
        assert!(outbox.remove(1) && !outbox.remove(1) && !outbox.remove(7));
        outbox.insert(3, 'a');
        assert_eq!(listed(&outbox), [(2, 'b'), (3, 'a')]);
        assert_eq!(outbox.len(), 2);
    }

    #[test]
    fn gaps_too_wide_for_a_run_start_another() {
        let mut outbox = Outbox::default();
        for seq in [5, 5 + (1 << 40), 6, u64::MAX, 1] {
            outbox.insert(seq, ());
        }
        let seqs: Vec<u64> = outbox.iter().map(|(seq, ())| seq).collect();
        assert_eq!(seqs, [1, 5, 6, 5 + (1 << 40), u64::MAX]);
    }

    #[test]
    fn one_old_write_does_not_keep_the_place_of_many() {
        let mut outbox = Outbox::default();
        for seq in 1..=1_000_000 {
            outbox.insert(seq, ());
            if seq % 10_000 != 0 {
                outbox.remove(seq);
            }
        }
        assert_eq!(outbox.len(), 100);
        let room: usize = outbox.chunks.iter().map(|chunk| chunk.items.capacity()).sum();
        assert!(room < 4_096, "{room} places for 100 writes");
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order(commands in proptest::collection::vec((any::<bool>(), 0_u64..3_000), 0..4_000)) {
            let (mut outbox, mut model) = (Outbox::default(), BTreeMap::new());
            for (n, (insert, seq)) in commands.into_iter().enumerate() {
                if insert {
                    outbox.insert(seq, n);
                    model.insert(seq, n);
                } else {
                    prop_assert_eq!(outbox.remove(seq), model.remove(&seq).is_some());
                }
            }
            prop_assert_eq!(outbox.len(), model.len());
            prop_assert_eq!(listed(&outbox), model.into_iter().collect::<Vec<_>>());
        }
    }
}
