//! Numbers about the store.

use rusqlite::Connection;

use super::{
    event_log::count,
    log_row::{self, LogRow},
    place::{from_sql, place, place_bound, to_sql},
    query_db,
    shared::Shared,
};
use crate::{
    backend::{LogStats, StoreStats},
    error::Result,
};

/// How many types are counted.
const TYPES: i64 = 1_000;

pub(super) fn read(shared: &Shared) -> Result<StoreStats> {
    shared.pool.snapshot(|connection| {
        let backend = format!("sqlite ({})", shared.config.path.display());
        let mut stats = StoreStats { backend, ..StoreStats::default() };
        let pages =
            count(connection, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [])?;
        stats.bytes = pages;
        for (name, log) in log_row::all_logs(connection)? {
            stats.logs.push(log_stats(connection, name, &log)?);
        }
        stats.snapshots = super::snapshot::stats(connection)?;
        stats.task_buckets = super::task_bucket::stats(connection)?;
        stats.projections = super::projection::infos(connection)?;
        stats.query_dbs = query_db::stats(shared, connection)?;
        Ok(stats)
    })
}

/// Counts what is visible: what waits to be swept is left out by the streams' marks.
fn log_stats(connection: &Connection, name: String, log: &LogRow) -> Result<LogStats> {
    let sql = "SELECT event_type, count(*) FROM event LEFT JOIN stream ON stream.stream = event.stream
               WHERE place > ?1 AND place < ?2 AND payload IS NOT NULL
                 AND (event.stream IS NULL OR seq_nr > mark)
               GROUP BY event_type ORDER BY event_type";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((place_bound(log.number, log.trimmed), place(log.number + 1, 0)))?;
    let (mut types, mut events) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let number = from_sql(row.get(1)?)?;
        events += number;
        if to_sql(types.len() as u64) < TYPES {
            types.push((row.get(0)?, number));
        }
    }
    let streams = count(connection, "SELECT count(*) FROM stream WHERE log = ?1", [log.number])?;
    Ok(LogStats::new(log.info(name), events, streams, types))
}
