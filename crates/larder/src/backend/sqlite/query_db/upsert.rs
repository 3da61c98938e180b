//! Looking for an item's row, and writing it.

use rusqlite::{Connection, types::ValueRef};

use super::{
    super::place::to_sql,
    bind,
    read::bind_all,
    row::{StoredItem, Values, same, stored},
    table::{FIXED_COLUMNS, Table},
};
use crate::{
    error::{Error, Result},
    query_db::{ItemKey, is_visible},
};

/// What a save knows of the row that is there.
pub(super) struct Found {
    pub row_id: i64,
    /// Its version, if it is visible.
    pub visible: Option<u64>,
    /// Whether its columns of index fields are those of the new item.
    pub same_columns: bool,
}

/// An item to be written.
pub(super) struct NewItem<'a> {
    pub key: &'a ItemKey,
    pub json: &'a str,
    pub expires_at: Option<u64>,
    pub columns: Vec<ValueRef<'a>>,
}

/// Looks at the row under a key, if there is one: its row id, and the item, unless it is so damaged that it cannot be
/// read. Its checksum is not yet compared.
pub(super) fn with_row<T>(
    connection: &Connection,
    table: &Table,
    key: &ItemKey,
    look: impl FnOnce(i64, Result<StoredItem<'_>>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(&table.sql.find)?;
    statement.raw_bind_parameter(1, &key.partition)?;
    bind(&mut statement, 2, stored(&key.sub))?;
    let mut rows = statement.raw_query();
    let Some(row) = rows.next()? else { return Ok(None) };
    if !StoredItem::is_under(row, key)? {
        return Err(Error::corrupted("an item that is found under another key")
            .with("QueryDb", table.name.clone())
            .with("item", key.to_string()));
    }
    look(StoredItem::row_id(table, row)?, StoredItem::read(table, row)).map(Some)
}

/// Looks at the item under a key, if there is one, its checksum compared.
pub(super) fn with_item<T>(
    connection: &Connection,
    table: &Table,
    key: &ItemKey,
    look: impl FnOnce(&StoredItem<'_>) -> Result<T>,
) -> Result<Option<T>> {
    with_row(connection, table, key, |_, found| {
        let found = found?;
        found.check()?;
        look(&found)
    })
}

/// The row that a save meets. Whatever depends on its version compares the checksum; an overwrite does not, so that it
/// can mend an item.
pub(super) fn find(
    connection: &Connection,
    table: &Table,
    item: &NewItem<'_>,
    is_guarded: bool,
    now: u64,
) -> Result<Option<Found>> {
    with_row(connection, table, item.key, |row_id, found| {
        if is_guarded {
            found.as_ref().map_err(Error::duplicate)?.check()?;
        }
        let readable = found.and_then(|found| Ok((found.version()?, found)));
        let Ok((version, found)) = readable else {
            // Whatever it was, it counts as visible, and all of it is written anew.
            return Ok(Found { row_id, visible: Some(0), same_columns: false });
        };
        let visible = is_visible(found.expires_at(), now).then_some(version);
        let same_columns = found.columns().zip(&item.columns).all(|(old, new)| same(old, *new));
        Ok(Found { row_id, visible, same_columns })
    })
}

/// Inserts an item; false if there is one under its key.
pub(super) fn insert(
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

pub(super) fn update(
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
