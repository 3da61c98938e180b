//! Definitions: making and dropping tables and indexes, inside the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, types::ValueRef};

use super::{
    super::{
        append::Undo,
        writer::{Failure, Writer, Written},
    },
    bind, feed,
    read::bind_all,
    registry::{Layout, QueryDbRow, json},
    row::{StoredItem, index_columns, same, stored},
    table::{Table, column_name, mangled},
    write::WriterQueryDb,
};
use crate::{
    error::{Error, Result},
    query_db::{ChangeKind, Definition, ItemKey, Prepared, QueryDbSpec},
};

/// How many items are looked at between two writes while an index is made.
const SLICE: usize = 1_000;

impl Writer {
    /// Makes an undefined QueryDb, for its first item.
    pub(super) fn create_default(&mut self, name: &Arc<str>) -> Result<Arc<Table>, Failure> {
        self.create_query_db(name, &QueryDbSpec::new())
    }

    /// Makes a QueryDb that does not exist; if it was dropped, its versions go on.
    fn create_query_db(&mut self, name: &Arc<str>, spec: &QueryDbSpec) -> Result<Arc<Table>, Failure> {
        let known = self.load_query_db(name)?.map(|known| known.row.clone());
        let mut row = match known {
            Some(row) => row,
            None => QueryDbRow::new(next_number(&self.connection)?, name),
        };
        row.table_name = Some(free_table_name(&self.connection, name)?);
        let mut layout = Layout::default();
        add_indexes(
            &mut layout,
            spec,
            &spec.indexes.iter().map(|index| index.name.clone()).collect::<Vec<_>>(),
        );
        (row.spec, row.layout) = (json(spec), json(&layout));
        let table = Table::of(&row)?.expect("it has a table");
        self.connection.execute_batch(&table.create_table()).written()?;
        self.connection.execute_batch(&table.create_expiry_index()).written()?;
        for index in &table.indexes {
            self.connection.execute_batch(&table.create_index(index)).written()?;
        }
        row.store(&self.connection).written()?;
        match self.query_dbs.get_mut(name) {
            Some(known) => (known.row, known.table) = (row, Some(table.clone())),
            None => drop(self.query_dbs.insert(name.clone(), WriterQueryDb::new(row)?)),
        }
        if let Some(undo) = &mut self.undo {
            undo.push(Undo::NewQueryDb { query_db: name.clone() });
        }
        Ok(table)
    }

    pub(super) fn define(&mut self, name: &Arc<str>, spec: &QueryDbSpec) -> Result<(), Failure> {
        let Some(table) = self.table(name)? else {
            spec.check()?;
            return self.create_query_db(name, &spec.clone().settled()).map(drop);
        };
        let (definition, added) = table.definition.extended(spec)?;
        if definition.spec == table.definition.spec {
            return Ok(());
        }
        let mut layout = table.layout.clone();
        add_indexes(&mut layout, &definition.spec, &added);
        let columns = table.layout.columns.len()..layout.columns.len();
        for column in columns {
            let sql = format!("ALTER TABLE {} ADD COLUMN {} ANY", table.table_name, column_name(column));
            self.connection.execute_batch(&sql).written()?;
        }
        if table.definition.spec.keeps_changes() && !definition.spec.keeps_changes() {
            feed::remove_all(&self.connection, table.number).written()?;
        }
        let table = self.redefine(name, &definition.spec, &layout)?;
        if !added.is_empty() {
            refill(&self.connection, &table)?;
        }
        for (index, spec) in table.indexes.iter().zip(&definition.spec.indexes) {
            if added.contains(&spec.name) {
                self.connection.execute_batch(&table.create_index(index)).written()?;
            }
        }
        Ok(())
    }

    pub(super) fn drop_index(&mut self, name: &Arc<str>, index: &str) -> Result<(), Failure> {
        let Some(table) = self.table(name)? else { return Ok(()) };
        let mut spec = table.definition.spec.clone();
        let Some(place) = spec.indexes.iter().position(|other| other.name == index) else { return Ok(()) };
        let mut layout = table.layout.clone();
        spec.indexes.remove(place);
        layout.indexes.remove(place);
        for column in &mut layout.columns {
            let is_needed =
                |field| spec.indexes.iter().any(|index| index.fields().any(|other| other == field));
            if !column.as_ref().is_some_and(is_needed) {
                // Items keep what they have there, until they are saved again.
                *column = None;
            }
        }
        let drop = format!("DROP INDEX {}", table.indexes[place].sql_name);
        self.connection.execute_batch(&drop).written()?;
        self.redefine(name, &spec, &layout).map(|_| ())
    }

    /// Removes everything but the name and the version, as one change.
    pub(super) fn drop_query_db(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        if self.table(name)?.is_some() {
            self.clear_query_db(name)?;
            let known = self.query_dbs.get_mut(name).expect("its table was found");
            known.change(&self.connection, None, ChangeKind::Replaced).written()?;
        }
        Ok(())
    }

