//! A query resolved against a definition: an order, what is equal at its start, and a range of what comes next.

use std::ops::Bound;

use super::{
    document::Json,
    filter::CompiledFilter,
    index::{KeyField, QueryDbSpec},
    item::Definition,
    key::{KeyType, KeyValue},
    query::{ItemQuery, QuerySource, Sort},
};
use crate::{
    backend::ItemSource,
    error::{Error, Result},
};

/// The most items that a page looks at.
pub(crate) const SCAN_BUDGET: usize = 10_000;

/// What to read, in terms of an order.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) order: Order,
    /// What the next component must be.
    pub(crate) range: Range,
    /// What an item must pass.
    pub(crate) filter: Option<CompiledFilter>,
}

/// An order of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// By (partition key, sub key); all of them.
    Everything,
    /// By sub key, of this partition.
    Partition(String),
    /// By an index's fields and the primary key, of those whose first fields are these.
    Index {
        /// Which of the definition's indexes.
        index: usize,
        /// The values of all key fields, and of the first sort fields.
        equal: Vec<KeyValue>,
    },
}

/// A range of values of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: Bound<KeyValue>,
    pub(crate) high: Bound<KeyValue>,
}

impl Range {
    const EVERYTHING: Self = Self { low: Bound::Unbounded, high: Bound::Unbounded };
}

impl Plan {
    /// Resolves what is to be read.
    ///
    /// # Errors
    /// `InvalidArgument`: an unknown index, a number of values other than its key fields, a value of another type than
    /// its field, a condition where no sort field is left.
    pub(crate) fn new(definition: &Definition, source: &ItemSource) -> Result<Self> {
        match source {
            ItemSource::Scan => Ok(Self { order: Order::Everything, range: Range::EVERYTHING, filter: None }),
            ItemSource::Query(query) => Self::of_query(&definition.spec, query),
        }
    }

    /// Whether an item passes the filter.
    ///
    /// # Errors
    /// `Corrupted` if it is no JSON object.
    pub(crate) fn passes(&self, json: &str) -> Result<bool> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let json = Json::parse_item(json)
            .map_err(|error| Error::corrupted("an item that is no JSON object").caused_by(error))?;
        Ok(filter.matches(&json))
    }

    fn of_query(spec: &QueryDbSpec, query: &ItemQuery) -> Result<Self> {
        let (order, next) = match &query.source {
            QuerySource::Key(partition) => {
                let sub_type = spec.sub_id_field.as_ref().map_or(KeyType::String, |field| field.key_type);
                (Order::Partition(partition.clone()), Some((sub_type, "the sub key")))
            }
            QuerySource::Index { name, values } => index_order(spec, name, values, &query.sort_prefix)?,
        };
        let range = match (&query.sort, next) {
            (None, _) => Range::EVERYTHING,
            (Some(_), None) => {
                return Err(Error::invalid("sort", "the index has no sort field left for a condition"));
            }
            (Some(sort), Some((key_type, field))) => sort_range(sort, key_type, field)?,
        };
        let filter = query.filter.as_ref().map(super::filter::Filter::compile).transpose()?;
        Ok(Self { order, range, filter })
    }
}

/// An order, and the type and path of the component that a sort condition is on.
type OrderAndNext<'a> = (Order, Option<(KeyType, &'a str)>);

