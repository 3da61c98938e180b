//! The entries in memory.

use std::{collections::BTreeMap, ops::Bound};

use crate::{
    scan::Entry,
    sync::{
        entry::{Author, Stamp},
        outbox::Outbox,
    },
    value::{Key, Value},
};

/// The latest write of every key, removals included.
#[derive(Debug)]
pub(crate) struct Store {
    entries: BTreeMap<Key, Stored>,
    /// Node ids by author; the first is the owner's.
    authors: Vec<String>,
    /// Entries with a value.
    visible: usize,
    /// What the entries' keys and values add up to.
    bytes: u64,
    outbox: Outbox<()>,
}

#[derive(Debug)]
struct Stored {
    stamp: Stamp,
    value: Option<Value>,
}

impl Store {
    pub(crate) fn new(node_id: &str) -> Self {
        Self {
            entries: BTreeMap::new(),
            authors: vec![node_id.to_owned()],
            visible: 0,
            bytes: 0,
            outbox: Outbox::default(),
        }
    }

    /// Takes a write in, unless there is a later one.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>, stamp: Stamp) -> bool {
        let authors = &self.authors;
        let old = self.entries.get(key);
        if old.is_some_and(|old| !stamp.supersedes(&old.stamp, |author| &authors[author.0 as usize])) {
            return false;
        }
        if let Some(old) = old {
            if old.stamp.author == Author::OWNER {
                self.outbox.remove(old.stamp.seq);
            }
            self.visible -= usize::from(old.value.is_some());
            self.bytes -= (key.len() + old.value.as_deref().map_or(0, <[u8]>::len)) as u64;
        }
        if stamp.author == Author::OWNER {
            self.outbox.insert(stamp.seq, ());
        }
        self.visible += usize::from(value.is_some());
        self.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        self.entries.insert(key.into(), Stored { stamp, value: value.map(Value::from) });
        true
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        self.entries.get(key)?.value.clone()
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.entries.get(key).is_some_and(|stored| stored.value.is_some())
    }

    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    pub(crate) fn pending(&self) -> usize {
        self.outbox.len()
    }

    /// Entries with a value in this range, in order, up to this many rows and about this many bytes; whether there may
    /// be more.
    pub(crate) fn page(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        rows: usize,
        bytes: usize,
    ) -> (Vec<Entry>, bool) {
        let (mut page, mut taken) = (Vec::new(), 0);
        for (key, stored) in self.entries.range::<[u8], _>(range) {
            let Some(value) = &stored.value else { continue };
            if page.len() >= rows || taken >= bytes {
                return (page, true);
            }
            taken += key.len() + value.len();
            page.push(Entry { key: key.clone(), value: value.clone() });
        }
        (page, false)
    }
}
