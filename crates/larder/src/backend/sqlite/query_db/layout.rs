//! Where a QueryDb's items are: its table, its columns, its indexes, and the statements over them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    query_db::{Definition, KeyField, KeyValue, Prepared, QueryDbInfo, QueryDbSpec},
};

/// The columns and indexes of a table, as the registry keeps them. Columns are never removed: `k1` is the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Columns {
    /// The field of each column.
    pub(super) fields: Vec<KeyField>,
    /// The number of each index of the definition, in its order.
    pub(super) indexes: Vec<u32>,
    /// The next index's number.
    pub(super) next_index: u32,
}

/// A QueryDb's place in the file.
#[derive(Debug)]
pub(in crate::backend::sqlite) struct Layout {
    pub(super) name: Arc<str>,
    /// Its number in the registry.
    pub(super) number: i64,
    /// Rises when the definition changes.
    pub(super) generation: i64,
    /// The table, quoted.
    pub(super) table: String,
    pub(super) definition: Arc<Definition>,
    pub(super) columns: Columns,
    /// Of each column: the index and the field of it from which an item's value is taken.
    sources: Vec<Vec<(usize, usize)>>,
    pub(super) owner: Option<String>,
    pub(super) sql: Statements,
}

/// The statements that saves and loads repeat.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) find: String,
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) update_item: String,
    pub(super) delete: String,
    pub(super) load_one: String,
    pub(super) load: String,
}

impl Layout {
    pub(super) fn new(
        name: Arc<str>,
        number: i64,
        generation: i64,
        table: &str,
        spec: QueryDbSpec,
        columns: Columns,
        owner: Option<String>,
    ) -> Result<Self> {
        let definition = Definition::new(spec)?;
        let table = quoted(table);
        let sql = Statements::new(&table, columns.fields.len());
        let sources = columns.fields.iter().map(|field| sources_of(field, &definition.spec)).collect();
        Ok(Self { name, number, generation, table, definition, columns, sources, owner, sql })
    }

    pub(super) fn info(&self, version: u64) -> QueryDbInfo {
        QueryDbInfo::new(self.name.to_string(), self.definition.spec.clone(), version, self.owner.clone())
    }

    /// The value of each column for an item: null where no index has the item.
    pub(super) fn column_values<'a>(&self, item: &'a Prepared) -> Vec<Option<&'a KeyValue>> {
        let value = |(index, field): &(usize, usize)| Some(&item.index_keys[*index].as_ref()?[*field]);
        self.sources.iter().map(|sources| sources.iter().find_map(value)).collect()
    }

    /// Whether an index of the definition uses the column.
    pub(super) fn is_used(&self, column: usize) -> bool {
        !self.sources[column].is_empty()
    }

    /// The columns of an index, key fields first: numbers from 0.
    pub(super) fn index_columns(&self, index: usize) -> Vec<usize> {
        let column = |field: &KeyField| self.columns.fields.iter().position(|known| known == field);
        self.definition.spec.indexes[index]
            .fields()
            .map(|field| column(field).expect("each field of an index has a column"))
            .collect()
    }

    /// The name of an index.
    pub(super) fn index_name(&self, index: usize) -> String {
        index_name(self.number, self.columns.indexes[index])
    }

    /// All columns of an item, in the order in which `item_row` reads them.
    pub(super) fn item_columns(&self) -> String {
        item_columns(self.columns.fields.len())
    }
}

/// Where the value of a column comes from.
fn sources_of(field: &KeyField, spec: &QueryDbSpec) -> Vec<(usize, usize)> {
    let of_index = |(number, index): (usize, &crate::query_db::Index)| {
        index.fields().position(|known| known == field).map(|place| (number, place))
    };
    spec.indexes.iter().enumerate().filter_map(of_index).collect()
}

/// The name of an index in the file.
pub(super) fn index_name(query_db: i64, index: u32) -> String {
    format!("qdb_index_{query_db}_{index}")
}

/// The name of the index by expiry.
pub(super) fn expiry_index_name(query_db: i64) -> String {
    format!("qdb_expiry_{query_db}")
}

/// The name of a column: numbers from 0.
pub(super) fn column_name(column: usize) -> String {
    format!("k{}", column + 1)
}

/// A name within SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn item_columns(keys: usize) -> String {
    let keys: String = (0..keys).map(|key| format!(", {}", column_name(key))).collect();
    format!("partition_key, sub_key, item, expires_at, version, checksum{keys}")
}

impl Statements {
    fn new(table: &str, keys: usize) -> Self {
        let all = item_columns(keys);
        let numbers = |from: usize, count: usize| -> String {
            (from..from + count).map(|n| format!(", ?{n}")).collect()
        };
        let assigned: String =
            (0..keys).map(|key| format!(", {} = ?{}", column_name(key), key + 6)).collect();
        let by_key = "WHERE partition_key = ?1 AND sub_key = ?2";
        Self {
            find: format!("SELECT {all}, rowid FROM {table} {by_key}"),
            insert: format!(
                "INSERT INTO {table} ({all}) VALUES (?1, ?2, ?3, ?4, ?5, ?6{})",
                numbers(7, keys)
            ),
            update: format!(
                "UPDATE {table} SET item = ?2, version = ?3, checksum = ?4, expires_at = ?5{assigned} WHERE rowid = ?1"
            ),
            update_item: format!(
                "UPDATE {table} SET item = ?2, version = ?3, checksum = ?4 WHERE rowid = ?1"
            ),
            delete: format!("DELETE FROM {table} WHERE rowid = ?1"),
            load_one: format!("SELECT {all} FROM {table} {by_key}"),
            load: format!("SELECT {all} FROM {table} WHERE partition_key = ?1 ORDER BY sub_key"),
        }
    }
}

/// The layouts that readers remember, each until its generation has passed.
#[derive(Debug, Default)]
pub(in crate::backend::sqlite) struct Layouts(Mutex<HashMap<Arc<str>, Arc<Layout>>>);

impl Layouts {
    pub(super) fn get(&self, name: &str) -> Option<Arc<Layout>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn remember(&self, layout: Arc<Layout>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(layout.name.clone(), layout);
    }

    pub(super) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
