//! Re-checks QueryDbs: every item against its checksum and its definition, and the changes that are kept.
//!
//! That each index of a table is what the table says, SQLite's own check has found out before.

use rusqlite::Connection;

use super::{changes, item_row::ItemRow, layout::Layout, registry::Registered};
use crate::{
    backend::{Finding, VerifyReport},
    error::{Error, Result},
};

pub(in crate::backend::sqlite) fn verify(connection: &Connection, report: &mut VerifyReport) -> Result<()> {
    let registered = match Registered::all(connection) {
        Ok(registered) => registered,
        Err(error) => {
            find(report, error.to_string());
            return Ok(());
        }
    };
    for row in registered {
        let name = row.name.clone();
        let checked = row.layout().and_then(|layout| match layout {
            Some(layout) => query_db(connection, &layout, row.version, report),
            None => Ok(()),
        });
        if let Err(error) = checked {
            find(report, format!("QueryDb {name}: {error}"));
        }
    }
    Ok(())
}

fn find(report: &mut VerifyReport, problem: String) {
    report.find(Finding { log: None, position: None, problem });
}

fn query_db(connection: &Connection, layout: &Layout, version: u64, report: &mut VerifyReport) -> Result<()> {
    let sql = format!("SELECT {} FROM {} NOT INDEXED", layout.item_columns(), layout.table);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.items += 1;
        match ItemRow::read(layout, row).and_then(|row| item(layout, version, &row)) {
            Ok(entries) => report.index_entries += entries,
            Err(error) => find(report, format!("QueryDb {}: {error}", layout.name)),
        }
    }
    changes::verify(connection, layout)
}

/// Checks an item against its definition; answers in how many indexes it is.
fn item(layout: &Layout, version: u64, row: &ItemRow) -> Result<u64> {
    let wrong = |what: &str| Err(Error::corrupted(what.to_owned()).with("item", row.item.key.to_string()));
    let prepared = layout.definition.prepare(&row.item.json)?;
    if prepared.sub != row.item.key.sub {
        return wrong("a sub key that is not the item's");
    }
    if row.item.version > version {
        return wrong("a version beyond the QueryDb's");
    }
    let columns = layout.column_values(&prepared);
    for (column, value) in columns.iter().enumerate() {
        if layout.is_used(column) && row.keys[column].as_ref() != *value {
            return wrong("a column that is not what the item says");
        }
    }
    Ok(prepared.index_keys.iter().flatten().count() as u64)
}
