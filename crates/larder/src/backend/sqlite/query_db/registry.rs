//! The registry of QueryDbs: the authority for which there are, and in which table each is.

use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::super::{
    checksum::{Crc, length},
    place::{from_sql, to_sql},
};
use crate::{
    error::{Error, Result},
    query_db::{KeyField, QueryDbInfo, QueryDbSpec},
};

macro_rules! registry_columns {
    () => {
        "query_db, name, table_name, version, spec, layout, owner, checksum"
    };
}

/// A QueryDb's row, its checksum compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::sqlite) struct QueryDbRow {
    pub number: i64,
    pub name: String,
    /// `None`: it was dropped.
    pub table_name: Option<String>,
    /// The highest version that was given.
    pub version: u64,
    pub spec: String,
    pub layout: String,
    pub owner: Option<String>,
}

/// Which field is in which column, and which index is which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The field of column `k1`, `k2`, …; `None` for a column that no index needs any more.
    pub columns: Vec<Option<KeyField>>,
    /// The definition's indexes, in its order, by the last part of their names in SQL.
    pub indexes: Vec<u32>,
}

impl QueryDbRow {
    /// Every row, of dropped ones too.
    pub(super) const EVERY: &str =
        concat!("SELECT ", registry_columns!(), " FROM query_db ORDER BY query_db");

    pub(super) fn new(number: i64, name: &str) -> Self {
        Self {
            number,
            name: name.to_owned(),
            table_name: None,
            version: 0,
            spec: json(&QueryDbSpec::new()),
            layout: json(&Layout::default()),
            owner: None,
        }
    }

    pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = concat!("SELECT ", registry_columns!(), " FROM query_db WHERE name = ?1");
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([name])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let row = Self::read(row)?;
        if row.name != name {
            return Err(Error::corrupted("a QueryDb that is found under another name").with("name", name));
        }
        Ok(Some(row))
    }

    /// Those that exist, by name.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>> {
        let sql = concat!(
            "SELECT ",
            registry_columns!(),
            " FROM query_db WHERE table_name IS NOT NULL ORDER BY name"
        );
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let row = Self::read(row)?;
            if !row.is_shadow() {
                all.push(row);
            }
        }
        Ok(all)
    }

    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        let read = Self {
            number: row.get(0)?,
            name: row.get(1)?,
            table_name: row.get(2)?,
            version: from_sql(row.get(3)?)?,
            spec: row.get(4)?,
            layout: row.get(5)?,
            owner: row.get(6)?,
        };
        if read.checksum() != row.get::<_, i64>(7)? {
            return Err(Error::corrupted("a checksum that does not match").with("QueryDb", read.name));
        }
        Ok(read)
    }

    /// Whether it is one that a rebuild fills beside another.
    pub(super) fn is_shadow(&self) -> bool {
        self.name.contains('~')
    }

    /// Writes the whole row.
    pub(super) fn store(&self, connection: &Connection) -> Result<()> {
        let sql = concat!(
            "INSERT INTO query_db (",
            registry_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (query_db) DO UPDATE SET
              name = excluded.name, table_name = excluded.table_name, version = excluded.version,
              spec = excluded.spec, layout = excluded.layout, owner = excluded.owner, checksum = excluded.checksum"
        );
        connection.prepare_cached(sql)?.execute((
            self.number,
            &self.name,
            &self.table_name,
            to_sql(self.version),
            &self.spec,
            &self.layout,
            &self.owner,
            self.checksum(),
        ))?;
        Ok(())
    }

    /// Writes the version.
    pub(super) fn store_version(&self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE query_db SET version = ?2, checksum = ?3 WHERE query_db = ?1";
        connection.prepare_cached(sql)?.execute((self.number, to_sql(self.version), self.checksum()))?;
        Ok(())
    }

    pub(super) fn parse_spec(&self) -> Result<QueryDbSpec> {
        serde_json::from_str(&self.spec).map_err(|error| self.unreadable("definition").caused_by(error))
    }

    pub(super) fn parse_layout(&self) -> Result<Layout> {
        serde_json::from_str(&self.layout).map_err(|error| self.unreadable("layout").caused_by(error))
    }

    fn unreadable(&self, what: &str) -> Error {
        Error::corrupted(format!("a {what} that cannot be read")).with("QueryDb", self.name.clone())
    }

    pub(super) fn info(self) -> Result<QueryDbInfo> {
        let spec = self.parse_spec()?;
        Ok(QueryDbInfo::new(self.name, spec, self.version, self.owner))
    }

    /// Over everything in the row.
    fn checksum(&self) -> i64 {
        let texts = [
            Some(&self.name),
            self.table_name.as_ref(),
            Some(&self.spec),
            Some(&self.layout),
            self.owner.as_ref(),
        ];
        let mut crc = Crc::default();
        crc.add(&self.number.to_le_bytes());
        crc.add(&self.version.to_le_bytes());
        for text in &texts {
            crc.add(&text.map_or(u32::MAX, |text| length(text.as_bytes())).to_le_bytes());
        }
        for text in texts.into_iter().flatten() {
            crc.add(text.as_bytes());
        }
        crc.finish()
    }
}

/// A definition or layout as its column holds it.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("definitions have string keys and no numbers")
}
