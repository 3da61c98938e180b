//! What a QueryDb is defined by: its key fields and indexes.

use serde::{Deserialize, Serialize};

use super::{key::KeyType, path::FieldPath};
use crate::{
    error::{Error, Result},
    limits::check_name,
};

/// The most indexes of a QueryDb.
const INDEXES: usize = 32;
/// The most key and sort fields of an index.
const FIELDS: usize = 8;

/// A field that takes part in a key, and its type.
///
/// ```
/// use larder::{Index, KeyField};
///
/// let index = Index::new("by_region", ["region"]).sort_by([KeyField::number("total_cents")]);
/// assert_eq!(index.sort[0].path, "total_cents");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyField {
    /// Where it is: `a.b` for a nested one, `\.` for a dot in a name.
    pub path: String,
    /// Its type.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

impl KeyField {
    /// A string field.
    pub fn string(path: impl Into<String>) -> Self {
        Self { path: path.into(), key_type: KeyType::String }
    }

    /// A number field.
    pub fn number(path: impl Into<String>) -> Self {
        Self { path: path.into(), key_type: KeyType::Number }
    }

    fn check(&self) -> Result<()> {
        self.path.parse::<FieldPath>().map(drop)
    }
}

/// A string field.
impl From<&str> for KeyField {
    fn from(path: &str) -> Self {
        Self::string(path)
    }
}

/// A string field.
impl From<String> for KeyField {
    fn from(path: String) -> Self {
        Self::string(path)
    }
}

/// What of an item a query over an index returns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexProjection {
    /// All of it.
    #[default]
    All,
    /// The sub id field and the index's own fields.
    KeysOnly,
    /// Those, and these top-level fields.
    Include(Vec<String>),
}

/// A secondary index: items by an ordered tuple of key fields, in the order of sort fields.
///
/// Sparse: an item that lacks one of its fields, or has null there, is not in it.
///
/// ```
/// use larder::{Index, QueryDbSpec};
///
/// let spec = QueryDbSpec::new().index(Index::new("by_region_status", ["region", "status"]).sort_by(["day"]));
/// assert_eq!(spec.indexes[0].name, "by_region_status");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The fields that a query gives values for, one or more.
    pub key: Vec<KeyField>,
    /// The fields that order items of equal key, before the full primary key does.
    #[serde(default)]
    pub sort: Vec<KeyField>,
    /// What a query over it returns.
    #[serde(default)]
    pub projection: IndexProjection,
}

impl Index {
    /// An index over these key fields.
    pub fn new(name: impl Into<String>, key: impl IntoIterator<Item: Into<KeyField>>) -> Self {
        let key = key.into_iter().map(Into::into).collect();
        Self { name: name.into(), key, sort: Vec::new(), projection: IndexProjection::All }
    }

    /// Orders items of equal key by these fields.
    #[must_use]
    pub fn sort_by(mut self, sort: impl IntoIterator<Item: Into<KeyField>>) -> Self {
        self.sort = sort.into_iter().map(Into::into).collect();
        self
    }

    /// Queries over it return the sub id field and its own fields only.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.projection = IndexProjection::KeysOnly;
        self
    }

    /// Queries over it return those, and these top-level fields.
    #[must_use]
    pub fn include(mut self, fields: impl IntoIterator<Item: Into<String>>) -> Self {
        self.projection = IndexProjection::Include(fields.into_iter().map(Into::into).collect());
        self
    }

    /// All of its fields, key fields first.
    pub fn fields(&self) -> impl Iterator<Item = &KeyField> {
        self.key.iter().chain(&self.sort)
    }

    fn check(&self) -> Result<()> {
        check_name("index", &self.name)?;
        if self.key.is_empty() {
            return Err(Error::invalid("index", format!("`{}` has no key field", self.name)));
        }
        let fields = self.key.len() + self.sort.len();
        if fields > FIELDS {
            return Err(Error::too_large("index fields", FIELDS as u64, fields as u64));
        }
        self.fields().try_for_each(KeyField::check)
    }
}

/// What a QueryDb is defined by: see [`Store::define`](crate::Store::define).
///
/// ```
/// use larder::{Index, KeyField, QueryDbSpec};
///
/// let spec = QueryDbSpec::new()
///     .sub_id_field(KeyField::number("line"))
///     .index(Index::new("by_sku", ["sku"]))
///     .ttl_field("expires")
///     .changes(true);
/// assert!(spec.keeps_changes());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryDbSpec {
    /// The field whose value is an item's sub key; without it, a partition holds one item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_id_field: Option<KeyField>,
    /// The secondary indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// The field with the time at which an item expires, in epoch seconds; without it, TTL is given per save.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_field: Option<String>,
    /// Whether its changes are kept, so that a feed of them can be resumed. `None` says nothing of it: a new QueryDb keeps
    /// none then, another one goes on as it does. What is known of a QueryDb has `Some(true)` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<bool>,
}

impl QueryDbSpec {
    /// No sub keys, no indexes, no TTL field, changes not kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes sub keys from this field, a string one unless told otherwise.
    #[must_use]
    pub fn sub_id_field(mut self, field: impl Into<KeyField>) -> Self {
        self.sub_id_field = Some(field.into());
        self
    }

    /// Adds an index.
    #[must_use]
    pub fn index(mut self, index: Index) -> Self {
        self.indexes.push(index);
        self
    }

    /// Takes the time at which an item expires from this field, in epoch seconds.
    #[must_use]
    pub fn ttl_field(mut self, field: impl Into<String>) -> Self {
        self.ttl_field = Some(field.into());
        self
    }

    /// Keeps changes (at least the last 10,000), so that a feed can be resumed after a restart; or no longer keeps them,
    /// and removes those that were kept.
    #[must_use]
    pub fn changes(mut self, keep: bool) -> Self {
        self.changes = Some(keep);
        self
    }

    /// Whether it says that changes are kept.
    #[must_use]
    pub fn keeps_changes(&self) -> bool {
        self.changes == Some(true)
    }

    /// The definition of a QueryDb that is defined so and was not there.
    #[must_use]
    pub(crate) fn settled(mut self) -> Self {
        self.changes = self.changes.filter(|keep| *keep);
        self
    }

    /// The index of this name.
    #[must_use]
    pub fn find_index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.name == name)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(field) = &self.sub_id_field {
            field.check()?;
        }
        if let Some(field) = &self.ttl_field {
            field.parse::<FieldPath>()?;
        }
        if self.indexes.len() > INDEXES {
            return Err(Error::too_large("indexes", INDEXES as u64, self.indexes.len() as u64));
        }
        for (n, index) in self.indexes.iter().enumerate() {
            index.check()?;
            if self.indexes[..n].iter().any(|other| other.name == index.name) {
                return Err(Error::invalid("index", format!("`{}` is there twice", index.name)));
            }
        }
        Ok(())
    }
}

/// What is known of a QueryDb.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryDbInfo {
    /// Its name.
    pub query_db: String,
    /// Its definition.
    pub spec: QueryDbSpec,
    /// The highest version it ever gave, which is the position of its last change.
    pub version: u64,
    /// The projection that alone writes it, if one does.
    pub owner: Option<String>,
}

impl QueryDbInfo {
    /// What is known of a QueryDb, for backends.
    #[must_use]
    pub fn new(query_db: String, spec: QueryDbSpec, version: u64, owner: Option<String>) -> Self {
        Self { query_db, spec, version, owner }
    }
}
