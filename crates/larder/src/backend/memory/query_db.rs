//! The state of one QueryDb: its items, indexes, expiry and changes, and what takes changes back.

mod define;
mod order;
mod read;
mod rebuild;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use self::order::IndexEntry;
use crate::{
    backend::{Finding, QueryDbStats, REBUILD_SUFFIX},
    query_db::{Change, Definition, ItemKey, KeyValue, QueryDbInfo, QueryDbSpec, is_visible},
};

/// The most changes that are kept.
const CHANGES: usize = 10_000;

/// One QueryDb.
#[derive(Debug, Clone)]
pub(super) struct QueryDbState {
    name: Arc<str>,
    definition: Arc<Definition>,
    /// The projection that alone writes it.
    owner: Option<String>,
    /// The highest version that was given.
    version: u64,
    items: BTreeMap<ItemKey, StoredItem>,
    /// One for each index of the definition.
    indexes: Vec<BTreeSet<IndexEntry>>,
    /// When items expire, in epoch seconds.
    expiry: BTreeSet<(u64, ItemKey)>,
    changes: VecDeque<Change>,
    /// Changes of the batch under way.
    pending: Vec<Change>,
    /// What the batch under way has changed; empty between batches.
    undo: Vec<Undo>,
    /// Made by the batch under way: it exists once there is a change in it.
    is_new: bool,
    /// Dropped: nothing but the name and the version is left.
    is_dropped: bool,
}

/// An item, and its place in each index that it is in.
#[derive(Debug, Clone)]
struct StoredItem {
    json: String,
    version: u64,
    expires_at: Option<u64>,
    index_keys: Vec<Option<Vec<KeyValue>>>,
}

/// A change, as what takes it back.
#[derive(Debug, Clone)]
enum Undo {
    /// Put this item, or none, back under the key.
    Item(ItemKey, Option<StoredItem>),
    /// Put the whole QueryDb back.
    Whole(Box<QueryDbState>),
}

impl QueryDbState {
    pub(super) fn new(name: Arc<str>) -> Self {
        let definition = Definition::new(QueryDbSpec::new()).expect("the default definition is sound");
        Self {
            name,
            definition,
            owner: None,
            version: 0,
            items: BTreeMap::new(),
            indexes: Vec::new(),
            expiry: BTreeSet::new(),
            changes: VecDeque::new(),
            pending: Vec::new(),
            undo: Vec::new(),
            is_new: true,
            is_dropped: false,
        }
    }

    /// Whether there is such a QueryDb.
    pub(super) fn exists(&self) -> bool {
        !self.is_dropped && !self.is_only_a_name()
    }

    /// Whether users see it: copies that a rebuild fills they do not.
    pub(super) fn is_listed(&self) -> bool {
        self.exists() && !self.name.ends_with(REBUILD_SUFFIX)
    }

    /// Whether the batch under way has looked at it, and nothing else.
    pub(super) fn is_only_a_name(&self) -> bool {
        self.is_new && self.undo.is_empty()
    }

    pub(super) fn info(&self) -> QueryDbInfo {
        QueryDbInfo::new(
            self.name.to_string(),
            self.definition.spec.clone(),
            self.version,
            self.owner.clone(),
        )
    }

    pub(super) fn stats(&self, now: u64) -> QueryDbStats {
        let visible = self.items.values().filter(|item| is_visible(item.expires_at, now)).count();
        QueryDbStats::new(self.info(), visible as u64, (self.items.len() - visible) as u64)
    }

    /// Makes the batch's changes final; answers whether there were any. Its feed is kept if the definition says so, or if
    /// somebody listens.
    pub(super) fn keep(&mut self, is_heard: bool) -> bool {
        self.is_new &= self.undo.is_empty();
        self.changes.extend(self.pending.drain(..));
        let over = self.changes.len().saturating_sub(CHANGES);
        self.changes.drain(..over);
        if !is_heard && !self.definition.spec.keeps_changes() {
            self.changes.clear();
        }
        !std::mem::take(&mut self.undo).is_empty()
    }

    /// Takes the batch's changes back.
    pub(super) fn revert(&mut self) {
        self.pending.clear();
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Item(key, item) => {
                    self.version -= 1;
                    drop(self.replace(&key, item));
                }
                Undo::Whole(state) => {
                    let undo = std::mem::take(&mut self.undo);
                    *self = Self { undo, ..*state };
                }
            }
        }
    }

    /// For tests.
    #[cfg(test)]
    pub(super) fn damage_expiry(&mut self, damage: impl FnOnce(&mut BTreeSet<(u64, ItemKey)>)) {
        damage(&mut self.expiry);
    }

    /// Puts an item, or none, under a key, in every index; answers what was there.
    fn replace(&mut self, key: &ItemKey, item: Option<StoredItem>) -> Option<StoredItem> {
        let old = self.items.remove(key);
        if let Some(old) = &old {
            for (index, values) in self.indexes.iter_mut().zip(&old.index_keys) {
                if let Some(values) = values {
                    index.remove(&IndexEntry::new(values, key));
                }
            }
            if let Some(at) = old.expires_at {
                self.expiry.remove(&(at, key.clone()));
            }
        }
        if let Some(item) = item {
            for (index, values) in self.indexes.iter_mut().zip(&item.index_keys) {
                if let Some(values) = values {
                    index.insert(IndexEntry::new(values, key));
                }
            }
            if let Some(at) = item.expires_at {
                self.expiry.insert((at, key.clone()));
            }
            self.items.insert(key.clone(), item);
        }
        old
    }

    /// Compares every item with its definition, and every index with the items; answers how many there are of both.
    pub(super) fn verify(&self, mut found: impl FnMut(Finding)) -> (u64, u64) {
        let mut entries = 0;
        let mut find = |key: &ItemKey, problem: String| {
            found(Finding {
                log: None,
                position: None,
                problem: format!("QueryDb {}: item {key}: {problem}", self.name),
            });
        };
        for (key, item) in &self.items {
            let prepared = self.definition.prepare(&item.json);
            let is_sound = prepared
                .as_ref()
                .is_ok_and(|prepared| prepared.sub == key.sub && prepared.index_keys == item.index_keys);
            if !is_sound || item.version > self.version {
                find(key, "it is not what its definition says".into());
            }
            let of_field = self.definition.spec.ttl_field.is_some();
            if of_field && prepared.is_ok_and(|prepared| prepared.expires_at != item.expires_at) {
                find(key, "its time of expiry is not the item's".into());
            }
            if item.expires_at.is_some_and(|at| !self.expiry.contains(&(at, key.clone()))) {
                find(key, "it is missing among those that expire".into());
            }
            for (index, values) in self.indexes.iter().zip(&item.index_keys) {
                let Some(values) = values else { continue };
                entries += 1;
                if !index.contains(&IndexEntry::new(values, key)) {
                    find(key, "it is missing in an index".into());
                }
            }
        }
        let indexed: u64 = self.indexes.iter().map(|index| index.len() as u64).sum();
        if indexed != entries {
            let problem =
                format!("QueryDb {}: its indexes have {indexed} entries, its items {entries}", self.name);
            found(Finding { log: None, position: None, problem });
        }
        let expire = self.items.values().filter(|item| item.expires_at.is_some()).count();
        if self.expiry.len() != expire {
            let problem = format!("QueryDb {}: {expire} items expire, not {}", self.name, self.expiry.len());
            found(Finding { log: None, position: None, problem });
        }
        (self.items.len() as u64, entries)
    }
}
