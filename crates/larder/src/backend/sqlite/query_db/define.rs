//! Definitions: making tables, adding columns and indexes, dropping them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params_from_iter, types::ValueRef};

use super::{
    changes,
    item_row::{Checksum, ItemRow, bound, sql_value},
    layout::{Columns, Layout, column_name, expiry_index_name, index_name, quoted},
    registry::Registered,
    write::optional,
};
use crate::{
    backend::{
        Outcome,
        sqlite::{
            place::to_sql,
            shared::Shared,
            writer::{Failure, Writer, Written},
        },
    },
    error::{Error, Result},
    query_db::{KeyField, QueryDbSpec},
};

/// How many items are looked at at a time when an index is built.
const ITEMS_AT_ONCE: i64 = 1_000;

impl Writer {
    pub(super) fn define(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        spec: &QueryDbSpec,
    ) -> Result<Outcome, Failure> {
        let Some(state) = self.load_query_db(shared, name)? else {
            self.create_query_db(shared, name, spec)?;
            return Ok(Outcome::Done);
        };
        let (definition, added) = state.layout.definition.extended(spec)?;
        if definition.spec != state.layout.definition.spec {
            let kept = state.layout.definition.spec.changes;
            self.redefine(shared, name, |columns| columns.extend(&definition.spec), &definition.spec)?;
            if kept && !definition.spec.changes {
                changes::clear(&self.connection, self.registered(name)?.number).written()?;
            }
            if !added.is_empty() {
                self.fill_columns(shared, name)?;
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn drop_index(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        index: &str,
    ) -> Result<Outcome, Failure> {
        let Some(state) = self.load_query_db(shared, name)? else { return Ok(Outcome::Done) };
        let mut spec = state.layout.definition.spec.clone();
        let Some(place) = spec.indexes.iter().position(|known| known.name == index) else {
            return Ok(Outcome::Done);
        };
        spec.indexes.remove(place);
        let dropped = state.layout.index_name(place);
        self.redefine(shared, name, |columns| _ = columns.indexes.remove(place), &spec)?;
        self.connection.execute_batch(&format!("DROP INDEX {dropped}")).written()?;
        Ok(Outcome::Done)
    }

    pub(super) fn drop_query_db(&mut self, shared: &Shared, name: &Arc<str>) -> Result<Outcome, Failure> {
        if self.load_query_db(shared, name)?.is_none() {
            return Ok(Outcome::Done);
        }
        self.put_down(name)?;
        let registered = self.registered(name)?;
        let table = registered.table.clone().unwrap_or_default();
        changes::clear(&self.connection, registered.number).written()?;
        self.connection.execute_batch(&format!("DROP TABLE {}", quoted(&table))).written()?;
        let dropped = Registered {
            table: None,
            spec: QueryDbSpec::new(),
            columns: Columns { next_index: registered.columns.next_index, ..Columns::default() },
            owner: None,
            generation: registered.generation + 1,
            ..registered
        };
        dropped.store(&self.connection).written()?;
        shared.layouts.forget(name);
        Ok(Outcome::Done)
    }

    /// Makes the table of a QueryDb that does not exist, or no longer.
    pub(super) fn create_query_db(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        spec: &QueryDbSpec,
    ) -> Result<(), Failure> {
        let mut registered = match Registered::find(&self.connection, name)? {
            Some(dropped) => dropped,
            None => self.new_row(name)?,
        };
        let table = free_table_name(&self.connection, name)?;
        registered.columns.extend(spec);
        registered.generation += 1;
        (registered.spec, registered.table) = (spec.clone(), Some(table));
        let layout = registered.layout()?.expect("it has a table");
        self.connection.execute_batch(&create_sql(&layout)).written()?;
        registered.store(&self.connection).written()?;
        shared.layouts.forget(name);
        Ok(())
    }

    fn new_row(&self, name: &Arc<str>) -> Result<Registered> {
        let next = "SELECT coalesce(max(query_db), 0) + 1 FROM query_db";
        Ok(Registered {
            number: self.connection.query_row(next, [], |row| row.get(0))?,
            name: name.clone(),
            table: None,
            spec: QueryDbSpec::new(),
            columns: Columns::default(),
            owner: None,
            generation: 0,
            version: 0,
        })
    }

    /// Takes a definition over: adds columns that are missing and indexes that are new.
    fn redefine(
        &mut self,
        shared: &Shared,
        name: &Arc<str>,
        change: impl FnOnce(&mut Columns),
        spec: &QueryDbSpec,
    ) -> Result<(), Failure> {
        self.put_down(name)?;
        let old = self.registered(name)?;
        let mut new = old.clone();
        change(&mut new.columns);
        (new.spec, new.generation) = (spec.clone(), old.generation + 1);
        let layout = new.layout()?.expect("it has a table");
        for column in old.columns.fields.len()..new.columns.fields.len() {
            let add = format!("ALTER TABLE {} ADD COLUMN {}", layout.table, column_name(column));
            self.connection.execute_batch(&add).written()?;
        }
        for (place, number) in new.columns.indexes.iter().enumerate() {
            if !old.columns.indexes.contains(number) {
                self.connection.execute_batch(&create_index_sql(&layout, place)).written()?;
            }
        }
        new.store(&self.connection).written()?;
        shared.layouts.forget(name);
        Ok(())
    }

    /// Gives every item the values that the columns are to have.
    fn fill_columns(&mut self, shared: &Shared, name: &Arc<str>) -> Result<(), Failure> {
        let layout = self.load_query_db(shared, name)?.expect("it was defined").layout.clone();
        let page = format!(
            "SELECT {}, rowid FROM {} WHERE rowid > ?1 ORDER BY rowid LIMIT {ITEMS_AT_ONCE}",
            layout.item_columns(),
            layout.table
        );
        let mut after = i64::MIN;
        loop {
            let mut items = Vec::new();
            {
                let mut statement = self.connection.prepare(&page).map_err(Error::from)?;
                let mut rows = statement.query([after]).map_err(Error::from)?;
                while let Some(row) = rows.next().map_err(Error::from)? {
                    let rowid: i64 = row.get(6 + layout.columns.fields.len()).map_err(Error::from)?;
                    items.push((rowid, ItemRow::read(&layout, row)?));
                }
            }
            let Some((last, _)) = items.last() else { return Ok(()) };
            after = *last;
            for (rowid, item) in items {
                fill(&self.connection, &layout, rowid, &item)?;
            }
        }
    }

    fn registered(&self, name: &Arc<str>) -> Result<Registered> {
        Registered::find(&self.connection, name)?
            .ok_or_else(|| Error::corrupted("a QueryDb that is not in the registry").with("QueryDb", &**name))
    }
}

/// Writes the columns of an item anew.
fn fill(connection: &Connection, layout: &Layout, rowid: i64, row: &ItemRow) -> Result<(), Failure> {
    let item = &row.item;
    let prepared =
        layout.definition.prepare(&item.json).map_err(|error| error.with("item", item.key.to_string()))?;
    let (version, expires_at) = (to_sql(item.version), item.expires_at.map(to_sql));
    let sub = sql_value(&item.key.sub);
    let mut sum = Checksum::new(&layout.name, &item.key.partition, sub, &item.json, version, expires_at);
    let keys = layout.column_values(&prepared);
    keys.iter().enumerate().for_each(|(column, key)| sum.column(column, optional(*key)));
    let fixed = [
        ValueRef::Integer(rowid),
        ValueRef::Text(item.json.as_bytes()),
        ValueRef::Integer(version),
        ValueRef::Integer(sum.finish()),
        expires_at.map_or(ValueRef::Null, ValueRef::Integer),
    ];
    let values = fixed.into_iter().chain(keys.iter().map(|key| optional(*key)));
    let update =
        || connection.prepare_cached(&layout.sql.update)?.execute(params_from_iter(values.map(bound)));
    update().written()?;
    Ok(())
}

impl Columns {
    /// Adds a column for each field of an index that has none, and a number for each new index.
    fn extend(&mut self, spec: &QueryDbSpec) {
        for index in &spec.indexes[self.indexes.len()..] {
            for field in index.fields() {
                if !self.fields.contains(field) {
                    self.fields.push(KeyField::clone(field));
                }
            }
            self.indexes.push(self.next_index);
            self.next_index += 1;
        }
    }
}

fn create_sql(layout: &Layout) -> String {
    let keys: String =
        (0..layout.columns.fields.len()).map(|key| format!(",\n    {}", column_name(key))).collect();
    let (table, expiry) = (&layout.table, expiry_index_name(layout.number));
    let mut sql = format!(
        "CREATE TABLE {table} (
    partition_key TEXT NOT NULL,
    sub_key NOT NULL,
    item TEXT NOT NULL,
    expires_at INTEGER,
    version INTEGER NOT NULL,
    checksum INTEGER NOT NULL{keys},
    PRIMARY KEY (partition_key, sub_key)
);
CREATE INDEX {expiry} ON {table} (expires_at, partition_key, sub_key) WHERE expires_at IS NOT NULL;\n"
    );
    for index in 0..layout.columns.indexes.len() {
        sql.push_str(&create_index_sql(layout, index));
    }
    sql
}

/// An item is in an index if it has every field of it.
fn create_index_sql(layout: &Layout, index: usize) -> String {
    let columns: Vec<String> = layout.index_columns(index).into_iter().map(column_name).collect();
    let there: Vec<String> = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect();
    format!(
        "CREATE INDEX {} ON {} ({}, partition_key, sub_key) WHERE {};\n",
        index_name(layout.number, layout.columns.indexes[index]),
        layout.table,
        columns.join(", "),
        there.join(" AND ")
    )
}

/// `qdb_` and the name, with `_` for what SQL does not take unquoted; with a number if that is taken.
fn free_table_name(connection: &Connection, name: &str) -> Result<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let base: String = name.chars().map(plain).collect();
    let taken = "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let mut number = 1;
    loop {
        let table = if number == 1 { format!("qdb_{base}") } else { format!("qdb_{base}_{number}") };
        let found: Option<i64> = connection.query_row(taken, [&table], |row| row.get(0)).optional()?;
        if found.is_none() {
            return Ok(table);
        }
        number += 1;
    }
}
