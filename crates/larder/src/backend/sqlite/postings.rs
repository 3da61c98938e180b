//! The one index of events: the newest postings in memory, the others in the table `posting`.
//!
//! A term is a tag, an event type or a stream. Inserting a row for each term of each event touches a page of
//! the table for each; so the newest postings of a log (its *tail*) stay in memory and are merged into the
//! table in sorted slices, where neighbours share pages. Nothing is lost with the memory: the tail is rebuilt
//! from the events themselves. `log.merged` says through which position the table is complete; a reader takes
//! the table up to there and the tail from there on.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hasher,
    ops::Bound,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rusqlite::Connection;
use siphasher::sip::SipHasher13;

use super::{
    log_row::LogRow,
    place::{from_sql, place, place_bound, position_of, to_sql},
    row::split_tags,
};
use crate::error::Result;

/// What an event is found by, as a number. A tag or a type is a hash of 47 bits (which SQLite stores in six
/// bytes), and two may share one: whoever follows a posting looks at the event. A stream is its number, negated.
pub(super) type Term = i64;

/// A term, and the place of an event in it: its position, or in a stream its `seq_nr`.
pub(super) type Key = (Term, u64);

/// Postings in order. The value is a hash of the event's type, or in a stream its position.
pub(super) type Postings = BTreeMap<Key, u64>;

/// The term of a stream.
pub(super) fn stream_term(stream: i64) -> Term {
    -stream
}

/// The position of the event that a posting belongs to.
fn position_of_posting(&(term, key): &Key, value: u64) -> u64 {
    if term < 0 { value } else { key }
}

/// What an event is indexed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexed<'a, T> {
    pub log: i64,
    pub position: u64,
    /// The stream's number, and the event's place in it.
    pub stream: Option<(i64, u64)>,
    pub event_type: &'a str,
    pub tags: T,
}

/// Makes terms. Keyed by a secret of the file, so that nobody can prepare names that collide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    key: [u8; 16],
}

impl Terms {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    pub(super) fn of_tag(&self, log: i64, tag: &str) -> Term {
        self.hash(log, b'#', tag)
    }

    pub(super) fn of_type(&self, log: i64, event_type: &str) -> Term {
        self.hash(log, b'@', event_type)
    }

    /// A smaller hash of a type, kept with each posting so that a query over tags and types rarely looks in vain.
    pub(super) fn type_hash(&self, event_type: &str) -> u64 {
        (self.of_type(0, event_type) & 0x7fff_ffff).cast_unsigned()
    }

    fn hash(&self, log: i64, kind: u8, text: &str) -> i64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&log.to_le_bytes());
        hasher.write_u8(kind);
        hasher.write(text.as_bytes());
        (hasher.finish() >> 17).cast_signed().max(1)
    }

    /// The postings of an event.
    pub(super) fn postings<'a, T>(&'a self, event: Indexed<'a, T>) -> impl Iterator<Item = (Key, u64)> + 'a
    where
        T: IntoIterator<Item = &'a str, IntoIter: 'a>,
    {
        let Indexed { log, position, stream, event_type, tags } = event;
        let type_hash = self.type_hash(event_type);
        let tags = tags.into_iter().map(move |tag| self.of_tag(log, tag));
        let labels = std::iter::once(self.of_type(log, event_type)).chain(tags);
        let stream = stream.map(|(stream, seq_nr)| ((stream_term(stream), seq_nr), position));
        labels.map(move |term| ((term, position), type_hash)).chain(stream)
    }
}

/// A group merges at least this fraction of what has gathered, so that merging ends soon after writing does.
const SLICES: usize = 512;

/// The newest postings of one log, shared by the writer and the readers of this process.
#[derive(Debug, Default)]
pub(super) struct Tail {
    inner: RwLock<TailState>,
}

#[derive(Debug, Default)]
pub(super) struct TailState {
    /// The log's count of removals, as far as this tail has followed them.
    removals: u64,
    /// The tail holds every posting of positions in (`base`, `through`].
    base: u64,
    through: u64,
    /// Being merged: everything in (`base`, `frozen_through`].
    frozen: Postings,
    frozen_through: u64,
    active: Postings,
}

