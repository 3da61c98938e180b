//! Operations on QueryDbs, within a batch.

use std::{ops::Bound, sync::Arc};

use super::{super::state::Transaction, QueryDbState, StoredItem, Undo, order::partition_range};
use crate::{
    backend::{ItemData, Outcome, QueryDbOperation, QueryDbOutcome, SaveMode},
    error::{Error, Result},
    limits::Limits,
    query_db::{
        Change, ChangeKind, Definition, ItemKey, Number, Prepared, QueryDbSpec, Removal, Saved, add_to_field,
        check_item_size, is_visible,
    },
};

impl Transaction<'_> {
    pub(in crate::backend::memory) fn query_db(
        &mut self,
        operation: QueryDbOperation,
        limits: &Limits,
    ) -> Result<Outcome> {
        let now = self.now;
        if let Some(name) = operation.written() {
            let owner = self.known_query_db(name).and_then(|state| state.owner().map(str::to_owned));
            QueryDbOperation::check_owner(name, owner.as_deref(), self.projecting.as_deref())?;
        }
        let outcome = match operation {
            QueryDbOperation::Define { query_db, spec } => {
                // Before a dropped one begins again.
                let exists = self.known_query_db(&query_db).is_some();
                self.query_db_or_new(&query_db).define(&spec, exists)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::Drop { query_db } => {
                if let Some(state) = self.known_query_db(&query_db) {
                    state.clear();
                }
                return Ok(Outcome::Done);
            }
            QueryDbOperation::DropIndex { query_db, index } => {
                self.known_query_db(&query_db).map_or(Ok(()), |state| state.drop_index(&index))?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::RequireVersion { query_db, key, version } => {
                let visible = self.known_query_db(&query_db).and_then(|state| state.visible(&key, now));
                SaveMode::IfVersion(version).check(&key, visible)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::Save { query_db, item } => {
                QueryDbOutcome::Saved(self.query_db_or_new(&query_db).save(item, now)?)
            }
            QueryDbOperation::SaveAll { items, .. } if items.is_empty() => {
                QueryDbOutcome::AllSaved(Vec::new())
            }
            QueryDbOperation::SaveAll { query_db, items } => {
                let state = self.query_db_or_new(&query_db);
                let saved = items.into_iter().map(|item| state.save(item, now));
                QueryDbOutcome::AllSaved(saved.collect::<Result<_>>()?)
            }
            QueryDbOperation::Delete { query_db, keys } => {
                let delete =
                    |state: &mut QueryDbState| keys.iter().filter(|key| state.delete(key, now)).count();
                QueryDbOutcome::Removed(self.known_query_db(&query_db).map_or(0, delete) as u64)
            }
            QueryDbOperation::DeletePartition { query_db, partition } => {
                let state = self.known_query_db(&query_db);
                QueryDbOutcome::Removed(state.map_or(0, |state| state.delete_partition(&partition, now)))
            }
            QueryDbOperation::Increment { query_db, key, field, by } => {
                let state = self.query_db_or_new(&query_db);
                QueryDbOutcome::Incremented(state.increment(&key, &field, by, now, limits)?)
            }
            QueryDbOperation::PurgeExpired { query_db, limit } => {
                let state = self.known_query_db(&query_db);
                QueryDbOutcome::Removed(state.map_or(0, |state| state.purge(limit, now)))
            }
        };
        Ok(Outcome::QueryDb(outcome))
    }
}

impl QueryDbState {
    /// The version of the visible item under a key.
    fn visible(&self, key: &ItemKey, now: u64) -> Option<u64> {
        self.items.get(key).filter(|item| is_visible(item.expires_at, now)).map(|item| item.version)
    }

    /// Puts an item, or none, under a key, as the next change.
    fn change(&mut self, key: &ItemKey, item: Option<StoredItem>, kind: ChangeKind) -> u64 {
        self.version += 1;
        let version = self.version;
        let item = item.map(|item| StoredItem { version, ..item });
        let old = self.replace(key, item);
        self.undo.push(Undo::Item(key.clone(), old));
        self.pending.push(Change::new(version, kind, Some(key.clone())));
        version
    }

    fn save(&mut self, item: ItemData, now: u64) -> Result<Saved> {
        let ItemData { partition, json, ttl, mode } = item;
        let Prepared { sub, index_keys, expires_at } = self.definition.prepare(&json)?;
        self.definition.check_ttl(ttl)?;
        let key = ItemKey { partition, sub };
        let visible = self.visible(&key, now);
        mode.check(&key, visible)?;
        let expires_at = expires_at.or(ttl.map(|ttl| ttl.expires_at(now)));
        let kind = if visible.is_some() { ChangeKind::Updated } else { ChangeKind::Added };
        let stored = StoredItem { json, version: 0, expires_at, index_keys };
        let version = self.change(&key, Some(stored), kind);
        Ok(Saved::new(key, version, visible.is_none()))
    }

    fn delete(&mut self, key: &ItemKey, now: u64) -> bool {
        let is_there = self.visible(key, now).is_some();
        if is_there {
            self.change(key, None, ChangeKind::Removed { reason: Removal::Deleted });
        }
        is_there
    }

    fn delete_partition(&mut self, partition: &str, now: u64) -> u64 {
        let range = partition_range(partition, &Bound::Unbounded, &Bound::Unbounded);
        let keys: Vec<ItemKey> = self.items.range(range).map(|(key, _)| key.clone()).collect();
        keys.iter().filter(|key| self.delete(key, now)).count() as u64
    }

    fn increment(
        &mut self,
        key: &ItemKey,
        field: &str,
        by: Number,
        now: u64,
        limits: &Limits,
    ) -> Result<Number> {
        let old = self.items.get(key).filter(|item| is_visible(item.expires_at, now));
        let added = old.is_none();
        let (json, expires_at) = match old {
            Some(item) => (item.json.clone(), item.expires_at),
            None => (self.definition.empty_item(key)?, None),
        };
        let (json, total) = add_to_field(&json, &field.parse()?, by)?;
        check_item_size(&json, limits)?;
        let prepared = self.definition.prepare(&json)?;
        if prepared.sub != key.sub {
            return Err(Error::invalid(
                "field",
                format!("`{field}` is the sub id, which is part of the key"),
            ));
        }
        let expires_at =
            if self.definition.spec.ttl_field.is_some() { prepared.expires_at } else { expires_at };
        let kind = if added { ChangeKind::Added } else { ChangeKind::Updated };
        let stored = StoredItem { json, version: 0, expires_at, index_keys: prepared.index_keys };
        self.change(key, Some(stored), kind);
        Ok(total)
    }

    fn purge(&mut self, limit: u64, now: u64) -> u64 {
        let expired = self.expiry.iter().take_while(|(at, _)| !is_visible(Some(*at), now));
        let keys: Vec<ItemKey> =
            expired.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|(_, key)| key.clone()).collect();
        for key in &keys {
            self.change(key, None, ChangeKind::Removed { reason: Removal::Expired });
        }
        keys.len() as u64
    }

    /// Takes a definition over; one that does not exist, or no longer, has no other that would bind it.
    fn define(&mut self, spec: &QueryDbSpec, exists: bool) -> Result<()> {
        let definition =
            if exists { self.definition.extended(spec)?.0 } else { Definition::new(spec.clone())? };
        if exists && definition.spec == self.definition.spec {
            return Ok(());
        }
        self.redefine(definition)
    }

    fn drop_index(&mut self, name: &str) -> Result<()> {
        let mut spec = self.definition.spec.clone();
        spec.indexes.retain(|index| index.name != name);
        if spec == self.definition.spec { Ok(()) } else { self.redefine(Definition::new(spec)?) }
    }

    /// Takes a definition over, and builds all indexes anew.
    fn redefine(&mut self, definition: Arc<Definition>) -> Result<()> {
        let mut rebuilt = self.fresh(definition);
        for (key, item) in &self.items {
            let prepared = rebuilt
                .definition
                .prepare(&item.json)
                .map_err(|error| error.with("item", key.to_string()))?;
            drop(rebuilt.replace(key, Some(StoredItem { index_keys: prepared.index_keys, ..item.clone() })));
        }
        (rebuilt.changes, rebuilt.version, rebuilt.owner) =
            (self.changes.clone(), self.version, self.owner.clone());
        self.become_whole(rebuilt);
        Ok(())
    }

    /// Removes everything but the name and the version: versions never go back.
    pub(in crate::backend::memory) fn clear(&mut self) {
        let dropped = Self { version: self.version, is_dropped: true, ..Self::new(self.name.clone()) };
        self.become_whole(dropped);
        self.pending.clear();
    }

    pub(in crate::backend::memory) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    pub(in crate::backend::memory) fn set_owner(&mut self, owner: Option<String>) {
        if self.owner != owner || self.is_only_a_name() {
            let owned = Self { owner, pending: Vec::new(), undo: Vec::new(), ..self.clone() };
            self.become_whole(owned);
        }
    }

    pub(in crate::backend::memory) fn spec_and_version(&self) -> (QueryDbSpec, u64) {
        (self.definition.spec.clone(), self.version)
    }

    /// Becomes an empty copy for a rebuild, with versions from here on.
    pub(in crate::backend::memory) fn begin_copy(&mut self, spec: &QueryDbSpec, version: u64) -> Result<()> {
        let definition = Definition::new(QueryDbSpec { changes: false, ..spec.clone() })?;
        let version = version.max(self.version);
        let copy = Self { version, ..self.fresh(definition) };
        self.become_whole(copy);
        Ok(())
    }

    /// Takes over what a copy was filled with, as one change.
    pub(in crate::backend::memory) fn take_over(&mut self, filled: Self) -> Result<()> {
        let definition = self.definition.clone();
        let mut new = Self { owner: self.owner.clone(), ..self.fresh(definition) };
        new.version = filled.version.max(self.version);
        for (key, item) in filled.items {
            let prepared = new.definition.prepare(&item.json)?;
            drop(new.replace(&key, Some(StoredItem { index_keys: prepared.index_keys, ..item })));
        }
        self.become_whole(new);
        self.version += 1;
        self.pending.push(Change::new(self.version, ChangeKind::Replaced, None));
        Ok(())
    }

    /// Lets a dropped QueryDb begin again.
    pub(in crate::backend::memory) fn begin_again(&mut self) {
        if self.is_dropped {
            let begun = Self { version: self.version, ..Self::new(self.name.clone()) };
            self.become_whole(begun);
        }
    }

    fn fresh(&self, definition: Arc<Definition>) -> Self {
        let indexes = definition.spec.indexes.iter().map(|_| Default::default()).collect();
        Self { definition, indexes, ..Self::new(self.name.clone()) }
    }

    fn become_whole(&mut self, new: Self) {
        let (pending, mut undo) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.undo));
        let is_new = self.is_new;
        let old = std::mem::replace(self, new);
        undo.push(Undo::Whole(Box::new(old)));
        (self.pending, self.undo, self.is_new) = (pending, undo, is_new);
    }
}
