//! Cases of the rules `el_*`.

pub(super) mod append;
pub(super) mod bulk;
pub(super) mod compaction;
pub(super) mod concurrency;
pub(super) mod condition;
pub(super) mod in_flight;
pub(super) mod memory_use;
pub(super) mod names;
pub(super) mod payload;
pub(super) mod query;
pub(super) mod read;
pub(super) mod retry;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
pub(super) mod subscription;
pub(super) mod trim;
