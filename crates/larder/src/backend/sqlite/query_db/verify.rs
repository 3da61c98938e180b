//! Re-checks QueryDbs: the registry against the schema, every item against its checksum and its definition, every
//! index against the items, and the changes that are kept.

use std::{cmp::Ordering, collections::HashSet};

use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};

use super::{
    feed,
    registry::QueryDbRow,
    row::{StoredItem, index_columns, same, stored},
    table::{TABLE_PREFIX, Table, column_name},
};
use crate::{
    backend::{Finding, VerifyReport},
    error::{Error, Result},
    query_db::{ItemKey, KeyValue},
};

pub(in crate::backend::sqlite) fn verify(connection: &Connection, report: &mut VerifyReport) -> Result<()> {
    let mut verifier = Verifier { connection, report, name: String::new() };
    let mut tables = HashSet::new();
    for row in verifier.registered()? {
        verifier.name.clone_from(&row.name);
        tables.extend(row.table_name.clone());
        let checked = Table::of(&row).and_then(|table| match table {
            Some(table) => verifier.query_db(&table, row.version),
            None => Ok(()),
        });
        if let Err(error) = checked {
            verifier.find(error.to_string());
        }
        if let Err(error) = verifier.changes(&row) {
            verifier.find(error.to_string());
        }
    }
    verifier.strays(&tables)
}

struct Verifier<'a> {
    connection: &'a Connection,
    report: &'a mut VerifyReport,
    /// The QueryDb that is looked at.
    name: String,
}

/// An index's place: the values of its columns, and the key.
type Place = (Vec<KeyValue>, ItemKey);

impl Verifier<'_> {
    fn find(&mut self, problem: impl std::fmt::Display) {
        let problem = format!("QueryDb {}: {problem}", self.name);
        self.report.find(Finding { log: None, position: None, problem });
    }

    /// The rows of the registry that can be read.
    fn registered(&mut self) -> Result<Vec<QueryDbRow>> {
        let mut statement = self.connection.prepare(QueryDbRow::EVERY)?;
        let mut rows = statement.query([])?;
        let mut registered = Vec::new();
        while let Some(row) = rows.next()? {
            match QueryDbRow::read(row) {
                Ok(row) => registered.push(row),
                Err(error) => {
                    self.name = row.get(1).unwrap_or_default();
                    self.find(error);
                }
            }
        }
        Ok(registered)
    }

    fn query_db(&mut self, table: &Table, version: u64) -> Result<()> {
        self.schema(table)?;
        let (items, in_index) = self.items(table, version)?;
        let key = ["partition_key", "sub_key"].map(str::to_owned);
        self.index(table, "the primary key", "partition_key > ''", &key, &[], items)?;
        for (index, expected) in table.indexes.iter().zip(in_index) {
            let columns: Vec<String> = index.columns.iter().map(|column| column_name(*column)).collect();
            let order: Vec<String> = columns.iter().cloned().chain(key.clone()).collect();
            let there: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
            self.index(table, &index.sql_name, &there.join(" AND "), &order, &index.columns, expected)?;
        }
        Ok(())
    }

    /// Table and indexes are those that the registry says.
    fn schema(&mut self, table: &Table) -> Result<()> {
        let find = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        let mut statement = self.connection.prepare(find)?;
        let expected = table.indexes.iter().map(|index| (index.sql_name.clone(), table.create_index(index)));
        for (name, sql) in expected.chain([(table.expiry_index_name(), table.create_expiry_index())]) {
            let found: Option<String> = statement.query_row([&name], |row| row.get(0)).optional()?;
            // A table that was renamed, as a rebuild's is, has its name in quotes.
            if found.map(|found| found.replace('"', "")) != Some(sql) {
                self.find(format!("index {name} is not the one that its definition makes"));
            }
        }
        Ok(())
    }

    /// Every item, as the table has it: its checksum, its definition. Answers how many there are, and how many of them
    /// belong into each index.
    fn items(&mut self, table: &Table, version: u64) -> Result<(u64, Vec<u64>)> {
        let sql = format!("SELECT {} FROM {} NOT INDEXED", table.sql.columns, table.table_name);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut items, mut in_index) = (0, vec![0; table.indexes.len()]);
        while let Some(row) = rows.next()? {
            items += 1;
            if let Err(error) = item(table, version, row, &mut in_index) {
                self.find(error);
            }
        }
        self.report.items += items;
        Ok((items, in_index))
    }

    /// An index, in its order: strictly ascending, each entry with the item that it says, and as many as there are
    /// items that belong into it. So none is missing.
    fn index(
        &mut self,
        table: &Table,
        index: &str,
        condition: &str,
        order: &[String],
        columns: &[usize],
        expected: u64,
    ) -> Result<()> {
        let hint = if columns.is_empty() { String::new() } else { format!(" INDEXED BY {index}") };
        let sql = format!(
            "SELECT {} FROM {}{hint} WHERE {condition} ORDER BY {}",
            table.sql.columns,
            table.table_name,
            order.join(", ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let (mut entries, mut wrong) = (0, 0);
        let mut last: Option<Place> = None;
        while let Some(row) = rows.next()? {
            entries += 1;
            match place(table, row, columns) {
                Ok(place) => {
                    let ascends = last.is_none_or(|last| last.cmp(&place) == Ordering::Less);
                    wrong += u64::from(!ascends);
                    last = Some(place);
                }
                Err(_) => {
                    wrong += 1;
                    last = None;
                }
            }
        }
        self.report.index_entries += entries;
        if wrong > 0 {
            self.find(format!(
                "{wrong} entries of {index} are not where they should be, or of damaged items"
            ));
        }
        if entries != expected {
            self.find(format!("{index} has {entries} entries, for {expected} items"));
        }
        Ok(())
    }

    /// The changes that are kept: sound, without holes, up to the QueryDb's version.
    fn changes(&mut self, row: &QueryDbRow) -> Result<()> {
        let is_kept = row.table_name.is_some() && row.parse_spec()?.keeps_changes();
        let mut statement = self.connection.prepare(feed::EVERY)?;
        let mut rows = statement.query([row.number])?;
        let mut last: Option<u64> = None;
        while let Some(stored) = rows.next()? {
            match feed::read(&row.name, stored) {
                Ok(change) => {
                    if last.is_some_and(|last| last + 1 != change.version) {
                        self.find(format!("a hole in its changes before {}", change.version));
                    }
                    last = Some(change.version);
                }
                Err(error) => {
                    self.find(error);
                    last = None;
                }
            }
        }
        match last {
            Some(last) if last != row.version => {
                self.find(format!("its changes end at {last}, its version is {}", row.version));
            }
            Some(_) if !is_kept => self.find("it has changes, although it keeps none"),
            _ => {}
        }
        Ok(())
    }

    /// Nothing lies about that belongs to no QueryDb.
    fn strays(&mut self, tables: &HashSet<String>) -> Result<()> {
        self.name = "registry".into();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 4) = ?1";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([TABLE_PREFIX])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            if !tables.contains(&name) {
                self.find(format!("table {name} belongs to no QueryDb"));
            }
        }
        let sql =
            "SELECT count(*) FROM query_db_change WHERE query_db NOT IN (SELECT query_db FROM query_db)";
        let changes: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        if changes > 0 {
            self.find(format!("{changes} changes belong to no QueryDb"));
        }
        Ok(())
    }
}

