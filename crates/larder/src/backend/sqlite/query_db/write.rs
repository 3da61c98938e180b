//! Saves, deletes, increments and purges, within the running transaction.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, params_from_iter, types::ValueRef};

use super::{
    changes,
    item_row::{Checksum, ItemRow, bound, sql_value},
    layout::Layout,
    registry::Registered,
};
use crate::{
    backend::{
        ItemData, Operation, Outcome, QueryDbOperation, QueryDbOutcome, SaveMode,
        sqlite::{
            place::to_sql,
            shared::Shared,
            writer::{Failure, Writer, Written},
        },
    },
    error::{Error, Result},
    limits::Limits,
    query_db::{
        Change, ChangeKind, ItemKey, KeyValue, Number, Prepared, Removal, Saved, add_to_field,
        check_item_size, is_visible,
    },
};

/// What the writer knows of a QueryDb, ahead of the file while a transaction runs.
#[derive(Debug)]
pub(in crate::backend::sqlite) struct WriterQueryDb {
    pub(super) layout: Arc<Layout>,
    /// The highest version that was given.
    version: u64,
    /// The changes of the running transaction.
    pending: Vec<Change>,
}

/// How far the QueryDbs were when a batch began, to return to if it is refused.
#[derive(Debug)]
pub(in crate::backend::sqlite) struct Marks(HashMap<Arc<str>, (u64, usize)>);