impl Tail {
    /// An empty tail of a log that is merged through a position, as its row says.
    pub(super) fn starting_at(log: &LogRow) -> Self {
        let mut state = TailState::default();
        state.restart(log);
        Self { inner: RwLock::new(state) }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, TailState> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, TailState> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    /// The position up to which the table has to be complete for this tail to be of use.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// How many postings it holds.
    pub(super) fn len(&self) -> usize {
        self.frozen.len() + self.active.len()
    }

    /// How many of the log's removals it has followed: it lacks what they removed.
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Its postings, in two layers: every position of the second lies above those of the first.
    pub(super) fn layers(&self) -> [&Postings; 2] {
        [&self.frozen, &self.active]
    }

    /// Adds a posting of an event above `through`.
    pub(super) fn insert(&mut self, key: Key, value: u64) {
        self.active.insert(key, value);
    }

    /// Takes note that every posting through a position was added.
    pub(super) fn advance(&mut self, through: u64) {
        self.through = self.through.max(through);
    }

    /// Removes what the committed transaction has removed from the table.
    pub(super) fn remove_forgotten(&mut self, keys: &[Key], removals: u64) {
        self.remove(keys);
        self.removals = removals;
    }

    /// Takes note that the postings above a position were removed: another process may give those positions.
    pub(super) fn retreat(&mut self, through: u64) {
        self.through = self.through.min(through);
    }

    /// Takes back everything above a position: it was not committed.
    pub(super) fn retract(&mut self, through: u64) {
        let keep = |key: &Key, value: &mut u64| position_of_posting(key, *value) <= through;
        if self.through > through {
            self.active.retain(keep);
            self.through = through;
        }
        if self.frozen_through > through {
            self.frozen.retain(keep);
            self.frozen_through = through;
        }
    }

    /// Adds the events that others have appended since, from the events themselves.
    pub(super) fn catch_up(
        &mut self,
        connection: &Connection,
        terms: &Terms,
        log: i64,
        head: u64,
    ) -> Result<()> {
        if head <= self.through {
            return Ok(());
        }
        let sql =
            "SELECT place, stream, seq_nr, event_type, tags FROM event WHERE place > ?1 AND place <= ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((place(log, self.through), place_bound(log, head)))?;
        let mut missing: Vec<(Key, u64)> = Vec::new();
        while let Some(row) = rows.next()? {
            let event_type = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
            let tags = split_tags(row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?);
            let position = position_of(row.get(0)?);
            let stream = row.get::<_, Option<i64>>(1)?.zip(row.get::<_, Option<i64>>(2)?);
            let stream =
                stream.map(|(stream, seq_nr)| from_sql(seq_nr).map(|seq_nr| (stream, seq_nr))).transpose()?;
            let tags = tags.iter().map(String::as_str);
            missing.extend(terms.postings(Indexed { log, position, stream, event_type, tags }));
        }
        // A map that is built from a sorted whole, and one append of it, are several times faster than inserts.
        self.active.append(&mut missing.into_iter().collect());
        self.through = head;
        Ok(())
    }

    /// Whether the log is still as this tail knows it: no other process has merged or removed postings, and
    /// nobody has created it anew.
    pub(super) fn follows(&self, log: &LogRow) -> bool {
        self.base == log.merged && self.removals == log.removals
    }

    /// Forgets everything, to be rebuilt from `merged` on.
    pub(super) fn restart(&mut self, log: &LogRow) {
        let LogRow { merged, removals, .. } = *log;
        *self = Self { base: merged, through: merged, frozen_through: merged, removals, ..Self::default() };
    }

    /// Removes postings.
    pub(super) fn remove(&mut self, keys: &[Key]) {
        for key in keys {
            self.frozen.remove(key);
            self.active.remove(key);
        }
    }

    /// Freezes what is there once there is enough of it.
    fn freeze(&mut self, merge_at: usize) {
        if self.frozen.is_empty() && self.active.len() >= merge_at {
            self.frozen = std::mem::take(&mut self.active);
            self.frozen_through = self.through;
        }
    }
}

/// How far the writer is with merging a log's frozen postings.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Merge {
    /// The last posting that was written to the table; those before it are there as well.
    written: Option<Key>,
}

