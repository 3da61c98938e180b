//! QueryDbs: a table for each, with a column for every field that an index names.
//!
//! Rust takes the key fields from an item once, when it is saved, so SQLite never looks into JSON, and every backend
//! understands an item alike. The registry (the table `query_db`) is the authority on names, columns and versions.

mod changes;
mod define;
mod item_row;
mod layout;
mod read;
mod registry;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub(super) use self::changes::read as read_changes;
pub(super) use self::{
    changes::Rings,
    layout::Layouts,
    read::{count_items, info, infos, load, page, stats},
    verify::verify,
    write::WriterQueryDb,
};
