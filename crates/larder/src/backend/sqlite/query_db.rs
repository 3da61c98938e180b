//! QueryDbs in the file: a table for each, made when it comes to be, with an index for each of its definition's.
//!
//! Values of index fields are kept in columns of their own: an item is parsed once, by the same code as in every
//! backend, and SQLite never looks into its JSON.

#[cfg(test)]
mod compare;
mod define;
mod feed;
#[cfg(test)]
mod random;
mod read;
mod rebuild;
mod registry;
mod remove;
mod row;
mod select;
mod table;
#[cfg(test)]
mod tests;
mod upsert;
mod verify;
mod write;

use rusqlite::{
    Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};

pub(super) use self::{
    feed::Feeds,
    read::{Tables, changes, count_items, info, infos, load, page, stats},
    verify::verify,
    write::{WriterQueryDb, checks_first, is_plain},
};

/// Binds a value that is borrowed.
fn bind(statement: &mut Statement<'_>, number: usize, value: ValueRef<'_>) -> rusqlite::Result<()> {
    struct Borrowed<'a>(ValueRef<'a>);

    impl ToSql for Borrowed<'_> {
        fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
            Ok(ToSqlOutput::Borrowed(self.0))
        }
    }
    statement.raw_bind_parameter(number, Borrowed(value))
}
