//! How SQLite goes about a statement, for tests: what is asked all the time must not read a whole table, nor sort.

use rusqlite::{Connection, types::Null};

/// An empty file's tables.
pub(super) fn tables() -> Connection {
    let connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(include_str!("sql/schema.sql")).expect("the schema");
    connection
}

/// Asserts that a statement reads this index alone, as far as these columns lead, in its order.
#[track_caller]
pub(super) fn searches(connection: &Connection, sql: &str, index: &str, columns: &str) {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
    let parameters = std::iter::repeat_n(Null, statement.parameter_count());
    let steps =
        statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3)).expect("a plan");
    let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().expect("its steps");
    let [step] = &steps[..] else { panic!("{sql}: {steps:?}") };
    let how = step.split_once(" USING ").map(|(search, how)| (search.split(' ').next(), how));
    let expected = format!("{index} ({columns})");
    let is_it = how.is_some_and(|(search, how)| search == Some("SEARCH") && how.ends_with(&expected));
    assert!(is_it, "{sql}: {step}, it should be {expected}");
}
