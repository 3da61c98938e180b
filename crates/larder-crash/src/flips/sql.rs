//! What plain SQL reads, which compares no checksums.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

/// The rows of each table as plain SQL reads them, each as a line.
pub(super) type Tables = BTreeMap<&'static str, BTreeSet<String>>;

/// What each row says, without its checksum.
const TABLES: [(&str, &str); 8] = [
    ("event", "SELECT log_name, position, event_type, CAST(payload AS BLOB), tags, metadata FROM event_log"),
    ("snapshot", "SELECT log, kind, subject, at, schema, state FROM snapshot"),
    ("item", "SELECT partition_key, sub_key, item FROM \"qdb_crash_items\""),
    ("query_db_change", "SELECT query_db, version, kind, partition_key, sub_key FROM query_db_change"),
    ("projection", "SELECT name, log, checkpoint, rest FROM projection"),
    ("dead_letter", "SELECT projection, position, letter FROM dead_letter"),
    ("task_object", "SELECT bucket, key, version, content_type, recorded_at, length, bytes FROM task_object"),
    ("task_trigger", "SELECT bucket, trigger, kind, key, version, state, attempts, error FROM task_trigger"),
];

/// Reads what the `sqlite3` shell shows, of every table that it can read.
pub(super) fn read_sql(path: &Path) -> rusqlite::Result<Tables> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let read = |sql: &str| -> rusqlite::Result<BTreeSet<String>> {
        let mut statement = connection.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..columns).map(|column| Ok(format!("{:?}", row.get_ref(column)?)));
            Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
        })?;
        rows.collect()
    };
    Ok(TABLES.into_iter().filter_map(|(table, sql)| Some((table, read(sql).ok()?))).collect())
}
