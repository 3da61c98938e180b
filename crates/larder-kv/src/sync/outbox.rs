//! The own writes that still have to reach other nodes, in the order in which they were made.

use std::collections::VecDeque;

/// How many sequence numbers a chunk is for.
const SPAN: u64 = 512;
/// A chunk with more than this has a slot for each number,
const SPARSE: usize = 128;
/// and one with fewer than this has no longer.
const DENSE: usize = 64;

/// Pending writes by their author's sequence number, each with what leads to its entry.
///
/// A write is found without a search as long as most of its neighbours are pending too, so that a million pending ones
/// cost as much per operation as a thousand; where few of them are, those few take no room for the others.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    /// Those that are not empty, by their numbers.
    chunks: VecDeque<Chunk<T>>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// It is for the sequence numbers from this times the span on.
    number: u64,
    len: usize,
    slots: Slots<T>,
}

#[derive(Debug)]
enum Slots<T> {
    /// One for each number.
    Dense(Box<[Option<T>]>),
    /// In order.
    Sparse(Vec<(u16, T)>),
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
        let at = match self.find(seq) {
            Ok(at) => at,
            Err(at) => {
                let chunk = Chunk { number: seq / SPAN, len: 0, slots: Slots::Sparse(Vec::new()) };
                self.chunks.insert(at, chunk);
                at
            }
        };
        self.len += usize::from(self.chunks[at].insert(slot(seq), leads_to));
    }

    /// Takes a write out: superseded by a newer one of its key, or delivered. Answers whether it was in.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        let Ok(at) = self.find(seq) else { return false };
        let chunk = &mut self.chunks[at];
        if !chunk.remove(slot(seq)) {
            return false;
        }
        self.len -= 1;
        if chunk.len == 0 {
            self.chunks.remove(at);
        }
        true
    }

    /// Lets a write that is in lead elsewhere.
    pub(crate) fn redirect(&mut self, seq: u64, leads_to: T) {
        let Ok(at) = self.find(seq) else { return };
        if let Some(leads) = self.chunks[at].get_mut(slot(seq)) {
            *leads = leads_to;
        }
    }

    /// Everything pending, oldest first.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        self.chunks.iter().flat_map(|chunk| {
            let base = chunk.number * SPAN;
            chunk.iter().map(move |(slot, leads_to)| (base + u64::from(slot), leads_to))
        })
    }

    /// The chunk that a number is in, or where it belongs.
    fn find(&self, seq: u64) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.chunks.front(), self.chunks.back()) else { return Err(0) };
        let number = seq / SPAN;
        // As far from the first, or from the last, as its number says, if none is missing between.
        let from_first = number.checked_sub(first.number);
        let from_last = last
            .number
            .checked_sub(number)
            .and_then(|apart| (self.chunks.len() as u64 - 1).checked_sub(apart));
        for guess in [from_last, from_first].into_iter().flatten().filter_map(|at| usize::try_from(at).ok()) {
            if self.chunks.get(guess).is_some_and(|chunk| chunk.number == number) {
                return Ok(guess);
            }
        }
        if number > last.number {
            return Err(self.chunks.len());
        }
        self.chunks.binary_search_by_key(&number, |chunk| chunk.number)
    }
}

/// A number's place in its chunk.
fn slot(seq: u64) -> u16 {
    u16::try_from(seq % SPAN).expect("less than the span")
}

impl<T: Copy> Chunk<T> {
    /// True: it was not in.
    fn insert(&mut self, slot: u16, leads_to: T) -> bool {
        let is_new = match &mut self.slots {
            Slots::Dense(slots) => slots[usize::from(slot)].replace(leads_to).is_none(),
            Slots::Sparse(slots) => match slots.binary_search_by_key(&slot, |(slot, _)| *slot) {
                Ok(found) => {
                    slots[found].1 = leads_to;
                    false
                }
                Err(place) => {
                    slots.insert(place, (slot, leads_to));
                    true
                }
            },
        };
        self.len += usize::from(is_new);
        if let Slots::Sparse(few) = &self.slots
            && few.len() > SPARSE
        {
            let mut slots = vec![None; SPAN as usize].into_boxed_slice();
            few.iter().for_each(|(slot, leads_to)| slots[usize::from(*slot)] = Some(*leads_to));
            self.slots = Slots::Dense(slots);
        }
        is_new
    }

    /// True: it was in.
    fn remove(&mut self, slot: u16) -> bool {
        let was_in = match &mut self.slots {
            Slots::Dense(slots) => slots[usize::from(slot)].take().is_some(),
            Slots::Sparse(slots) => {
                let found = slots.binary_search_by_key(&slot, |(slot, _)| *slot);
                found.map(|place| slots.remove(place)).is_ok()
            }
        };
        self.len -= usize::from(was_in);
        if was_in && self.len < DENSE && matches!(self.slots, Slots::Dense(_)) {
            self.slots = Slots::Sparse(self.iter().collect());
        }
        was_in
    }

    fn get_mut(&mut self, slot: u16) -> Option<&mut T> {
        match &mut self.slots {
            Slots::Dense(slots) => slots[usize::from(slot)].as_mut(),
            Slots::Sparse(slots) => {
                let found = slots.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
                Some(&mut slots[found].1)
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u16, T)> {
        let (dense, sparse) = match &self.slots {
            Slots::Dense(slots) => (&slots[..], &[][..]),
            Slots::Sparse(slots) => (&[][..], &slots[..]),
        };
        let dense = dense.iter().zip(0_u16..).filter_map(|(leads_to, slot)| leads_to.map(|to| (slot, to)));
        dense.chain(sparse.iter().copied())
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
        let room = outbox.chunks.iter().map(|chunk| match &chunk.slots {
            Slots::Dense(slots) => slots.len(),
            Slots::Sparse(slots) => slots.capacity(),
        });
        let room: usize = room.sum();
        assert!(room < 4_096 && outbox.chunks.len() <= 100, "{room} places for 100 writes");
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
