//! Conditions of appends, kept where a log audits them.

use rusqlite::Connection;

use super::place::{place, position_of, to_sql};
use crate::{
    error::{Error, Result},
    event::Position,
    query::AppendCondition,
};

pub(super) fn insert(
    connection: &Connection,
    log: i64,
    position: Position,
    condition: &AppendCondition,
) -> Result<()> {
    let json = serde_json::to_string(condition).map_err(|error| Error::corrupted(error.to_string()))?;
    let sql = "INSERT INTO condition (place, condition) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((place(log, position.get()), json))?;
    Ok(())
}

/// Whether an append at this position has kept its condition.
pub(super) fn exists(connection: &Connection, log: i64, position: Position) -> Result<bool> {
    let sql = "SELECT 1 FROM condition WHERE place = ?1";
    Ok(connection.prepare_cached(sql)?.exists([place(log, position.get())])?)
}

/// The conditions of a log above a position, in order.
pub(super) fn page(
    connection: &Connection,
    log: i64,
    above: u64,
    limit: usize,
) -> Result<Vec<(Position, AppendCondition)>> {
    let sql =
        "SELECT place, condition FROM condition WHERE place > ?1 AND place < ?2 ORDER BY place LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((place(log, above), place(log + 1, 0), to_sql(limit as u64)))?;
    let mut conditions = Vec::new();
    let mut last = place(log, above);
    while let Some(row) = rows.next()? {
        // Out of order, a page would lead back to where it began.
        let next: i64 = row.get(0)?;
        if next <= last {
            return Err(Error::corrupted("conditions that are out of order"));
        }
        last = next;
        let json: String = row.get(1)?;
        let condition = serde_json::from_str(&json)
            .map_err(|error| Error::corrupted("a condition that cannot be read").caused_by(error))?;
        conditions.push((Position::new(position_of(next)), condition));
    }
    Ok(conditions)
}