    /// Removes everything but the name and the version: versions never go back.
    pub(super) fn clear_query_db(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        let Some(table) = self.table(name)? else { return Ok(()) };
        self.connection.execute_batch(&format!("DROP TABLE {}", table.table_name)).written()?;
        feed::remove_all(&self.connection, table.number).written()?;
        let connection = &self.connection;
        let known = self.query_dbs.get_mut(name).expect("its table was found");
        let empty = QueryDbRow::new(known.row.number, name);
        known.row = QueryDbRow { version: known.row.version, ..empty };
        (known.table, known.dropped, known.oldest_stored) = (None, true, None);
        known.pending.clear();
        known.row.store(connection).written()
    }

    fn redefine(
        &mut self,
        name: &Arc<str>,
        spec: &QueryDbSpec,
        layout: &Layout,
    ) -> Result<Arc<Table>, Failure> {
        let connection = &self.connection;
        let known = self.query_dbs.get_mut(name).expect("its table was found");
        (known.row.spec, known.row.layout) = (json(spec), json(layout));
        let table = Table::of(&known.row)?.expect("it has a table");
        (known.table, known.oldest_stored) = (Some(table.clone()), None);
        known.row.store(connection).written()?;
        Ok(table)
    }
}

/// Gives each new index a name, and each of its fields a column: one that has it, one that nothing needs any more, or
/// a new one.
fn add_indexes(layout: &mut Layout, spec: &QueryDbSpec, added: &[String]) {
    for index in spec.indexes.iter().filter(|index| added.contains(&index.name)) {
        layout.indexes.push(layout.indexes.iter().max().map_or(1, |highest| highest + 1));
        for field in index.fields() {
            if layout.columns.iter().flatten().any(|other| other == field) {
                continue;
            }
            match layout.columns.iter_mut().find(|column| column.is_none()) {
                Some(column) => *column = Some(field.clone()),
                None => layout.columns.push(Some(field.clone())),
            }
        }
    }
}

/// Fills the columns of index fields from the items.
fn refill(connection: &Connection, table: &Table) -> Result<(), Failure> {
    let select = format!(
        "SELECT {}, rowid FROM {} WHERE (partition_key, sub_key) > (?1, ?2)
         ORDER BY partition_key, sub_key LIMIT {SLICE}",
        table.sql.columns, table.table_name
    );
    let sets: String =
        (0..table.layout.columns.len()).map(|n| format!(", {} = ?{}", column_name(n), n + 3)).collect();
    let update = format!("UPDATE {} SET checksum = ?2{sets} WHERE rowid = ?1", table.table_name);
    // No partition key is empty.
    let mut above = ItemKey::from("");
    loop {
        let mut select = connection.prepare_cached(&select).map_err(Error::from)?;
        select.raw_bind_parameter(1, &above.partition).map_err(Error::from)?;
        bind(&mut select, 2, stored(&above.sub)).map_err(Error::from)?;
        let mut rows = select.raw_query();
        let mut seen = 0;
        let mut changed = Vec::new();
        while let Some(row) = rows.next().map_err(Error::from)? {
            let found = StoredItem::read(table, row)?;
            found.check()?;
            let key = found.key()?;
            if key <= above {
                return Err(found.corrupted("items that are out of order").into());
            }
            above = key;
            seen += 1;
            let row_id = StoredItem::row_id(table, row)?;
            changed.extend(refilled(table, &found)?.map(|refilled| (row_id, refilled)));
        }
        for (row_id, (checksum, prepared)) in &changed {
            let mut statement = connection.prepare_cached(&update).written()?;
            statement.raw_bind_parameter(1, row_id).written()?;
            statement.raw_bind_parameter(2, checksum).written()?;
            bind_all(&mut statement, 3, &index_columns(table, prepared)).written()?;
            statement.raw_execute().written()?;
        }
        if seen < SLICE {
            return Ok(());
        }
    }
}

/// The new columns of an item, and its checksum with them; `None` if they are what they were.
fn refilled(table: &Table, found: &StoredItem<'_>) -> Result<Option<(i64, Prepared)>> {
    let prepared = prepare(&table.definition, found)?;
    let columns: Vec<ValueRef<'_>> = index_columns(table, &prepared);
    if found.columns().zip(&columns).all(|(old, new)| same(old, *new)) {
        return Ok(None);
    }
    let checksum = found.values.checksum(table.checksummed_name(), columns.iter().copied());
    Ok(Some((checksum, prepared)))
}

fn prepare(definition: &Definition, found: &StoredItem<'_>) -> Result<Prepared> {
    definition.prepare(found.values.json).map_err(|error| match found.key() {
        Ok(key) => error.with("item", key.to_string()),
        Err(damaged) => damaged,
    })
}

fn next_number(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce(max(query_db), 0) + 1 FROM query_db";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The first name for a table that nothing in the file has: SQLite ignores case.
fn free_table_name(connection: &Connection, name: &str) -> Result<String> {
    let first = mangled(name);
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut candidate = first.clone();
    for number in 2.. {
        if !statement.query_row([&candidate], |row| row.get::<_, bool>(0))? {
            break;
        }
        candidate = format!("{first}_{number}");
    }
    Ok(candidate)
}
