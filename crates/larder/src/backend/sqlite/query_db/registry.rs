//! The registry of QueryDbs.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};

use super::layout::{Columns, Layout};
use crate::{
    backend::sqlite::{
        place::{from_sql, to_sql},
        shared::Shared,
    },
    error::{Error, Result},
    query_db::QueryDbSpec,
};

/// A row of the registry.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) number: i64,
    pub(super) name: Arc<str>,
    /// None once dropped: only the version is left.
    pub(super) table: Option<String>,
    pub(super) spec: QueryDbSpec,
    pub(super) columns: Columns,
    pub(super) owner: Option<String>,
    pub(super) generation: i64,
    pub(super) version: u64,
}

const COLUMNS: &str = "query_db, name, table_name, spec, columns, owner, generation, version, checksum";

impl Registered {
    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM query_db WHERE name = ?1");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([name])?;
        rows.next()?.map(Self::read).transpose()
    }

    /// Those that exist, ascending by name.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM query_db WHERE table_name IS NOT NULL ORDER BY name");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(Self::read(row)?);
        }
        Ok(all)
    }

    fn read(row: &Row<'_>) -> Result<Self> {
        let (spec, columns): (String, String) = (row.get(3)?, row.get(4)?);
        let damaged = || Error::corrupted("a row of the registry of QueryDbs whose checksum is wrong");
        let registered = Self {
            number: row.get(0)?,
            name: row.get::<_, String>(1)?.into(),
            table: row.get(2)?,
            spec: serde_json::from_str(&spec).map_err(|error| damaged().caused_by(error))?,
            columns: serde_json::from_str(&columns).map_err(|error| damaged().caused_by(error))?,
            owner: row.get(5)?,
            generation: row.get(6)?,
            version: from_sql(row.get(7)?)?,
        };
        let sum = registered.checksum(&spec, &columns, registered.version);
        if sum == row.get::<_, i64>(8)? {
            Ok(registered)
        } else {
            Err(damaged().with("QueryDb", &*registered.name))
        }
    }

    /// Writes the row anew.
    pub(super) fn store(&self, connection: &Connection) -> Result<()> {
        let (spec, columns) = self.texts();
        let sql = format!(
            "INSERT OR REPLACE INTO query_db ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        );
        connection.prepare_cached(&sql)?.execute((
            self.number,
            &*self.name,
            &self.table,
            &spec,
            &columns,
            &self.owner,
            self.generation,
            to_sql(self.version),
            self.checksum(&spec, &columns, self.version),
        ))?;
        Ok(())
    }

    fn texts(&self) -> (String, String) {
        let text = "specs and columns are plain data";
        (serde_json::to_string(&self.spec).expect(text), serde_json::to_string(&self.columns).expect(text))
    }

    fn checksum(&self, spec: &str, columns: &str, version: u64) -> i64 {
        let text = format!(
            "{}\n{}\n{:?}\n{spec}\n{columns}\n{:?}\n{}\n{version}",
            self.number, self.name, self.table, self.owner, self.generation
        );
        i64::from(crc32c::crc32c(text.as_bytes()))
    }

    pub(super) fn layout(&self) -> Result<Option<Layout>> {
        let Self { number, name, table, spec, columns, owner, generation, .. } = self.clone();
        let Some(table) = table else { return Ok(None) };
        Layout::new(name, number, generation, &table, spec, columns, owner).map(Some)
    }
}

/// A QueryDb's layout and version in a snapshot; `None` if there is none.
pub(super) fn layout_in(
    shared: &Shared,
    connection: &Connection,
    name: &str,
) -> Result<Option<(Arc<Layout>, u64)>> {
    let sql = "SELECT query_db, generation, version FROM query_db WHERE name = ?1 AND table_name IS NOT NULL";
    let numbers = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let found = connection.prepare_cached(sql)?.query_row([name], numbers).optional()?;
    let Some((number, generation, version)) = found else { return Ok(None) };
    if let Some(layout) = shared.layouts.get(name)
        && (layout.number, layout.generation) == (number, generation)
    {
        return Ok(Some((layout, from_sql(version)?)));
    }
    let Some(registered) = Registered::find(connection, name)? else { return Ok(None) };
    let Some(layout) = registered.layout()? else { return Ok(None) };
    let layout = Arc::new(layout);
    shared.layouts.remember(layout.clone());
    Ok(Some((layout, registered.version)))
}
