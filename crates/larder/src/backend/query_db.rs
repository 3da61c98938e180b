//! What a backend is asked about QueryDbs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    query_db::{Cursor, ItemKey, ItemQuery, Number, QueryDbInfo, QueryDbSpec, Saved, Ttl},
};

/// A change of a QueryDb. An undefined QueryDb comes to be, with the default definition, by its first save or
/// increment; everything else finds nothing in it.
///
/// Each change of an item takes the QueryDb's next version. Expired items count as absent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum QueryDbOperation {
    /// Defines a QueryDb, or gives one more indexes. `InvalidArgument` if the key layout (`sub_id_field`,
    /// `ttl_field`) differs from today's, or an item violates a new index, which the error names. An index that is
    /// there already must be the same; those that are not named stay. `changes` is taken over, if it says something.
    Define {
        /// The QueryDb.
        query_db: Arc<str>,
        /// Its definition.
        spec: QueryDbSpec,
    },
    /// Removes a QueryDb with its items and changes, which takes a version and is announced as `Replaced`. An unknown one
    /// is fine.
    Drop {
        /// The QueryDb.
        query_db: Arc<str>,
    },
    /// Removes an index. An unknown one is fine.
    DropIndex {
        /// The QueryDb.
        query_db: Arc<str>,
        /// The index.
        index: String,
    },
    /// Saves an item.
    Save {
        /// The QueryDb.
        query_db: Arc<str>,
        /// What to save.
        item: ItemData,
    },
    /// Saves items in order, all or none.
    SaveAll {
        /// The QueryDb.
        query_db: Arc<str>,
        /// What to save.
        items: Vec<ItemData>,
    },
    /// Deletes items, those that are there.
    Delete {
        /// The QueryDb.
        query_db: Arc<str>,
        /// Their keys.
        keys: Vec<ItemKey>,
    },
    /// Deletes every item of a partition.
    DeletePartition {
        /// The QueryDb.
        query_db: Arc<str>,
        /// The partition key.
        partition: String,
    },
    /// Adds to a numeric field, creating the item and the field at 0. Keeps the item's TTL.
    Increment {
        /// The QueryDb.
        query_db: Arc<str>,
        /// The item.
        key: ItemKey,
        /// The field's path.
        field: String,
        /// What to add.
        by: Number,
    },
    /// Deletes items that have expired, the oldest first, at most 10,000. What is damaged is passed over.
    PurgeExpired {
        /// The QueryDb.
        query_db: Arc<str>,
        /// The most items.
        limit: u64,
    },
    /// Fails with `Conflict` unless the item has this version; `None` requires that there is no visible item.
    RequireVersion {
        /// The QueryDb.
        query_db: Arc<str>,
        /// The item.
        key: ItemKey,
        /// Its required version.
        version: Option<u64>,
    },
}

impl QueryDbOperation {
    /// The QueryDb whose items it writes, which must not be another's; for backends. Purging is anybody's.
    #[must_use]
    pub fn written(&self) -> Option<&Arc<str>> {
        match self {
            Self::Save { query_db, .. }
            | Self::SaveAll { query_db, .. }
            | Self::Delete { query_db, .. }
            | Self::DeletePartition { query_db, .. }
            | Self::Increment { query_db, .. }
            | Self::Drop { query_db } => Some(query_db),
            _ => None,
        }
    }

    /// Refuses a write of what a projection owns; for backends.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the owner.
    pub fn check_owner(query_db: &str, owner: Option<&str>, projecting: Option<&str>) -> Result<()> {
        match owner {
            Some(owner) if projecting != Some(owner) => {
                let reason = format!("`{query_db}` is written by projection `{owner}` alone");
                Err(Error::invalid("QueryDb", reason))
            }
            _ => Ok(()),
        }
    }
}

/// An item to save; its JSON is not yet checked against the definition.
#[derive(Debug, Clone)]
pub struct ItemData {
    /// The partition key.
    pub partition: String,
    /// The item, as JSON text.
    pub json: String,
    /// When it expires; `None` clears an old TTL. With a TTL field in the definition, it must be `None`.
    pub ttl: Option<Ttl>,
    /// What must hold of the item that is there.
    pub mode: SaveMode,
}

/// What must hold of the item that is there before a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaveMode {
    /// Nothing.
    #[default]
    Overwrite,
    /// There is none: else `AlreadyExists`.
    Init,
    /// There is one: else `NotFound`.
    Update,
    /// It has this version, `None` or 0 being absent: else `Conflict`.
    IfVersion(Option<u64>),
}

impl SaveMode {
    /// Checks it against the version of the visible item that is there, if one is; for backends.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, `Conflict`.
    pub fn check(self, key: &ItemKey, visible: Option<u64>) -> Result<()> {
        let mode = match self {
            // No item has version 0: it stands for absent, as in the error.
            Self::IfVersion(Some(0)) => Self::IfVersion(None),
            mode => mode,
        };
        let kind = match (mode, visible) {
            (Self::Overwrite, _) | (Self::Init, None) | (Self::Update, Some(_)) => return Ok(()),
            (Self::Init, Some(_)) => ErrorKind::AlreadyExists,
            (Self::Update, None) => ErrorKind::NotFound,
            (Self::IfVersion(expected), actual) if expected == actual => return Ok(()),
            (Self::IfVersion(expected), actual) => {
                ErrorKind::Conflict { expected: expected.unwrap_or(0), actual: actual.unwrap_or(0) }
            }
        };
        Err(Error::new(kind).with("item", key.to_string()))
    }
}

/// Numbers about a QueryDb.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryDbStats {
    /// The QueryDb.
    pub info: QueryDbInfo,
    /// Its visible items.
    pub items: u64,
    /// Items that have expired and are not purged yet.
    pub expired: u64,
}

impl QueryDbStats {
    /// The numbers of a QueryDb, for backends.
    #[must_use]
    pub fn new(info: QueryDbInfo, items: u64, expired: u64) -> Self {
        Self { info, items, expired }
    }
}

/// What an operation on a QueryDb answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QueryDbOutcome {
    /// To a save.
    Saved(Saved),
    /// To several.
    AllSaved(Vec<Saved>),
    /// To a delete or a purge: how many items were there.
    Removed(u64),
    /// To an increment: the new total.
    Incremented(Number),
}

/// Which items to read.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each read, not many in memory")]
pub enum ItemSource {
    /// All, in key order.
    Scan,
    /// Those that a query names, in its order.
    Query(ItemQuery),
}

/// A request for a page of items.
#[derive(Debug, Clone)]
pub struct ItemsRead {
    /// The QueryDb.
    pub query_db: Arc<str>,
    /// Which items.
    pub source: ItemSource,
    /// Exclusive. It belongs to this listing: that was checked.
    pub after: Option<Cursor>,
    /// The most items.
    pub limit: Option<usize>,
    /// Ends the page with the item that reaches so many bytes.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}

/// A request for a page of changes.
#[derive(Debug, Clone)]
pub struct ChangesRead {
    /// The QueryDb.
    pub query_db: Arc<str>,
    /// Exclusive: the version after which to start; `None` starts at the oldest that is kept.
    pub after: Option<u64>,
    /// The most changes.
    pub limit: Option<usize>,
    /// Ignored: changes are small.
    pub max_bytes: Option<usize>,
    /// Backwards.
    pub descending: bool,
}
