//! What only a look inside can test; the contract itself is tested by the conformance suite.

use std::sync::Arc;

use super::{
    remove::{expired_keys, partition_keys},
    select::Select,
};
use crate::{
    Config, Index, ItemQuery, KeyField, QueryDbSpec, Sort, Store,
    backend::{ItemSource, ItemsRead, sqlite::SqliteBackend},
    config::BackendConfig,
    error::Result,
    query_db::{KeyValue, Order, Plan},
    testing::ScratchDir,
};

fn spec() -> QueryDbSpec {
    let index = Index::new("by", ["a"]).sort_by([KeyField::string("s"), KeyField::number("n")]);
    QueryDbSpec::new().sub_id_field(KeyField::number("id")).index(index)
}

/// Every shape of a query reads an index, in its order, and so do purges.
#[test]
fn every_query_uses_an_index() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let config = Config::sqlite(dir.path().join("store.db"));
    let BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!("it is a file") };
    let backend = Arc::new(SqliteBackend::open(&config, sqlite)?);
    let store = Store::with_backend(backend.clone());
    let spec = spec()
        .index(Index::new("unsorted", ["a"]))
        .index(Index::new("wide", ["a", "s"]).sort_by([KeyField::number("n")]))
        .index(Index::new("twice", ["a"]).sort_by([KeyField::string("a"), KeyField::number("n")]));
    let query_db = store.define("Orders", spec).wait()?;
    query_db.save("p", &serde_json::json!({ "id": 1, "a": "x", "s": "y", "n": 2 })).wait()?;
    let by = || ItemQuery::index("by", ["x"]);
    let wide = || ItemQuery::index("wide", ["x", "y"]);
    let twice = || ItemQuery::index("twice", ["x"]);
    let queries = [
        ItemSource::Scan,
        ItemSource::Query(ItemQuery::key("p")),
        ItemSource::Query(ItemQuery::key("p").sort(Sort::between(1, 2))),
        ItemSource::Query(by()),
        ItemSource::Query(by().sort(Sort::begins_with("y"))),
        ItemSource::Query(by().sort(Sort::lt("z"))),
        ItemSource::Query(by().sort_prefix(["y"])),
        ItemSource::Query(by().sort_prefix(["y"]).sort(Sort::ge(1))),
        ItemSource::Query(ItemQuery::index("unsorted", ["x"])),
        ItemSource::Query(wide()),
        ItemSource::Query(wide().sort(Sort::gt(1))),
        ItemSource::Query(twice()),
        ItemSource::Query(twice().sort(Sort::eq("x"))),
        ItemSource::Query(twice().sort_prefix(["x"]).sort(Sort::ge(1))),
    ];
    for source in queries {
        for descending in [false, true] {
            for continued in [false, true] {
                explain_read(&backend, source.clone(), descending, continued)?;
            }
        }
    }
    let shared = &backend.shared;
    shared.pool.snapshot(|connection| {
        let table = shared.query_dbs.get(connection, "Orders")?.expect("it was defined");
        explain(connection, &expired_keys(&table))?;
        explain(connection, &partition_keys(&table))
    })?;
    store.close().wait()
}

fn explain_read(
    backend: &SqliteBackend,
    source: ItemSource,
    descending: bool,
    continued: bool,
) -> Result<()> {
    let request = ItemsRead {
        query_db: "Orders".into(),
        source,
        after: None,
        limit: None,
        max_bytes: None,
        descending,
    };
    let shared = &backend.shared;
    shared.pool.snapshot(|connection| {
        let table = shared.query_dbs.get(connection, "Orders")?.expect("it was defined");
        let plan = Plan::new(&table.definition, &request.source)?;
        let sort: Vec<KeyValue> = match plan.order {
            Order::Index { index, .. } => {
                let sort = table.definition.spec.indexes[index].sort.iter();
                sort.map(|field| if field.path == "n" { 2.into() } else { "x".into() }).collect()
            }
            _ => Vec::new(),
        };
        let cursor = continued.then(|| request.cursor(None, sort, ("p", 1).into()));
        explain(connection, &Select::new(&table, &plan, cursor.as_ref(), descending).sql)
    })
}

/// Asserts that a statement goes through an index, in its order.
fn explain(connection: &rusqlite::Connection, sql: &str) -> Result<()> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let count = statement.parameter_count();
    let nulls = std::iter::repeat_n(rusqlite::types::Null, count);
    let steps: Vec<String> = statement
        .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))?
        .collect::<rusqlite::Result<_>>()?;
    let text = steps.join("; ");
    assert!(!text.contains("TEMP B-TREE"), "{sql}: {text}");
    assert!(text.starts_with("SEARCH") && text.contains("INDEX"), "{sql}: {text}");
    Ok(())
}

