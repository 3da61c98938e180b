//! What only a look inside can test; the contract itself is tested by the conformance suite.

use std::sync::Arc;

use super::select::Select;
use crate::{
    Config, Index, ItemQuery, KeyField, QueryDbSpec, Sort, Store,
    backend::{ItemSource, ItemsRead, sqlite::SqliteBackend},
    config::BackendConfig,
    error::Result,
    query_db::Plan,
    testing::ScratchDir,
};

fn spec() -> QueryDbSpec {
    let index = Index::new("by", ["a"]).sort_by([KeyField::string("s"), KeyField::number("n")]);
    QueryDbSpec::new().sub_id_field(KeyField::number("id")).index(index)
}

/// Every shape of a query reads an index, in its order.
#[test]
fn every_query_uses_an_index() -> Result<()> {
    let dir = ScratchDir::new().expect("a directory");
    let config = Config::sqlite(dir.path().join("store.db"));
    let BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!("it is a file") };
    let backend = Arc::new(SqliteBackend::open(&config, sqlite)?);
    let store = Store::with_backend(backend.clone());
    let query_db = store.define("Orders", spec()).wait()?;
    query_db.save("p", &serde_json::json!({ "id": 1, "a": "x", "s": "y", "n": 2 })).wait()?;
    let by = || ItemQuery::index("by", ["x"]);
    let queries = [
        ItemSource::Scan,
        ItemSource::Query(ItemQuery::key("p")),
        ItemSource::Query(ItemQuery::key("p").sort(Sort::between(1, 2))),
        ItemSource::Query(by()),
        ItemSource::Query(by().sort(Sort::begins_with("y"))),
        ItemSource::Query(by().sort(Sort::lt("z"))),
        ItemSource::Query(by().sort_prefix(["y"])),
        ItemSource::Query(by().sort_prefix(["y"]).sort(Sort::ge(1))),
    ];
    for source in queries {
        for descending in [false, true] {
            for continued in [false, true] {
                explain(&backend, source.clone(), descending, continued)?;
            }
        }
    }
    store.close().wait()
}

fn explain(backend: &SqliteBackend, source: ItemSource, descending: bool, continued: bool) -> Result<()> {
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
        let sort = match plan.order {
            crate::query_db::Order::Index { .. } => vec!["y".into(), 2.into()],
            _ => Vec::new(),
        };
        let cursor = continued.then(|| request.cursor(sort, ("p", 1).into()));
        let select = Select::new(&table, &plan, cursor.as_ref(), descending)?;
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.sql))?;
        let count = statement.parameter_count();
        let nulls = std::iter::repeat_n(rusqlite::types::Null, count);
        let steps: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))?
            .collect::<rusqlite::Result<_>>()?;
        let text = steps.join("; ");
        assert!(!text.contains("TEMP B-TREE"), "{}: {text}", select.sql);
        assert!(text.starts_with("SEARCH") && text.contains("INDEX"), "{}: {text}", select.sql);
        Ok(())
    })
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
