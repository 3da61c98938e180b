//! Queries over types and tags, and the append condition built on them.

use std::collections::BTreeSet;

use crate::{
    error::{Error, Result},
    event::Position,
    limits::{check_event_type, check_tag},
};

/// One alternative of a [`Query`]: any of its types *and* all of its tags.
///
/// ```
/// use larder::QueryItem;
///
/// let item = QueryItem::new().types(["StudentSubscribed"]).tag("student:s1");
/// assert!(item.matches("StudentSubscribed", &["course:c1".into(), "student:s1".into()]));
/// assert!(!item.matches("CourseDefined", &["student:s1".into()]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryItem {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    types: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
}

impl QueryItem {
    /// An item without types or tags; give it at least one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds event types: an event matches if its type is one of them. No types means every type.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types.extend(types.into_iter().map(Into::into));
        self
    }

    /// Adds tags: an event matches if it carries all of them.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Adds one tag.
    #[must_use]
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.tags([tag])
    }

    /// Its types, sorted.
    #[must_use]
    pub fn type_set(&self) -> &BTreeSet<String> {
        &self.types
    }

    /// Its tags, sorted.
    #[must_use]
    pub fn tag_set(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// Whether an event with this type and these tags matches.
    #[must_use]
    pub fn matches(&self, event_type: &str, tags: &[String]) -> bool {
        (self.types.is_empty() || self.types.contains(event_type))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }

    fn check(&self) -> Result<()> {
        if self.types.is_empty() && self.tags.is_empty() {
            let reason = "an item needs at least one type or tag; use `Query::all()` for every event";
            return Err(Error::invalid("query", reason));
        }
        self.types.iter().try_for_each(|event_type| check_event_type(event_type))?;
        self.tags.iter().try_for_each(|tag| check_tag(tag))
    }
}

/// Which events of a log: those that match any of its items, or all.
///
/// The semantics are those of the [DCB specification](https://dcb.events/specification/).
///
/// ```
/// use larder::{Query, QueryItem};
///
/// let query = Query::from([
///     QueryItem::new().types(["CourseDefined"]).tag("course:c1"),
///     QueryItem::new().tag("student:s1"),
/// ]);
/// assert!(query.matches("StudentSubscribed", &["student:s1".into()]));
/// assert!(Query::all().matches("Anything", &[]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Query {
    /// `None` means every event.
    items: Option<Vec<QueryItem>>,
}

/// The most items in one query.
const QUERY_ITEMS: usize = 1_000;

impl Query {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self { items: None }
    }

    /// Its items, or `None` if it is [`Query::all`].
    #[must_use]
    pub fn items(&self) -> Option<&[QueryItem]> {
        self.items.as_deref()
    }

    /// Whether an event with this type and these tags matches.
    #[must_use]
    pub fn matches(&self, event_type: &str, tags: &[String]) -> bool {
        self.items.as_ref().is_none_or(|items| items.iter().any(|item| item.matches(event_type, tags)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Some(items) = &self.items else { return Ok(()) };
        if items.is_empty() {
            let reason = "a query needs at least one item; use `Query::all()` for every event";
            return Err(Error::invalid("query", reason));
        }
        if items.len() > QUERY_ITEMS {
            return Err(Error::too_large("query items", QUERY_ITEMS as u64, items.len() as u64));
        }
        items.iter().try_for_each(QueryItem::check)
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self { items: Some(vec![item]) }
    }
}

impl<const N: usize> From<[QueryItem; N]> for Query {
    fn from(items: [QueryItem; N]) -> Self {
        Self { items: Some(items.into()) }
    }
}

impl From<Vec<QueryItem>> for Query {
    fn from(items: Vec<QueryItem>) -> Self {
        Self { items: Some(items) }
    }
}

impl From<&Query> for Query {
    fn from(query: &Query) -> Self {
        query.clone()
    }
}

/// A guard of an append: it fails if an event after `after` matches the query.
///
/// Build it from what a decision was based on: the query that was read, and that page's
/// [`through`](crate::Page::through).
///
/// ```
/// use larder::{AppendCondition, ErrorKind, NewEvent, Position, QueryItem, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("courses")?;
/// let once = AppendCondition {
///     fail_if_events_match: QueryItem::new().types(["CourseDefined"]).tag("course:c1").into(),
///     after: Position::START, // if any matches at all
/// };
/// let defined = || NewEvent::new("CourseDefined", &"c1").tag("course:c1");
/// log.append_if([defined()], once.clone()).wait()?;
/// let error = log.append_if([defined()], once).wait().unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::ConditionFailed { .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AppendCondition {
    /// Which events are in the way.
    pub fail_if_events_match: Query,
    /// Only events above this position count; [`Position::START`] means any at all.
    pub after: Position,
}