/// Checks an item against its definition, and counts in which indexes it belongs.
fn item(table: &Table, version: u64, row: &Row<'_>, in_index: &mut [u64]) -> Result<()> {
    let found = StoredItem::read(table, row)?;
    found.check()?;
    let prepared = table.definition.prepare(found.values.json)?;
    for (count, values) in in_index.iter_mut().zip(&prepared.index_keys) {
        *count += u64::from(values.is_some());
    }
    if prepared.sub != found.key()?.sub {
        return Err(found.corrupted("a sub key that is not the item's"));
    }
    if found.version()? > version {
        return Err(found.corrupted("a version beyond the QueryDb's"));
    }
    let expected = index_columns(table, &prepared);
    let needed = table.layout.columns.iter().map(Option::is_some);
    let differs = |((old, new), is_needed): ((_, &_), bool)| is_needed && !same(old, *new);
    if found.columns().zip(&expected).zip(needed).any(differs) {
        check_left_behind(table, &found, &expected)?;
    }
    let has_ttl_field = table.definition.spec.ttl_field.is_some();
    if has_ttl_field && prepared.expires_at != found.expires_at() {
        return Err(found.corrupted("a time of expiry that is not the item's"));
    }
    Ok(())
}

/// An index that was dropped leaves its items' columns as they are, also those that another index needs: then they hold
/// what an item says, although it is in no index with that field.
fn check_left_behind(table: &Table, found: &StoredItem<'_>, expected: &[ValueRef<'_>]) -> Result<()> {
    let said = table.definition.field_values(found.values.json)?;
    let is_said = |column: usize, value: ValueRef<'_>| {
        table.indexes.iter().zip(&said).any(|(index, said)| {
            let mut fields = index.columns.iter().zip(said);
            fields.any(|(other, said)| {
                *other == column && said.as_ref().is_some_and(|said| same(value, stored(said)))
            })
        })
    };
    let needed = table.layout.columns.iter().map(Option::is_some);
    for ((column, value), (expected, is_needed)) in
        found.columns().enumerate().zip(expected.iter().zip(needed))
    {
        let is_left = *expected == ValueRef::Null && is_said(column, value);
        if is_needed && !same(value, *expected) && !is_left {
            return Err(found.corrupted("a column that is not what the item says"));
        }
    }
    Ok(())
}

fn place(table: &Table, row: &Row<'_>, columns: &[usize]) -> Result<Place> {
    let found = StoredItem::read(table, row)?;
    found.check()?;
    let values = columns.iter().map(|column| found.column(*column)).collect::<Result<_>>()?;
    Ok::<_, Error>((values, found.key()?))
}