/// What a slice has led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// There was nothing to merge.
    Nothing,
    /// More is to be merged.
    Partly(Option<Key>),
    /// The table is complete through this position, once the transaction commits.
    Through(u64),
}

impl Merge {
    /// Writes the next slice, in proportion to what the group added, into the open transaction.
    ///
    /// Merging begins when `merge_at` postings have gathered: the more, the more of them share a page of the table.
    /// Those `forgotten` by the transaction are in the tail until it commits, and are left out.
    pub(super) fn slice(
        &self,
        connection: &Connection,
        tail: &Tail,
        added: usize,
        forgotten: &[Key],
        merge_at: usize,
    ) -> Result<Merged> {
        let mut state = tail.read();
        let mut written = self.written;
        if state.frozen.is_empty() {
            // Also the rest of a merge may have been forgotten: what comes next begins with its own first posting.
            written = None;
            if state.active.len() < merge_at.max(1) {
                return Ok(Merged::Nothing);
            }
            drop(state);
            tail.write().freeze(merge_at);
            state = tail.read();
        }
        let size = (merge_at / SLICES).max(added * 2).max(1);
        let from = written.map_or(Bound::Unbounded, Bound::Excluded);
        let sql = "INSERT OR IGNORE INTO posting (term, key, value) VALUES (?1, ?2, ?3)";
        let mut insert = connection.prepare_cached(sql)?;
        let mut left = state.frozen.range((from, Bound::Unbounded));
        let forgotten: HashSet<&Key> = forgotten.iter().collect();
        for (&key, &value) in left.by_ref().take(size) {
            if !forgotten.contains(&key) {
                insert.execute((key.0, to_sql(key.1), to_sql(value)))?;
            }
            written = Some(key);
        }
        if left.next().is_some() {
            Ok(Merged::Partly(written))
        } else {
            Ok(Merged::Through(state.frozen_through))
        }
    }

    /// Takes note of a slice whose transaction has committed.
    pub(super) fn committed(&mut self, tail: &Tail, merged: &Merged) {
        match merged {
            Merged::Nothing => {}
            Merged::Partly(written) => self.written = *written,
            Merged::Through(through) => {
                self.written = None;
                let mut state = tail.write();
                state.base = *through;
                state.frozen = Postings::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges the slice of a group that added so many postings, and commits.
    fn merge(merge: &mut Merge, connection: &Connection, tail: &Tail, added: usize) -> Merged {
        let slice = merge.slice(connection, tail, added, &[], 6).unwrap();
        merge.committed(tail, &slice);
        slice
    }

    fn fill(tail: &Tail, keys: impl Iterator<Item = Key>) {
        let mut state = tail.write();
        for key in keys {
            state.insert(key, key.1);
            state.advance(key.1);
        }
    }

    /// A merge whose remaining postings were removed is over: the next one begins with its own first posting.
    #[test]
    fn a_merge_begins_anew_after_its_postings_were_forgotten() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE posting (term, key, value, PRIMARY KEY (term, key)) WITHOUT ROWID")
            .unwrap();
        let (tail, mut writer) = (Tail::default(), Merge::default());
        let first = || (1..=6).map(|position| (50, position));
        fill(&tail, first());
        assert!(matches!(merge(&mut writer, &connection, &tail, 1), Merged::Partly(_)));
        tail.write().remove_forgotten(&first().collect::<Vec<_>>(), 1);
        connection.execute("DELETE FROM posting", []).unwrap();
        assert_eq!(merge(&mut writer, &connection, &tail, 0), Merged::Nothing);

        fill(&tail, (7..=12).map(|position| (40, position)));
        assert_eq!(merge(&mut writer, &connection, &tail, 6), Merged::Through(12));
        let count: i64 = connection.query_row("SELECT count(*) FROM posting", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 6, "none was passed over");
    }
}