impl Writer {
    pub(in crate::backend::sqlite) fn query_db(
        &mut self,
        shared: &Shared,
        operation: &QueryDbOperation,
    ) -> Result<Outcome, Failure> {
        let outcome = match operation {
            QueryDbOperation::Define { query_db, spec } => return self.define(shared, query_db, spec),
            QueryDbOperation::Drop { query_db } => return self.drop_query_db(shared, query_db),
            QueryDbOperation::DropIndex { query_db, index } => {
                return self.drop_index(shared, query_db, index);
            }
            QueryDbOperation::RequireVersion { query_db, key, version } => {
                let visible = self.visible(shared, query_db, key)?;
                SaveMode::IfVersion(*version).check(key, visible)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::Save { query_db, item } => {
                let (state, at) = self.query_db_or_new(shared, query_db)?;
                QueryDbOutcome::Saved(state.save(&at, item)?)
            }
            QueryDbOperation::SaveAll { query_db, items } => {
                let (state, at) = self.query_db_or_new(shared, query_db)?;
                let saved = items.iter().map(|item| state.save(&at, item));
                QueryDbOutcome::AllSaved(saved.collect::<Result<_, Failure>>()?)
            }
            QueryDbOperation::Delete { query_db, keys } => {
                let delete = |state: &mut WriterQueryDb, at: &At<'_>| state.delete_all(at, keys);
                QueryDbOutcome::Removed(self.with_known(shared, query_db, delete)?)
            }
            QueryDbOperation::DeletePartition { query_db, partition } => {
                let delete = |state: &mut WriterQueryDb, at: &At<'_>| state.delete_partition(at, partition);
                QueryDbOutcome::Removed(self.with_known(shared, query_db, delete)?)
            }
            QueryDbOperation::Increment { query_db, key, field, by } => {
                let (state, at) = self.query_db_or_new(shared, query_db)?;
                QueryDbOutcome::Incremented(state.increment(&at, key, field, *by, &shared.limits)?)
            }
            QueryDbOperation::PurgeExpired { query_db, limit } => {
                let purge = |state: &mut WriterQueryDb, at: &At<'_>| state.purge(at, *limit);
                QueryDbOutcome::Removed(self.with_known(shared, query_db, purge)?)
            }
        };
        Ok(Outcome::QueryDb(outcome))
    }

    /// Whether an operation checks everything before it writes, so that it leaves nothing behind when it is refused.
    pub(in crate::backend::sqlite) fn checks_first(
        &mut self,
        shared: &Shared,
        operation: &Operation,
    ) -> Result<bool> {
        Ok(match operation {
            Operation::QueryDb(operation) => match operation {
                QueryDbOperation::Delete { .. }
                | QueryDbOperation::DeletePartition { .. }
                | QueryDbOperation::PurgeExpired { .. }
                | QueryDbOperation::RequireVersion { .. } => true,
                // One that does not exist is made first.
                QueryDbOperation::Save { query_db, .. } | QueryDbOperation::Increment { query_db, .. } => {
                    self.load_query_db(shared, query_db)?.is_some()
                }
                _ => false,
            },
            _ => true,
        })
    }

    /// The version of the visible item under a key.
    fn visible(&mut self, shared: &Shared, query_db: &Arc<str>, key: &ItemKey) -> Result<Option<u64>> {
        let now = self.now;
        if self.load_query_db(shared, query_db)?.is_none() {
            return Ok(None);
        }
        let state = &self.query_dbs[query_db];
        let found = state.find(&self.connection, key)?;
        Ok(found
            .filter(|found| is_visible(found.row.item.expires_at, now))
            .map(|found| found.row.item.version))
    }

    /// Loads a QueryDb, if it exists.
    pub(super) fn load_query_db(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
    ) -> Result<Option<&mut WriterQueryDb>> {
        if !self.query_dbs.contains_key(name) {
            let Some(registered) = Registered::find(&self.connection, name)? else { return Ok(None) };
            let Some(layout) = registered.layout()? else { return Ok(None) };
            shared.rings.begin(name, registered.version);
            let (layout, version) = (Arc::new(layout), registered.version);
            self.query_dbs.insert(name.clone(), WriterQueryDb { layout, version, pending: Vec::new() });
        }
        Ok(self.query_dbs.get_mut(name))
    }

    /// Loads a QueryDb, making one with the default definition if there is none.
    fn query_db_or_new(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
    ) -> Result<(&mut WriterQueryDb, At<'_>), Failure> {
        if self.load_query_db(shared, name)?.is_none() {
            self.create_query_db(shared, name, &crate::query_db::QueryDbSpec::new())?;
            self.load_query_db(shared, name)?;
        }
        let at = At { connection: &self.connection, now: self.now };
        Ok((self.query_dbs.get_mut(name).expect("it was loaded or made"), at))
    }

    /// Changes a QueryDb, if it exists.
    fn with_known(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        change: impl FnOnce(&mut WriterQueryDb, &At<'_>) -> Result<u64, Failure>,
    ) -> Result<u64, Failure> {
        if self.load_query_db(shared, name)?.is_none() {
            return Ok(0);
        }
        let at = At { connection: &self.connection, now: self.now };
        change(self.query_dbs.get_mut(name).expect("it was loaded"), &at)
    }

    /// Forgets a QueryDb whose definition changes, with what it has done so far written down.
    pub(super) fn put_down(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        if let Some(mut state) = self.query_dbs.remove(name) {
            let pending = state.store(&self.connection).written()?;
            self.put_down.push((name.clone(), pending));
        }
        Ok(())
    }

    pub(in crate::backend::sqlite) fn mark_query_dbs(&self) -> Marks {
        let mark =
            |(name, state): (&Arc<str>, &WriterQueryDb)| (name.clone(), (state.version, state.pending.len()));
        Marks(self.query_dbs.iter().map(mark).collect())
    }

    /// Returns to how things were, with the savepoint; what was loaded since is loaded again when needed.
    pub(in crate::backend::sqlite) fn return_query_dbs(&mut self, marks: &Marks) {
        self.query_dbs.retain(|name, state| match marks.0.get(name) {
            Some((version, pending)) => {
                state.version = *version;
                state.pending.truncate(*pending);
                true
            }
            None => false,
        });
    }

    /// Writes down how far QueryDbs have come.
    pub(in crate::backend::sqlite) fn finish_query_dbs(&mut self) -> Result<()> {
        for state in self.query_dbs.values_mut().filter(|state| !state.pending.is_empty()) {
            let pending = state.store(&self.connection)?;
            state.pending = pending;
        }
        Ok(())
    }

    /// Announces what was committed.
    pub(in crate::backend::sqlite) fn query_dbs_committed(&mut self, shared: &Shared) {
        let put_down = std::mem::take(&mut self.put_down);
        let current =
            self.query_dbs.iter_mut().map(|(name, state)| (name.clone(), std::mem::take(&mut state.pending)));
        for (name, changes) in put_down.into_iter().chain(current).filter(|(_, changes)| !changes.is_empty())
        {
            shared.rings.extend(&name, changes);
            shared.bus.publish(&format!("querydb/{name}"));
        }
    }

    /// Forgets everything: the transaction was taken back, or another process has committed.
    pub(in crate::backend::sqlite) fn forget_query_dbs(&mut self) {
        self.query_dbs.clear();
        self.put_down.clear();
    }
}

/// Where and when an operation happens.
struct At<'a> {
    connection: &'a Connection,
    /// Microseconds since 1970.
    now: u64,
}

/// An item that is there, visible or not.
struct Found {
    row: ItemRow,
    rowid: i64,
}

/// An item about to be written.
struct NewItem<'a> {
    key: &'a ItemKey,
    json: &'a str,
    prepared: &'a Prepared,
    expires_at: Option<u64>,
}