/// What the `sqlite3` shell shows is part of the product.
#[test]
fn a_table_reads_well_in_the_shell() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    for name in ["Orders", "orders", "a.b", "a:b", "a-b"] {
        store.query_db(name)?.save("p", &serde_json::json!({ "name": name })).wait()?;
    }
    let connection = rusqlite::Connection::open(&path)?;
    for (table, name) in
        [("qdb_Orders", "Orders"), ("qdb_orders_2", "orders"), ("qdb_a_b", "a.b"), ("qdb_a_b_3", "a-b")]
    {
        let sql = format!("SELECT partition_key, item FROM {table} LIMIT 5");
        let row: (String, String) = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        assert_eq!(row, ("p".into(), format!("{{\"name\":\"{name}\"}}")));
    }
    drop(connection);
    store.close().wait()
}

/// A store of three items, and the path of its file.
fn store_of_three(dir: &ScratchDir) -> Result<(Store, std::path::PathBuf)> {
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let query_db = store.define("Orders", spec().changes(true)).wait()?;
    for id in 1..=3 {
        query_db.save("p", &serde_json::json!({ "id": id, "a": "x", "s": "y", "n": 2 })).wait()?;
    }
    Ok((store, path))
}

/// Whatever another tool has changed, `verify` finds.
#[test]
fn verify_finds_what_is_wrong() -> Result<()> {
    let index = "query_db_1_index_1";
    let wrong = [
        "UPDATE qdb_Orders SET item = replace(item, 'x', 'z') WHERE sub_key = 1".to_owned(),
        "UPDATE qdb_Orders SET k1 = 'z' WHERE sub_key = 1".to_owned(),
        "UPDATE qdb_Orders SET expires_at = 1 WHERE sub_key = 1".to_owned(),
        "UPDATE qdb_Orders SET version = 9 WHERE sub_key = 1".to_owned(),
        "UPDATE qdb_Orders SET partition_key = 'q' WHERE sub_key = 1".to_owned(),
        format!("DROP INDEX {index}; CREATE INDEX {index} ON qdb_Orders (k2, partition_key, sub_key)"),
        format!("DROP INDEX {index}"),
        "UPDATE query_db SET version = 7".to_owned(),
        "UPDATE query_db SET spec = replace(spec, 'by', 'bz')".to_owned(),
        "UPDATE query_db_change SET kind = 3 WHERE version = 2".to_owned(),
        "DELETE FROM query_db_change WHERE version = 2".to_owned(),
        "DELETE FROM query_db_change WHERE version = 3".to_owned(),
        "INSERT INTO query_db_change VALUES (9, 1, 1, 'p', 1, 0)".to_owned(),
        "DELETE FROM query_db".to_owned(),
        "CREATE TABLE qdb_other (a)".to_owned(),
    ];
    for sql in wrong {
        let dir = ScratchDir::new().expect("a directory");
        let (store, path) = store_of_three(&dir)?;
        let verify = |store: &Store| store.verify(crate::Progress::default()).wait();
        let report = verify(&store)?;
        assert!(report.is_sound() && (report.items, report.index_entries) == (3, 6), "{report:?}");
        store.close().wait()?;
        rusqlite::Connection::open(&path)?.execute_batch(&sql)?;
        let store = Store::open(Config::sqlite(&path)).wait()?;
        assert!(!verify(&store)?.is_sound(), "{sql}");
        store.close().wait()?;
    }
    Ok(())
}

/// An index that was dropped leaves values in columns that another one shares: nothing is wrong with that.
#[test]
fn an_index_that_shared_a_column_can_be_dropped() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let (store, path) = store_of_three(&dir)?;
    let orders = store.define("Orders", spec().index(Index::new("short", ["a"]))).wait()?;
    orders.save("p", &serde_json::json!({ "id": 4, "a": "x" })).wait()?;
    orders.drop_index("short").wait()?;
    assert_eq!(orders.count_items(ItemQuery::index("by", ["x"])).wait()?, 3);
    let report = store.verify(crate::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    store.close().wait()?;
    rusqlite::Connection::open(&path)?.execute_batch("UPDATE qdb_Orders SET k1 = 'z' WHERE sub_key = 4")?;
    let store = Store::open(Config::sqlite(&path)).wait()?;
    assert!(!store.verify(crate::Progress::default()).wait()?.is_sound());
    store.close().wait()
}

