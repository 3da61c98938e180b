//! Those that are compared: Larder, the floors beneath it, the rivals beside it.

pub mod bare_log;
pub mod cqrs_es;
pub mod item_table;
pub mod kv;
pub mod larder;
pub mod text_table;
pub mod umadb;