impl WriterQueryDb {
    fn find(&self, connection: &Connection, key: &ItemKey) -> Result<Option<Found>> {
        let mut statement = connection.prepare_cached(&self.layout.sql.find)?;
        let mut rows = statement.query((&key.partition, bound(sql_value(&key.sub))))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let rowid = row.get(6 + self.layout.columns.fields.len())?;
        Ok(Some(Found { row: ItemRow::read(&self.layout, row)?, rowid }))
    }

    fn save(&mut self, at: &At<'_>, data: &ItemData) -> Result<Saved, Failure> {
        let ItemData { partition, json, ttl, mode } = data;
        let layout = self.layout.clone();
        let prepared = layout.definition.prepare(json)?;
        layout.definition.check_ttl(*ttl)?;
        let key = ItemKey::new(partition.as_str(), prepared.sub.clone());
        let found = self.find(at.connection, &key)?;
        let visible = found.as_ref().filter(|found| is_visible(found.row.item.expires_at, at.now));
        let added = visible.is_none();
        mode.check(&key, visible.map(|found| found.row.item.version))?;
        let expires_at = prepared.expires_at.or(ttl.map(|ttl| ttl.expires_at(at.now)));
        let new = NewItem { key: &key, json, prepared: &prepared, expires_at };
        let version = self.put(at, &new, found.as_ref(), added).written()?;
        Ok(Saved::new(key, version, added))
    }

    /// Writes an item over the one that is there, or beside the others.
    fn put(&mut self, at: &At<'_>, new: &NewItem<'_>, old: Option<&Found>, added: bool) -> Result<u64> {
        let version = self.version + 1;
        let layout = &self.layout;
        let keys = layout.column_values(new.prepared);
        let (sql_version, expires_at) = (to_sql(version), new.expires_at.map(to_sql));
        let sub = sql_value(&new.key.sub);
        let mut sum = Checksum::new(&layout.name, &new.key.partition, sub, new.json, sql_version, expires_at);
        let key_values = keys.iter().map(|key| key.map_or(ValueRef::Null, sql_value));
        key_values.clone().enumerate().for_each(|(column, value)| sum.column(column, value));
        let sum = sum.finish();
        let is_same = |found: &Found| {
            found.row.item.expires_at == new.expires_at
                && found.row.keys.iter().map(Option::as_ref).eq(keys.iter().copied())
        };
        let (json, sql_sum) = (ValueRef::Text(new.json.as_bytes()), ValueRef::Integer(sum));
        let (number, expiry) =
            (ValueRef::Integer(sql_version), expires_at.map_or(ValueRef::Null, ValueRef::Integer));
        match old {
            Some(found) if is_same(found) => {
                let values = [ValueRef::Integer(found.rowid), json, number, sql_sum];
                run(at.connection, &layout.sql.update_item, values.into_iter())?;
            }
            Some(found) => {
                let values = [ValueRef::Integer(found.rowid), json, number, sql_sum, expiry];
                run(at.connection, &layout.sql.update, values.into_iter().chain(key_values))?;
            }
            None => {
                let partition = ValueRef::Text(new.key.partition.as_bytes());
                let values = [partition, sub, json, expiry, number, sql_sum];
                run(at.connection, &layout.sql.insert, values.into_iter().chain(key_values))?;
            }
        }
        let kind = if added { ChangeKind::Added } else { ChangeKind::Updated };
        Ok(self.changed(kind, new.key.clone()))
    }

    /// Takes the next version for a change.
    fn changed(&mut self, kind: ChangeKind, key: ItemKey) -> u64 {
        self.version += 1;
        self.pending.push(Change::new(self.version, kind, Some(key)));
        self.version
    }

    fn remove(&mut self, at: &At<'_>, rowid: i64, key: ItemKey, reason: Removal) -> Result<()> {
        at.connection.prepare_cached(&self.layout.sql.delete)?.execute([rowid])?;
        self.changed(ChangeKind::Removed { reason }, key);
        Ok(())
    }

