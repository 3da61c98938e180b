//! Saving items inside the writer's transaction: everything is checked before anything is written.

use std::{collections::VecDeque, sync::Arc};

use rusqlite::Connection;

use super::{
    super::{
        append::Undo,
        shared::Shared,
        writer::{Failure, Writer, Written},
    },
    feed,
    registry::QueryDbRow,
    row::index_columns,
    table::Table,
    upsert::{NewItem, find, insert, update, with_item},
};
use crate::{
    backend::{ItemData, Outcome, QueryDbOperation, QueryDbOutcome, SaveMode},
    error::{Error, Result},
    query_db::{
        Change, ChangeKind, Definition, Incremented, ItemKey, KeyValue, Number, Prepared, QueryDbSpec,
        Removal, Saved, is_visible,
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
    /// The newest changes of the running transaction, as many as are kept.
    pub(super) pending: VecDeque<Change>,
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
            pending: VecDeque::new(),
            dropped: false,
            oldest_stored: None,
            likely_new: true,
        })
    }

    /// Takes a refused batch's changes back.
    pub(in crate::backend::sqlite) fn take_back(&mut self, version: u64) {
        self.row.version = version;
        while self.pending.back().is_some_and(|last| last.version > version) {
            self.pending.pop_back();
        }
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
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.keeps_changes() {
            let oldest = match self.oldest_stored {
                Some(oldest) => oldest,
                None => feed::oldest_stored(connection, number)?.unwrap_or(version + 1),
            };
            let added = version - self.committed_version;
            self.oldest_stored = Some(feed::trim(connection, number, version, oldest, added)?);
        }
        // Whether somebody listens is asked after the commit: who begins to listen before it must not miss anything.
        shared.feeds.add(number, std::mem::take(&mut self.pending));
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

    pub(in crate::backend::sqlite) fn number(&self) -> i64 {
        self.row.number
    }

    fn keeps_changes(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.definition.spec.keeps_changes())
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
        self.pending.push_back(change);
        if self.pending.len() as u64 > feed::KEPT {
            self.pending.pop_front();
        }
        Ok(())
    }
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
                QueryDbOutcome::Removed(self.delete(query_db, keys, Removal::Deleted)?)
            }
            QueryDbOperation::DeletePartition { query_db, partition } => {
                QueryDbOutcome::Removed(self.delete_partition(query_db, partition)?)
            }
            QueryDbOperation::Increment { query_db, key, field, by } => {
                QueryDbOutcome::Incremented(self.increment(shared, query_db, key, field, *by)?)
            }
            QueryDbOperation::PurgeExpired { query_db, limit } => {
                QueryDbOutcome::Removed(self.purge(query_db, *limit)?)
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
    pub(super) fn remember(&mut self, name: &Arc<str>) {
        if let (Some(undo), Some(known)) = (&mut self.undo, self.query_dbs.get(name)) {
            undo.push(Undo::QueryDb { query_db: name.clone(), version: known.row.version });
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
            Some(table) => with_item(&self.connection, &table, key, |found| {
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
            Some(table) => with_item(&self.connection, table, key, |found| {
                let visible = is_visible(found.expires_at(), now);
                Ok(visible.then(|| (found.values.json.to_owned(), found.expires_at())))
            })?
            .flatten(),
            None => None,
        };
        let Incremented { json, prepared, expires_at, total } =
            definition.increment(key, there, (field, by), &shared.limits)?;
        let table = match table {
            Some(table) => table,
            None => self.create_default(name)?,
        };
        self.put(name, &table, (key, &json, expires_at, &prepared), SaveMode::Overwrite)?;
        Ok(total)
    }
}
