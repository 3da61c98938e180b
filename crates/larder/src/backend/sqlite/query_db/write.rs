//! Saving and deleting items inside the writer's transaction: everything is checked before anything is written.

use std::sync::Arc;

use rusqlite::{Connection, types::ValueRef};

use super::{
    super::{
        append::Undo,
        place::to_sql,
        shared::Shared,
        writer::{Failure, Writer, Written},
    },
    bind, feed,
    read::bind_all,
    registry::QueryDbRow,
    row::{StoredItem, Values, index_columns, same, stored},
    table::{FIXED_COLUMNS, Table},
};
use crate::{
    backend::{ItemData, Outcome, QueryDbOperation, QueryDbOutcome, SaveMode},
    error::{Error, Result},
    query_db::{
        Change, ChangeKind, Definition, ItemKey, KeyValue, Number, Prepared, QueryDbSpec, Removal, Saved,
        add_to_field, check_item_size, is_visible,
    },
};

/// What the writer knows of a QueryDb, ahead of the file while a transaction runs.
#[derive(Debug)]
pub(in crate::backend::sqlite) struct WriterQueryDb {
    pub(super) row: QueryDbRow,
    /// `None`: it was dropped.
    pub(super) table: Option<Arc<Table>>,
    /// The version in the file, without the running transaction.
    pub(super) committed_version: u64,
    /// Changes of the running transaction.
    pub(super) pending: Vec<Change>,
    /// The running transaction has dropped it: older changes are no longer kept.
    pub(super) dropped: bool,
    /// The oldest change in the table, once that was asked.
    pub(super) oldest_stored: Option<u64>,
    /// The last save was of a new item, so the next one may be too: then inserting is tried first.
    likely_new: bool,
}

/// Whether an operation can share its transaction with others'.
pub(in crate::backend::sqlite) fn is_plain(operation: &QueryDbOperation) -> bool {
    !matches!(
        operation,
        QueryDbOperation::Define { .. } | QueryDbOperation::Drop { .. } | QueryDbOperation::DropIndex { .. }
    )
}

/// Whether an operation leaves nothing behind when it is refused.
pub(in crate::backend::sqlite) fn checks_first(operation: &QueryDbOperation) -> bool {
    match operation {
        QueryDbOperation::SaveAll { items, .. } => items.len() < 2,
        operation => is_plain(operation),
    }
}

impl WriterQueryDb {
    pub(super) fn new(row: QueryDbRow) -> Result<Self> {
        Ok(Self {
            table: Table::of(&row)?,
            committed_version: row.version,
            row,
            pending: Vec::new(),
            dropped: false,
            oldest_stored: None,
            likely_new: true,
        })
    }

    /// Takes a refused batch's changes back.
    pub(in crate::backend::sqlite) fn take_back(&mut self, version: u64, pending: usize) {
        self.row.version = version;
        self.pending.truncate(pending);
    }

    /// Writes what belongs to the QueryDb as a whole, before the commit.
    pub(in crate::backend::sqlite) fn finish(
        &mut self,
        connection: &Connection,
        shared: &Shared,
    ) -> Result<()> {
        let (number, version) = (self.row.number, self.row.version);
        if version != self.committed_version {
            self.row.store_version(connection)?;
        }
        if self.dropped {
            shared.feeds.clear(number);
        }
        let added = self.pending.len() as u64;
        if added > 0 && self.keeps_changes() {
            let oldest = match self.oldest_stored {
                Some(oldest) => oldest,
                None => feed::oldest_stored(connection, number)?.unwrap_or(version + 1),
            };
            self.oldest_stored = Some(feed::trim(connection, number, version, oldest, added)?);
        }
        shared.feeds.add(number, &self.pending);
        Ok(())
    }

    /// Takes over what was committed; answers whether anything was.
    pub(in crate::backend::sqlite) fn committed(&mut self) -> bool {
        let changed = self.row.version != self.committed_version;
        self.committed_version = self.row.version;
        self.pending.clear();
        changed | std::mem::take(&mut self.dropped)
    }

    /// Forgets what was not committed.
    pub(in crate::backend::sqlite) fn retract(&self, shared: &Shared) {
        shared.feeds.retract(self.row.number, self.committed_version);
    }

    fn keeps_changes(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.definition.spec.changes)
    }

    /// Notes a change, which takes the next version.
    pub(super) fn change(
        &mut self,
        connection: &Connection,
        key: Option<ItemKey>,
        kind: ChangeKind,
    ) -> rusqlite::Result<()> {
        self.row.version += 1;
        let change = Change::new(self.row.version, kind, key);
        if self.keeps_changes() {
            feed::store(connection, (self.row.number, &self.row.name), &change)?;
        }
        self.pending.push(change);
        Ok(())
    }
}