    fn delete_all(&mut self, at: &At<'_>, keys: &[ItemKey]) -> Result<u64, Failure> {
        let mut removed = 0;
        for key in keys {
            let found = self.find(at.connection, key).written()?;
            let Some(found) = found.filter(|found| is_visible(found.row.item.expires_at, at.now)) else {
                continue;
            };
            self.remove(at, found.rowid, key.clone(), Removal::Deleted).written()?;
            removed += 1;
        }
        Ok(removed)
    }

    fn delete_partition(&mut self, at: &At<'_>, partition: &str) -> Result<u64, Failure> {
        let sql = format!(
            "SELECT {}, rowid FROM {} WHERE partition_key = ?1 ORDER BY sub_key",
            self.layout.item_columns(),
            self.layout.table
        );
        let visible = |found: &Found| is_visible(found.row.item.expires_at, at.now);
        let found = self.find_all(at, &sql, [ValueRef::Text(partition.as_bytes())].into_iter()).written()?;
        let mut removed = 0;
        for found in found.into_iter().filter(visible) {
            self.remove(at, found.rowid, found.row.item.key, Removal::Deleted).written()?;
            removed += 1;
        }
        Ok(removed)
    }

    fn purge(&mut self, at: &At<'_>, limit: u64) -> Result<u64, Failure> {
        let sql = format!(
            "SELECT {}, rowid FROM {} WHERE expires_at <= ?1 ORDER BY expires_at, partition_key, sub_key LIMIT ?2",
            self.layout.item_columns(),
            self.layout.table
        );
        let window = [to_sql(at.now / 1_000_000), to_sql(limit)].map(ValueRef::Integer);
        let found = self.find_all(at, &sql, window.into_iter()).written()?;
        let purged = found.len() as u64;
        for found in found {
            self.remove(at, found.rowid, found.row.item.key, Removal::Expired).written()?;
        }
        Ok(purged)
    }

    fn find_all<'a>(
        &self,
        at: &At<'_>,
        sql: &str,
        values: impl Iterator<Item = ValueRef<'a>>,
    ) -> Result<Vec<Found>> {
        let mut statement = at.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values.map(bound)))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let rowid = row.get(6 + self.layout.columns.fields.len())?;
            found.push(Found { row: ItemRow::read(&self.layout, row)?, rowid });
        }
        Ok(found)
    }

    fn increment(
        &mut self,
        at: &At<'_>,
        key: &ItemKey,
        field: &str,
        by: Number,
        limits: &Limits,
    ) -> Result<Number, Failure> {
        let layout = self.layout.clone();
        let found = self.find(at.connection, key)?;
        let visible = found.as_ref().filter(|found| is_visible(found.row.item.expires_at, at.now));
        let (json, expires_at) = match visible {
            Some(found) => (found.row.item.json.clone(), found.row.item.expires_at),
            None => (layout.definition.empty_item(key)?, None),
        };
        let (json, total) = add_to_field(&json, &field.parse()?, by)?;
        check_item_size(&json, limits)?;
        let prepared = layout.definition.prepare(&json)?;
        if prepared.sub != key.sub {
            let reason = format!("`{field}` is the sub id, which is part of the key");
            return Err(Error::invalid("field", reason).into());
        }
        let has_ttl_field = layout.definition.spec.ttl_field.is_some();
        let expires_at = if has_ttl_field { prepared.expires_at } else { expires_at };
        let added = visible.is_none();
        let new = NewItem { key, json: &json, prepared: &prepared, expires_at };
        self.put(at, &new, found.as_ref(), added).written()?;
        Ok(total)
    }

    /// Writes down the version, and the changes if they are kept; gives the changes back.
    fn store(&mut self, connection: &Connection) -> Result<Vec<Change>> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(pending);
        }
        let name = &*self.layout.name;
        let registered = Registered::find(connection, name)?;
        let registered =
            registered.ok_or_else(|| Error::corrupted("a QueryDb that is not in the registry"))?;
        Registered { version: self.version, ..registered }.store(connection)?;
        if self.layout.definition.spec.changes {
            changes::store(connection, self.layout.number, &pending)?;
        }
        Ok(pending)
    }
}

fn run<'a>(connection: &Connection, sql: &str, values: impl Iterator<Item = ValueRef<'a>>) -> Result<()> {
    connection.prepare_cached(sql)?.execute(params_from_iter(values.map(bound)))?;
    Ok(())
}

/// A key value that SQLite takes, of a key that may be null.
pub(super) fn optional(value: Option<&KeyValue>) -> ValueRef<'_> {
    value.map_or(ValueRef::Null, sql_value)
}