fn index_order<'a>(
    spec: &'a QueryDbSpec,
    name: &str,
    values: &[KeyValue],
    sort_prefix: &[KeyValue],
) -> Result<OrderAndNext<'a>> {
    let Some(number) = spec.indexes.iter().position(|index| index.name == name) else {
        let names: Vec<&str> = spec.indexes.iter().map(|index| index.name.as_str()).collect();
        let there = if names.is_empty() { "there is none".into() } else { names.join(", ") };
        return Err(Error::invalid("index", format!("there is no index `{name}`"))
            .with_hint(format!("the QueryDb's indexes: {there}")));
    };
    let index = &spec.indexes[number];
    if values.len() != index.key.len() {
        let reason =
            format!("index `{name}` has {} key fields, {} values were given", index.key.len(), values.len());
        return Err(Error::invalid("index key", reason));
    }
    if sort_prefix.len() > index.sort.len() {
        let reason = format!(
            "index `{name}` has {} sort fields, {} values were given",
            index.sort.len(),
            sort_prefix.len()
        );
        return Err(Error::invalid("sort prefix", reason));
    }
    let equal: Vec<KeyValue> = values.iter().chain(sort_prefix).cloned().collect();
    for (field, value) in index.key.iter().zip(values) {
        check_type(value, field.key_type, &field.path, "index key")?;
    }
    for (field, value) in index.sort.iter().zip(sort_prefix) {
        check_type(value, field.key_type, &field.path, "sort prefix")?;
    }
    let next =
        index.sort.get(sort_prefix.len()).map(|KeyField { path, key_type }| (*key_type, path.as_str()));
    Ok((Order::Index { index: number, equal }, next))
}

fn check_type(value: &KeyValue, key_type: KeyType, path: &str, field: &'static str) -> Result<()> {
    if value.key_type() == key_type {
        return Ok(());
    }
    let reason = format!("`{path}` is a {key_type} field, `{value}` is a {}", value.key_type());
    Err(Error::invalid(field, reason))
}

fn sort_range(sort: &Sort, key_type: KeyType, field: &str) -> Result<Range> {
    sort.values().try_for_each(|value| check_type(value, key_type, field, "sort"))?;
    let (low, high) = match sort.clone() {
        Sort::Eq(value) => (Bound::Included(value.clone()), Bound::Included(value)),
        Sort::Lt(value) => (Bound::Unbounded, Bound::Excluded(value)),
        Sort::Le(value) => (Bound::Unbounded, Bound::Included(value)),
        Sort::Gt(value) => (Bound::Excluded(value), Bound::Unbounded),
        Sort::Ge(value) => (Bound::Included(value), Bound::Unbounded),
        Sort::Between(low, high) => (Bound::Included(low), Bound::Included(high)),
        Sort::BeginsWith(prefix) => {
            check_type(&KeyValue::String(prefix.clone()), key_type, field, "sort")?;
            let high = after_prefix(&prefix).map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()));
            (Bound::Included(prefix.into()), high)
        }
    };
    Ok(Range { low, high })
}

/// The least string that is greater than everything with this prefix; `None` if there is none.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.trim_end_matches(char::MAX).to_owned();
    let last = end.pop()?;
    // Code points and UTF-8 bytes have the same order; surrogates are no characters.
    let next = if last == '\u{d7ff}' { '\u{e000}' } else { char::from_u32(u32::from(last) + 1)? };
    end.push(next);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query_db::Index;

    fn plan(query: ItemQuery) -> Result<Plan> {
        let index = Index::new("i", ["a"]).sort_by([KeyField::string("s"), KeyField::number("n")]);
        let definition =
            Definition::new(QueryDbSpec::new().sub_id_field(KeyField::number("id")).index(index))?;
        Plan::new(&definition, &ItemSource::Query(query))
    }

    #[test]
    fn types_and_numbers_of_values_are_checked() {
        assert!(plan(ItemQuery::index("i", ["x"]).sort(Sort::ge("s"))).is_ok());
        assert!(plan(ItemQuery::index("i", ["x"]).sort_prefix(["s"]).sort(Sort::ge(1))).is_ok());
        assert!(plan(ItemQuery::key("p").sort(Sort::lt(1))).is_ok());
        for wrong in [
            ItemQuery::index("j", ["x"]),
            ItemQuery::index("i", [1]),
            ItemQuery::index("i", ["x", "y"]),
            ItemQuery::index("i", ["x"]).sort(Sort::ge(1)),
            ItemQuery::index("i", ["x"]).sort_prefix(["s"]).sort(Sort::begins_with("1")),
            ItemQuery::key("p").sort(Sort::begins_with("1")),
        ] {
            assert!(plan(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_string() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
