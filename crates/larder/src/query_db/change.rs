//! Changes of a QueryDb.

use super::key::ItemKey;

/// A committed change of a QueryDb.
///
/// ```
/// use larder::{ChangeKind, Store};
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::memory();
/// let customers = store.query_db("Customers")?;
/// let mut changes = customers.changes();
/// customers.save("c1", &serde_json::json!({ "name": "Ada" })).wait()?;
/// let change = changes.try_next().wait()?.expect("the store is open");
/// assert_eq!((change.kind, change.version), (ChangeKind::Added, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its place among the QueryDb's changes, and the item's version from then on.
    pub version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The item's key; `None` if everything was [replaced](ChangeKind::Replaced).
    pub key: Option<ItemKey>,
}

impl Change {
    /// A change, for backends.
    #[must_use]
    pub fn new(version: u64, kind: ChangeKind, key: Option<ItemKey>) -> Self {
        Self { version, kind, key }
    }
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It was saved; no visible item had the key.
    Added,
    /// It was saved over a visible item.
    Updated,
    /// It is gone.
    Removed {
        /// Why.
        reason: Removal,
    },
    /// All items were replaced at once: by a rebuild, or, with none, when the QueryDb was dropped.
    Replaced,
}

/// Why an item was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// It was deleted.
    Deleted,
    /// It had expired, and was purged.
    Expired,
}

impl ChangeKind {
    /// Its name, in the words of the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Removed { .. } => "removed",
            Self::Replaced => "replaced",
        }
    }
}
