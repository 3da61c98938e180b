//! Operations on QueryDbs, within a batch.

use std::ops::Bound;

use super::{super::state::Transaction, QueryDbState, StoredItem, Undo, order::partition_range};
use crate::{
    backend::{ItemData, Outcome, QueryDbOperation, QueryDbOutcome, SaveMode},
    error::Result,
    limits::Limits,
    query_db::{
        Change, ChangeKind, Incremented, ItemKey, Number, PURGED_AT_ONCE, Prepared, Removal, Saved,
        is_visible,
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
                    state.drop_everything();
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
        let there = old.map(|item| (item.json.clone(), item.expires_at));
        let Incremented { json, prepared, expires_at, total } =
            self.definition.increment(key, there, (field, by), limits)?;
        let kind = if added { ChangeKind::Added } else { ChangeKind::Updated };
        let stored = StoredItem { json, version: 0, expires_at, index_keys: prepared.index_keys };
        self.change(key, Some(stored), kind);
        Ok(total)
    }

    fn purge(&mut self, limit: u64, now: u64) -> u64 {
        let expired = self.expiry.iter().take_while(|(at, _)| !is_visible(Some(*at), now));
        let limit = usize::try_from(limit.min(PURGED_AT_ONCE)).unwrap_or(usize::MAX);
        let keys: Vec<ItemKey> = expired.take(limit).map(|(_, key)| key.clone()).collect();
        for key in &keys {
            self.change(key, None, ChangeKind::Removed { reason: Removal::Expired });
        }
        keys.len() as u64
    }
}
