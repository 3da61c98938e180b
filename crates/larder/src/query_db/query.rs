//! What a query over a QueryDb asks for.

use super::{filter::Filter, key::KeyValue};
use crate::{
    error::{Error, Result},
    limits::{check_key, check_name},
};

/// The items of a partition, or those of equal key in an index, in order.
///
/// ```
/// use larder::{ItemQuery, Sort, field};
///
/// let open_in_march = ItemQuery::index("by_region_status", ["eu", "open"])
///     .sort(Sort::begins_with("2026-03"))
///     .filter(field("total_cents").ge(1_000));
/// let lines = ItemQuery::key("order-1").sort(Sort::between("01", "10"));
/// # let _ = (open_in_march, lines);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ItemQuery {
    /// The key whose equality is required.
    pub source: QuerySource,
    /// Values of the index's first sort fields; the condition is on the one after them.
    pub sort_prefix: Vec<KeyValue>,
    /// The condition on the sub key, or on the index's next sort field.
    pub sort: Option<Sort>,
    /// The condition on any other field.
    pub filter: Option<Filter>,
}

/// The key whose equality a query requires.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum QuerySource {
    /// The partition key.
    Key(String),
    /// The key fields of an index.
    Index {
        /// The index.
        name: String,
        /// One value for each of its key fields.
        values: Vec<KeyValue>,
    },
}

impl ItemQuery {
    /// The items of this partition, in the order of their sub keys.
    pub fn key(partition: impl Into<String>) -> Self {
        Self::new(QuerySource::Key(partition.into()))
    }

    /// The items with these values in the index's key fields, in the order of its sort fields.
    pub fn index(name: impl Into<String>, values: impl IntoIterator<Item: Into<KeyValue>>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::new(QuerySource::Index { name: name.into(), values })
    }

    fn new(source: QuerySource) -> Self {
        Self { source, sort_prefix: Vec::new(), sort: None, filter: None }
    }

    /// Requires the index's first sort fields to have these values; a [`sort`](Self::sort) condition is on the one
    /// after them.
    #[must_use]
    pub fn sort_prefix(mut self, values: impl IntoIterator<Item: Into<KeyValue>>) -> Self {
        self.sort_prefix = values.into_iter().map(Into::into).collect();
        self
    }

    /// Requires this of the sub key, or of the index's next sort field.
    #[must_use]
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    /// Requires this of any fields. Items that do not pass are read, and left out.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter {
            Some(first) => first.and(filter),
            None => filter,
        });
        self
    }

    /// What can be checked without the QueryDb's definition.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.source {
            QuerySource::Key(partition) => check_key("partition key", partition)?,
            QuerySource::Index { name, values } => {
                check_name("index", name)?;
                values.iter().try_for_each(|value| value.check("index key"))?;
            }
        }
        if matches!(self.source, QuerySource::Key(_)) && !self.sort_prefix.is_empty() {
            return Err(Error::invalid("sort prefix", "a partition has no sort fields but its sub key"));
        }
        self.sort_prefix.iter().try_for_each(|value| value.check("sort prefix"))?;
        if let Some(sort) = &self.sort {
            sort.values().try_for_each(|value| value.check("sort"))?;
        }
        self.filter.as_ref().map_or(Ok(()), |filter| filter.compile().map(drop))
    }
}

impl From<&Self> for ItemQuery {
    fn from(query: &Self) -> Self {
        query.clone()
    }
}

/// A condition on the sub key or on a sort field.
///
/// ```
/// use larder::Sort;
///
/// assert_ne!(Sort::ge("2026-03-01"), Sort::gt("2026-03-01"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// It is this.
    Eq(KeyValue),
    /// It is below this.
    Lt(KeyValue),
    /// It is this or below.
    Le(KeyValue),
    /// It is above this.
    Gt(KeyValue),
    /// It is this or above.
    Ge(KeyValue),
    /// It is from the first to the second, both included.
    Between(KeyValue, KeyValue),
    /// It is a string that begins so.
    BeginsWith(String),
}

impl Sort {
    /// It is this.
    pub fn eq(value: impl Into<KeyValue>) -> Self {
        Self::Eq(value.into())
    }

    /// It is below this.
    pub fn lt(value: impl Into<KeyValue>) -> Self {
        Self::Lt(value.into())
    }

    /// It is this or below.
    pub fn le(value: impl Into<KeyValue>) -> Self {
        Self::Le(value.into())
    }

    /// It is above this.
    pub fn gt(value: impl Into<KeyValue>) -> Self {
        Self::Gt(value.into())
    }

    /// It is this or above.
    pub fn ge(value: impl Into<KeyValue>) -> Self {
        Self::Ge(value.into())
    }

    /// It is from the first to the second, both included.
    pub fn between(from: impl Into<KeyValue>, to: impl Into<KeyValue>) -> Self {
        Self::Between(from.into(), to.into())
    }

    /// It is a string that begins so.
    pub fn begins_with(prefix: impl Into<String>) -> Self {
        Self::BeginsWith(prefix.into())
    }

    /// The values it compares with; none for a prefix.
    pub(crate) fn values(&self) -> impl Iterator<Item = &KeyValue> {
        let (first, second) = match self {
            Self::Eq(value) | Self::Lt(value) | Self::Le(value) | Self::Gt(value) | Self::Ge(value) => {
                (Some(value), None)
            }
            Self::Between(from, to) => (Some(from), Some(to)),
            Self::BeginsWith(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}
