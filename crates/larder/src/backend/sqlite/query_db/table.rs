//! A QueryDb as a table: its columns, its indexes, and the statements over it.

use std::sync::Arc;

use super::registry::{Layout, QueryDbRow};
use crate::{
    error::{Error, Result},
    query_db::{Definition, KeyField},
};

/// What every name of a QueryDb's table begins with.
pub(super) const TABLE_PREFIX: &str = "qdb_";

/// How many columns come before those of index fields.
pub(super) const FIXED_COLUMNS: usize = 6;

/// A QueryDb's table, ready to be asked.
#[derive(Debug)]
pub(in crate::backend::sqlite) struct Table {
    pub number: i64,
    /// The name of the QueryDb.
    pub name: String,
    pub table_name: String,
    pub definition: Arc<Definition>,
    pub layout: Layout,
    /// In the order of the definition.
    pub indexes: Vec<TableIndex>,
    pub sql: Statements,
}

/// An index of the definition.
#[derive(Debug)]
pub(super) struct TableIndex {
    pub sql_name: String,
    /// The columns of its fields, from 0, in its order.
    pub columns: Vec<usize>,
    /// How many of them are key fields.
    pub keys: usize,
}

/// The statements that every item needs.
#[derive(Debug)]
pub(super) struct Statements {
    /// The columns that an item is read from.
    pub columns: String,
    /// One item, with its row id at the end.
    pub find: String,
    pub load: String,
    pub insert: String,
    /// Leaves the columns of index fields as they are.
    pub update: String,
    pub update_all: String,
    pub delete: String,
}

impl Table {
    /// The table of a QueryDb, unless it was dropped.
    pub(super) fn of(row: &QueryDbRow) -> Result<Option<Arc<Self>>> {
        let Some(table_name) = &row.table_name else { return Ok(None) };
        Self::new(row, table_name).map(|table| Some(Arc::new(table)))
    }

    fn new(row: &QueryDbRow, table_name: &str) -> Result<Self> {
        let wrong = |what: &str| Error::corrupted(what.to_owned()).with("QueryDb", row.name.clone());
        if !is_table_name(table_name) {
            return Err(wrong("the name of a table that is none of a QueryDb"));
        }
        let layout = row.parse_layout()?;
        let definition = Definition::new(row.parse_spec()?)?;
        if layout.indexes.len() != definition.spec.indexes.len() {
            return Err(wrong("a layout of other indexes than the definition's"));
        }
        let column = |field: &KeyField| {
            let found = layout.columns.iter().position(|other| other.as_ref() == Some(field));
            found.ok_or_else(|| wrong("an index field without a column"))
        };
        let indexes = definition.spec.indexes.iter().zip(&layout.indexes).map(|(index, id)| {
            let columns = index.fields().map(column).collect::<Result<_>>()?;
            Ok(TableIndex { sql_name: index_name(row.number, *id), columns, keys: index.key.len() })
        });
        let indexes = indexes.collect::<Result<_>>()?;
        let sql = Statements::new(table_name, layout.columns.len());
        let (number, name) = (row.number, row.name.clone());
        Ok(Self { number, name, table_name: table_name.to_owned(), definition, layout, indexes, sql })
    }

    /// The name that checksums of items take: a table that a rebuild has filled becomes that of the QueryDb which it
    /// was rebuilt for.
    pub(super) fn checksummed_name(&self) -> &str {
        self.name.split('~').next().unwrap_or_default()
    }

    /// The statement that makes an index.
    pub(super) fn create_index(&self, index: &TableIndex) -> String {
        let columns: Vec<String> = index.columns.iter().map(|column| column_name(*column)).collect();
        let mut distinct: Vec<&str> = Vec::new();
        for column in &columns {
            if !distinct.contains(&column.as_str()) {
                distinct.push(column);
            }
        }
        let there: Vec<String> = distinct.iter().map(|column| format!("{column} IS NOT NULL")).collect();
        format!(
            "CREATE INDEX {} ON {} ({}, partition_key, sub_key) WHERE {}",
            index.sql_name,
            self.table_name,
            distinct.join(", "),
            there.join(" AND ")
        )
    }

    pub(super) fn expiry_index_name(&self) -> String {
        index_name(self.number, 0)
    }

    /// The statement that makes the index of items that expire.
    pub(super) fn create_expiry_index(&self) -> String {
        format!(
            "CREATE INDEX {} ON {} (expires_at, partition_key, sub_key) WHERE expires_at IS NOT NULL",
            self.expiry_index_name(),
            self.table_name
        )
    }

    /// The statement that makes the table, with the columns of this layout.
    pub(super) fn create_table(&self) -> String {
        let columns: String =
            (0..self.layout.columns.len()).map(|column| format!(", {} ANY", column_name(column))).collect();
        format!(
            "CREATE TABLE {} (partition_key TEXT NOT NULL, sub_key ANY NOT NULL, item TEXT NOT NULL, \
             expires_at INTEGER, version INTEGER NOT NULL, checksum INTEGER NOT NULL{columns}, \
             PRIMARY KEY (partition_key, sub_key)) STRICT",
            self.table_name
        )
    }
}

impl Statements {
    fn new(table: &str, columns: usize) -> Self {
        let names: Vec<String> = (0..columns).map(column_name).collect();
        let list: String = names.iter().map(|name| format!(", {name}")).collect();
        let columns = format!("partition_key, sub_key, item, expires_at, version, checksum{list}");
        let slots = |from: usize| (from..from + names.len()).map(|n| format!(", ?{n}")).collect::<String>();
        let sets: String =
            names.iter().enumerate().map(|(n, name)| format!(", {name} = ?{}", n + 6)).collect();
        let update = |sets: &str| {
            format!(
                "UPDATE {table} SET item = ?2, expires_at = ?3, version = ?4, checksum = ?5{sets} WHERE rowid = ?1"
            )
        };
        Self {
            find: format!("SELECT {columns}, rowid FROM {table} WHERE partition_key = ?1 AND sub_key = ?2"),
            load: format!("SELECT {columns} FROM {table} WHERE partition_key = ?1 ORDER BY sub_key"),
            insert: format!(
                "INSERT INTO {table} ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6{}) ON CONFLICT DO NOTHING",
                slots(FIXED_COLUMNS + 1)
            ),
            update: update(""),
            update_all: update(&sets),
            delete: format!("DELETE FROM {table} WHERE rowid = ?1"),
            columns,
        }
    }
}

/// The column of an index field: `k1`, `k2`, …
pub(super) fn column_name(column: usize) -> String {
    format!("k{}", column + 1)
}

/// The name of an index in SQL; 0 is that of items that expire. Tables and indexes share their names, and no table
/// begins so.
pub(super) fn index_name(query_db: i64, id: u32) -> String {
    format!("query_db_{query_db}_index_{id}")
}

/// What the name of a QueryDb's table is made of, so that it can stand in SQL.
fn is_table_name(name: &str) -> bool {
    name.starts_with(TABLE_PREFIX) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The first choice for the name of a QueryDb's table.
pub(super) fn mangled(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("{TABLE_PREFIX}{}", name.chars().map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_tables() {
        assert_eq!(mangled("Orders"), "qdb_Orders");
        assert_eq!(mangled("a.b:c-d~rebuild"), "qdb_a_b_c_d_rebuild");
        assert!(
            is_table_name("qdb_a_1") && !is_table_name("event") && !is_table_name("qdb_a; DROP TABLE event")
        );
    }
}