/// What a save knows of the row that is there.
struct Found {
    row_id: i64,
    /// Its version, if it is visible.
    visible: Option<u64>,
    /// Whether its columns of index fields are those of the new item.
    same_columns: bool,
}

/// An item to be written.
struct NewItem<'a> {
    key: &'a ItemKey,
    json: &'a str,
    expires_at: Option<u64>,
    columns: Vec<ValueRef<'a>>,
}

impl Writer {
    pub(in crate::backend::sqlite) fn query_db(
        &mut self,
        shared: &Shared,
        operation: &QueryDbOperation,
    ) -> Result<Outcome, Failure> {
        self.check_owner(operation)?;
        Ok(Outcome::QueryDb(match operation {
            QueryDbOperation::Define { query_db, spec } => {
                self.define(query_db, spec)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::Drop { query_db } => {
                self.drop_query_db(query_db)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::DropIndex { query_db, index } => {
                self.drop_index(query_db, index)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::RequireVersion { query_db, key, version } => {
                self.require_version(query_db, key, *version)?;
                return Ok(Outcome::Done);
            }
            QueryDbOperation::Save { query_db, item } => QueryDbOutcome::Saved(self.save(query_db, item)?),
            QueryDbOperation::SaveAll { query_db, items } => {
                let saved = items.iter().map(|item| self.save(query_db, item));
                QueryDbOutcome::AllSaved(saved.collect::<Result<_, _>>()?)
            }
            QueryDbOperation::Delete { query_db, keys } => {
                let removed = self.delete(query_db, keys, Removal::Deleted)?;
                QueryDbOutcome::Removed(removed)
            }
            QueryDbOperation::DeletePartition { query_db, partition } => {
                let keys = self.keys_of_partition(query_db, partition)?;
                QueryDbOutcome::Removed(self.delete(query_db, &keys, Removal::Deleted)?)
            }
            QueryDbOperation::Increment { query_db, key, field, by } => {
                QueryDbOutcome::Incremented(self.increment(shared, query_db, key, field, *by)?)
            }
            QueryDbOperation::PurgeExpired { query_db, limit } => {
                let keys = self.expired_keys(query_db, *limit)?;
                QueryDbOutcome::Removed(self.delete(query_db, &keys, Removal::Expired)?)
            }
        }))
    }

    /// Loads a QueryDb, if it ever was.
    pub(super) fn load_query_db(&mut self, name: &Arc<str>) -> Result<Option<&mut WriterQueryDb>> {
        if !self.query_dbs.contains_key(name) {
            let Some(row) = QueryDbRow::find(&self.connection, name)? else { return Ok(None) };
            self.query_dbs.insert(name.clone(), WriterQueryDb::new(row)?);
        }
        Ok(self.query_dbs.get_mut(name))
    }

    /// The table of a QueryDb that exists.
    pub(super) fn table(&mut self, name: &Arc<str>) -> Result<Option<Arc<Table>>> {
        Ok(self.load_query_db(name)?.and_then(|query_db| query_db.table.clone()))
    }

    /// The table of a QueryDb and its definition, which is the default one if there is none.
    fn table_or_default(&mut self, name: &Arc<str>) -> Result<(Option<Arc<Table>>, Arc<Definition>)> {
        let table = self.table(name)?;
        let definition = match &table {
            Some(table) => table.definition.clone(),
            None => Definition::new(QueryDbSpec::new())?,
        };
        Ok((table, definition))
    }

    /// Remembers how to take back what the batch does from here on.
    fn remember(&mut self, name: &Arc<str>) {
        if let (Some(undo), Some(known)) = (&mut self.undo, self.query_dbs.get(name)) {
            let (version, pending) = (known.row.version, known.pending.len());
            undo.push(Undo::QueryDb { query_db: name.clone(), version, pending });
        }
    }

    fn save(&mut self, name: &Arc<str>, item: &ItemData) -> Result<Saved, Failure> {
        let (table, definition) = self.table_or_default(name)?;
        let mut prepared = definition.prepare(&item.json)?;
        definition.check_ttl(item.ttl)?;
        let expires_at = prepared.expires_at.or(item.ttl.map(|ttl| ttl.expires_at(self.now)));
        let sub = std::mem::replace(&mut prepared.sub, KeyValue::none());
        let key = ItemKey { partition: item.partition.clone(), sub };
        let table = match table {
            Some(table) => table,
            None => {
                item.mode.check(&key, None)?;
                self.create_default(name)?
            }
        };
        let added = self.put(name, &table, (&key, &item.json, expires_at, &prepared), item.mode)?;
        Ok(Saved::new(key, self.query_dbs[name].row.version, added))
    }

    /// Writes an item, and answers whether no visible one was there.
    fn put(
        &mut self,
        name: &Arc<str>,
        table: &Table,
        (key, json, expires_at, prepared): (&ItemKey, &str, Option<u64>, &Prepared),
        mode: SaveMode,
    ) -> Result<bool, Failure> {
        self.remember(name);
        let columns = index_columns(table, prepared);
        let item = NewItem { key, json, expires_at, columns };
        let known = self.query_dbs.get_mut(name).expect("it was loaded for this operation");
        let version = known.row.version + 1;
        let (connection, now) = (&self.connection, self.now);
        let may_insert = matches!(mode, SaveMode::Overwrite | SaveMode::Init);
        let inserted =
            known.likely_new && may_insert && insert(connection, table, &item, version).written()?;
        let mut added = true;
        if !inserted {
            let found = find(connection, table, &item, mode != SaveMode::Overwrite, now)?;
            let visible = found.as_ref().and_then(|found| found.visible);
            mode.check(key, visible)?;
            added = visible.is_none();
            known.likely_new = found.is_none();
            match found {
                Some(found) => update(connection, table, &item, version, &found).written()?,
                None if insert(connection, table, &item, version).written()? => {}
                None => {
                    let error = Error::corrupted("an item that is there, and is not found");
                    return Err(Failure::Broken(error.with("item", key.to_string())));
                }
            }
        }
        let kind = if added { ChangeKind::Added } else { ChangeKind::Updated };
        known.change(connection, Some(key.clone()), kind).written()?;
        Ok(added)
    }

    fn require_version(
        &mut self,
        name: &Arc<str>,
        key: &ItemKey,
        version: Option<u64>,
    ) -> Result<(), Failure> {
        let visible = match self.table(name)? {
            Some(table) => with_found(&self.connection, &table, key, |found| {
                found.check()?;
                let is_visible = is_visible(found.expires_at(), self.now);
                found.version().map(|version| is_visible.then_some(version))
            })?
            .flatten(),
            None => None,
        };
        Ok(SaveMode::IfVersion(version).check(key, visible)?)
    }

    fn increment(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        key: &ItemKey,
        field: &str,
        by: Number,
    ) -> Result<Number, Failure> {
        let (table, definition) = self.table_or_default(name)?;
        let now = self.now;
        let there = match &table {
            Some(table) => with_found(&self.connection, table, key, |found| {
                found.check()?;
                let visible = is_visible(found.expires_at(), now);
                Ok(visible.then(|| (found.values.json.to_owned(), found.expires_at())))
            })?
            .flatten(),
            None => None,
        };
        let (json, expires_at) = match there {
            Some(there) => there,
            None => (definition.empty_item(key)?, None),
        };
        let (json, total) = add_to_field(&json, &field.parse()?, by)?;
        check_item_size(&json, &shared.limits)?;
        let prepared = definition.prepare(&json)?;
        if prepared.sub != key.sub {
            let reason = format!("`{field}` is the sub id, which is part of the key");
            return Err(Error::invalid("field", reason).into());
        }
        let expires_at = if definition.spec.ttl_field.is_some() { prepared.expires_at } else { expires_at };
        let table = match table {
            Some(table) => table,
            None => self.create_default(name)?,
        };
        self.put(name, &table, (key, &json, expires_at, &prepared), SaveMode::Overwrite)?;
        Ok(total)
    }

    /// Deletes items: the visible ones, or those that have expired.
    fn delete(&mut self, name: &Arc<str>, keys: &[ItemKey], reason: Removal) -> Result<u64, Failure> {
        let Some(table) = self.table(name)? else { return Ok(0) };
        self.remember(name);
        let (connection, now) = (&self.connection, self.now);
        let known = self.query_dbs.get_mut(name).expect("it was loaded for this operation");
        let mut removed = 0;
        for key in keys {
            let found = with_found(connection, &table, key, |found| {
                let visible = is_visible(found.expires_at(), now);
                let is_wanted = match (reason, found.check()) {
                    // What is damaged can be deleted, whatever it says of its time.
                    (Removal::Deleted, checked) => visible || checked.is_err(),
                    (Removal::Expired, checked) => checked.map(|()| !visible)?,
                };
                Ok(if is_wanted { Some(found.row_id()?) } else { None })
            })
            .written()?;
            let Some(row_id) = found.flatten() else { continue };
            connection
                .prepare_cached(&table.sql.delete)
                .and_then(|mut statement| statement.execute([row_id]))
                .written()?;
            known.change(connection, Some(key.clone()), ChangeKind::Removed { reason }).written()?;
            removed += 1;
        }
        Ok(removed)
    }

    fn keys_of_partition(&mut self, name: &Arc<str>, partition: &str) -> Result<Vec<ItemKey>> {
        let Some(table) = self.table(name)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT partition_key, sub_key FROM {} WHERE partition_key = ?1 ORDER BY sub_key",
            table.table_name
        );
        self.keys(&sql, [partition], |key| key.partition == partition)
    }

    /// The keys of items that have expired, the oldest first.
    fn expired_keys(&mut self, name: &Arc<str>, limit: u64) -> Result<Vec<ItemKey>> {
        let Some(table) = self.table(name)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT partition_key, sub_key FROM {} WHERE expires_at <= ?1
             ORDER BY expires_at, partition_key, sub_key LIMIT ?2",
            table.table_name
        );
        self.keys(&sql, (to_sql(self.now / 1_000_000), to_sql(limit)), |_| true)
    }

    fn keys(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        is_right: impl Fn(&ItemKey) -> bool,
    ) -> Result<Vec<ItemKey>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let key = ItemKey { partition: row.get(0)?, sub: super::row::key_value(row.get_ref(1)?)? };
            if !is_right(&key) {
                return Err(Error::corrupted("items that are out of order").with("item", key.to_string()));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

/// Looks at the row under a key, if there is one; its checksum is not yet compared.
fn with_found<T>(
    connection: &Connection,
    table: &Table,
    key: &ItemKey,
    look: impl FnOnce(&StoredItem<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(&table.sql.find)?;
    statement.raw_bind_parameter(1, &key.partition)?;
    bind(&mut statement, 2, stored(&key.sub))?;
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else { return Ok(None) };
    let found = StoredItem::read(table, row)?;
    if found.values.partition != key.partition || !same(found.values.sub, stored(&key.sub)) {
        return Err(found.corrupted("an item that is found under another key"));
    }
    look(&found).map(Some)
}

/// The row that a save meets. Whatever depends on its version compares the checksum; an overwrite does not, so that it
/// can mend an item.
fn find(
    connection: &Connection,
    table: &Table,
    item: &NewItem<'_>,
    is_guarded: bool,
    now: u64,
) -> Result<Option<Found>> {
    with_found(connection, table, item.key, |found| {
        if is_guarded {
            found.check()?;
        }
        let visible = if is_visible(found.expires_at(), now) { Some(found.version()?) } else { None };
        let same_columns = found.columns().zip(&item.columns).all(|(old, new)| same(old, *new));
        Ok(Found { row_id: found.row_id()?, visible, same_columns })
    })
}

/// Inserts an item; false if there is one under its key.
fn insert(
    connection: &Connection,
    table: &Table,
    item: &NewItem<'_>,
    version: u64,
) -> rusqlite::Result<bool> {
    let values = item.values(version);
    let mut statement = connection.prepare_cached(&table.sql.insert)?;
    statement.raw_bind_parameter(1, values.partition)?;
    bind(&mut statement, 2, values.sub)?;
    statement.raw_bind_parameter(3, values.json)?;
    statement.raw_bind_parameter(4, values.expires_at)?;
    statement.raw_bind_parameter(5, values.version)?;
    statement.raw_bind_parameter(6, item.checksum(table, &values))?;
    bind_all(&mut statement, FIXED_COLUMNS + 1, &item.columns)?;
    Ok(statement.raw_execute()? > 0)
}

fn update(
    connection: &Connection,
    table: &Table,
    item: &NewItem<'_>,
    version: u64,
    found: &Found,
) -> rusqlite::Result<()> {
    let values = item.values(version);
    // An index is only written if a column of it is set.
    let sql = if found.same_columns { &table.sql.update } else { &table.sql.update_all };
    let mut statement = connection.prepare_cached(sql)?;
    statement.raw_bind_parameter(1, found.row_id)?;
    statement.raw_bind_parameter(2, values.json)?;
    statement.raw_bind_parameter(3, values.expires_at)?;
    statement.raw_bind_parameter(4, values.version)?;
    statement.raw_bind_parameter(5, item.checksum(table, &values))?;
    if !found.same_columns {
        bind_all(&mut statement, FIXED_COLUMNS, &item.columns)?;
    }
    statement.raw_execute().map(drop)
}

impl NewItem<'_> {
    fn values(&self, version: u64) -> Values<'_> {
        Values {
            partition: &self.key.partition,
            sub: stored(&self.key.sub),
            json: self.json,
            expires_at: self.expires_at.map(to_sql),
            version: to_sql(version),
        }
    }

    fn checksum(&self, table: &Table, values: &Values<'_>) -> i64 {
        values.checksum(table.checksummed_name(), self.columns.iter().copied())
    }
}