/// A damaged item is an error from every read and guard, and can be overwritten or deleted.
#[test]
fn a_damaged_item_is_reported_and_can_be_mended() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let (store, path) = store_of_three(&dir)?;
    store.close().wait()?;
    let damage = "UPDATE qdb_Orders SET item = replace(item, 'y', 'z'), expires_at = 1 WHERE sub_key < 3";
    rusqlite::Connection::open(&path)?.execute_batch(damage)?;
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let orders = store.query_db("Orders")?;
    let item = serde_json::json!({ "id": 1, "a": "x" });
    let corrupted = |result: Result<()>| {
        assert_eq!(result.unwrap_err().kind(), &crate::ErrorKind::Corrupted);
    };
    corrupted(orders.load_one(("p", 1)).wait().map(drop));
    corrupted(orders.load("p").wait().map(drop));
    corrupted(orders.scan().wait().map(drop));
    corrupted(orders.query(ItemQuery::index("by", ["x"])).wait().map(drop));
    corrupted(orders.count_items(ItemQuery::key("p")).wait().map(drop));
    corrupted(orders.save("p", &item).if_version(1).wait().map(drop));
    corrupted(orders.save("p", &item).if_absent().wait().map(drop));
    corrupted(orders.increment(("p", 1), "n", 1).wait().map(drop));
    orders.save("p", &item).wait()?;
    assert_eq!(orders.load_one(("p", 1)).wait()?.map(|item| item.version), Some(4));
    assert_eq!(orders.delete_one(("p", 2)).wait()?, 1);
    assert_eq!(orders.scan().wait()?.items.len(), 2);
    assert!(store.verify(crate::Progress::default()).wait()?.is_sound());
    store.close().wait()
}

/// Also bytes that are no text, and versions that are none, can be overwritten and deleted.
#[test]
fn whatever_is_damaged_can_be_mended() -> Result<()> {
    for damage in [
        "item = CAST(x'7bff7d' AS TEXT)",
        "version = -1",
        "expires_at = -1",
        "item = CAST(x'7bff7d' AS TEXT), expires_at = 1",
        "k1 = CAST(x'ff' AS TEXT)",
        "checksum = -1",
    ] {
        let dir = ScratchDir::new().expect("a directory");
        let (store, path) = store_of_three(&dir)?;
        store.close().wait()?;
        let sql = format!("UPDATE qdb_Orders SET {damage}");
        rusqlite::Connection::open(&path)?.execute_batch(&sql)?;
        let store = Store::open(Config::sqlite(&path)).wait()?;
        let orders = store.query_db("Orders")?;
        let corrupted = orders.load_one(("p", 1)).wait().unwrap_err();
        assert_eq!(corrupted.kind(), &crate::ErrorKind::Corrupted, "{damage}");
        orders.save("p", &serde_json::json!({ "id": 1, "a": "x" })).wait()?;
        assert_eq!(orders.load_one(("p", 1)).wait()?.map(|item| item.version), Some(4), "{damage}");
        assert_eq!(orders.delete_one(("p", 2)).wait()?, 1, "{damage}");
        assert_eq!(orders.delete("p").wait()?, 2, "{damage}");
        assert_eq!(orders.scan().wait()?.items, [], "{damage}");
        assert!(store.verify(crate::Progress::default()).wait()?.is_sound(), "{damage}");
        store.close().wait()?;
    }
    Ok(())
}

/// A damaged item that may have expired stays, and keeps no other from being purged.
#[test]
fn purging_passes_over_what_is_damaged() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let past = |seconds| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let orders = store.query_db("Orders")?;
    for (key, seconds) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        orders.save(key, &serde_json::json!({ "name": key })).ttl(past(seconds)).wait()?;
    }
    store.close().wait()?;
    let damage = "UPDATE qdb_Orders SET item = CAST(x'ff' AS TEXT) WHERE partition_key = 'a';
                  UPDATE qdb_Orders SET item = '{}' WHERE partition_key = 'c'";
    rusqlite::Connection::open(&path)?.execute_batch(damage)?;
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let orders = store.query_db("Orders")?;
    assert_eq!(orders.purge_expired(1).wait()?, 1, "the first that is whole");
    assert_eq!(orders.purge_expired(9).wait()?, 1);
    assert_eq!(orders.purge_expired(9).wait()?, 0);
    let findings = store.verify(crate::Progress::default()).wait()?.findings;
    assert_eq!(findings.len(), 3, "two items, and their places: {findings:?}");
    store.close().wait()
}
