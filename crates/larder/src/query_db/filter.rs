//! Filters: conditions on any field of an item.

use std::ops::{BitAnd, BitOr, Not};

use serde_json::Value;

use super::{document::Json, path::FieldPath};
use crate::error::{Error, Result};

/// The deepest nesting of a filter, and the most conditions in it.
const DEPTH: usize = 32;
const CONDITIONS: usize = 256;

/// A condition on the fields of an item, built from [`field`].
///
/// Types never convert: null, booleans, numbers, strings, arrays and objects are different from each other, and
/// only numbers (by value) and strings (by UTF-8 bytes) have an order. A comparison with a field that is not there
/// is false; `ne` is true whenever `eq` is false.
///
/// ```
/// use larder::{Filter, field};
///
/// let filter = field("total_cents").ge(1_000).and(!field("customer").eq("test"));
/// let same: Filter = r#"total_cents >= 1000 and not customer = "test""#.parse()?;
/// assert_eq!(filter, same);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Of the field there.
    Field {
        /// The field: `a.b` for a nested one.
        path: String,
        /// What is asked of it.
        test: Test,
    },
    /// All of them; true if there are none.
    And(Vec<Filter>),
    /// Any of them; false if there are none.
    Or(Vec<Filter>),
    /// The opposite.
    Not(Box<Filter>),
}

/// What a filter asks of a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Test {
    /// It is this.
    Eq(Value),
    /// It is not this, or not there.
    Ne(Value),
    /// It is a number or string below this one.
    Lt(Value),
    /// It is a number or string, this or below it.
    Le(Value),
    /// It is a number or string above this one.
    Gt(Value),
    /// It is a number or string, this or above it.
    Ge(Value),
    /// It is a number or string from the first to the second, both included.
    Between(Value, Value),
    /// It is a string that begins so.
    BeginsWith(String),
    /// It is a string with this text in it, or an array with this element.
    Contains(Value),
    /// It is there, null included.
    Exists,
    /// It is not there.
    NotExists,
    /// It is one of these.
    In(Vec<Value>),
}

/// A field to build a [`Filter`] from.
///
/// ```
/// use larder::field;
///
/// let cheap = field("price").lt(10).or(field("tags").contains("sale"));
/// let listed = field("state").is_in(["open", "paid"]).and(field("address.city").begins_with("B"));
/// # let _ = (cheap, listed);
/// ```
pub fn field(path: impl Into<String>) -> Field {
    Field(path.into())
}

/// See [`field`].
#[derive(Debug, Clone)]
#[must_use = "a field alone is no filter"]
pub struct Field(String);

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $test:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(self, value: impl Into<Value>) -> Filter {
            self.test(Test::$test(value.into()))
        }
    )*};
}

impl Field {
    comparisons! {
        /// It is this.
        eq => Eq;
        /// It is not this, or not there.
        ne => Ne;
        /// It is below this number or string.
        lt => Lt;
        /// It is this number or string, or below it.
        le => Le;
        /// It is above this number or string.
        gt => Gt;
        /// It is this number or string, or above it.
        ge => Ge;
        /// It is a string with this text in it, or an array with this element.
        contains => Contains;
    }

    /// It is from the first to the second, both included.
    #[must_use]
    pub fn between(self, from: impl Into<Value>, to: impl Into<Value>) -> Filter {
        self.test(Test::Between(from.into(), to.into()))
    }

    /// It is a string that begins so.
    #[must_use]
    pub fn begins_with(self, prefix: impl Into<String>) -> Filter {
        self.test(Test::BeginsWith(prefix.into()))
    }

    /// It is there, null included.
    #[must_use]
    pub fn exists(self) -> Filter {
        self.test(Test::Exists)
    }

    /// It is not there.
    #[must_use]
    pub fn not_exists(self) -> Filter {
        self.test(Test::NotExists)
    }

    /// It is one of these.
    #[must_use]
    pub fn is_in(self, values: impl IntoIterator<Item: Into<Value>>) -> Filter {
        self.test(Test::In(values.into_iter().map(Into::into).collect()))
    }

    fn test(self, test: Test) -> Filter {
        Filter::Field { path: self.0, test }
    }
}

impl Filter {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            first => Self::And(vec![first, other]),
        }
    }

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut any) => {
                any.push(other);
                Self::Or(any)
            }
            first => Self::Or(vec![first, other]),
        }
    }

    /// Checks what a caller built, and prepares it to be asked of many items.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad path; `TooLarge` for too many conditions.
    pub(crate) fn compile(&self) -> Result<CompiledFilter> {
        let mut conditions = 0;
        let compiled = compile(self, 0, &mut conditions)?;
        Ok(CompiledFilter(compiled))
    }
}

impl Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

/// A filter whose paths and values are parsed.
#[derive(Debug, Clone)]
pub(crate) struct CompiledFilter(Node);

#[derive(Debug, Clone)]
enum Node {
    Field(FieldPath, CompiledTest),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Debug, Clone)]
enum CompiledTest {
    Eq(Json<'static>),
    Ne(Json<'static>),
    /// Lower and upper bound; whether each is included.
    Range(Option<(Json<'static>, bool)>, Option<(Json<'static>, bool)>),
    BeginsWith(String),
    Contains(Json<'static>),
    Exists,
    NotExists,
    In(Vec<Json<'static>>),
}

fn compile(filter: &Filter, depth: usize, conditions: &mut usize) -> Result<Node> {
    if depth > DEPTH {
        return Err(Error::too_large("filter depth", DEPTH as u64, depth as u64));
    }
    let mut all = |filters: &[Filter]| -> Result<Vec<Node>> {
        filters.iter().map(|filter| compile(filter, depth + 1, conditions)).collect()
    };
    Ok(match filter {
        Filter::And(filters) => Node::And(all(filters)?),
        Filter::Or(filters) => Node::Or(all(filters)?),
        Filter::Not(inner) => Node::Not(Box::new(compile(inner, depth + 1, conditions)?)),
        Filter::Field { path, test } => {
            *conditions += 1;
            if *conditions > CONDITIONS {
                return Err(Error::too_large("filter conditions", CONDITIONS as u64, *conditions as u64));
            }
            Node::Field(path.parse()?, compile_test(test))
        }
    })
}

fn compile_test(test: &Test) -> CompiledTest {
    let bound = |value: &Value, included| Some((Json::from(value), included));
    match test {
        Test::Eq(value) => CompiledTest::Eq(value.into()),
        Test::Ne(value) => CompiledTest::Ne(value.into()),
        Test::Lt(value) => CompiledTest::Range(None, bound(value, false)),
        Test::Le(value) => CompiledTest::Range(None, bound(value, true)),
        Test::Gt(value) => CompiledTest::Range(bound(value, false), None),
        Test::Ge(value) => CompiledTest::Range(bound(value, true), None),
        Test::Between(from, to) => CompiledTest::Range(bound(from, true), bound(to, true)),
        Test::BeginsWith(prefix) => CompiledTest::BeginsWith(prefix.clone()),
        Test::Contains(value) => CompiledTest::Contains(value.into()),
        Test::Exists => CompiledTest::Exists,
        Test::NotExists => CompiledTest::NotExists,
        Test::In(values) => CompiledTest::In(values.iter().map(Json::from).collect()),
    }
}

impl CompiledFilter {
    /// Whether the item passes.
    pub(crate) fn matches(&self, item: &Json<'_>) -> bool {
        self.0.matches(item)
    }
}

impl Node {
    fn matches(&self, item: &Json<'_>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|node| node.matches(item)),
            Self::Or(any) => any.iter().any(|node| node.matches(item)),
            Self::Not(inner) => !inner.matches(item),
            Self::Field(path, test) => test.passes(item.find(path)),
        }
    }
}

impl CompiledTest {
    fn passes(&self, found: Option<&Json<'_>>) -> bool {
        match (self, found) {
            (Self::Exists, found) => found.is_some(),
            (Self::NotExists, found) => found.is_none(),
            (Self::Ne(value), found) => found.is_none_or(|found| !equal(found, value)),
            (_, None) => false,
            (Self::Eq(value), Some(found)) => equal(found, value),
            (Self::In(values), Some(found)) => values.iter().any(|value| equal(found, value)),
            (Self::BeginsWith(prefix), Some(Json::String(text))) => text.starts_with(prefix.as_str()),
            (Self::Contains(Json::String(part)), Some(Json::String(text))) => text.contains(part.as_ref()),
            (Self::Contains(value), Some(Json::Array(items))) => items.iter().any(|item| equal(item, value)),
            (Self::Range(low, high), Some(found)) => {
                low.as_ref().is_none_or(|(low, included)| is_ordered(low, found, *included))
                    && high.as_ref().is_none_or(|(high, included)| is_ordered(found, high, *included))
            }
            _ => false,
        }
    }
}

/// Whether left comes before right; the same value counts if it is included.
fn is_ordered(left: &Json<'_>, right: &Json<'_>, included: bool) -> bool {
    let order = match (left, right) {
        (Json::Number(left), Json::Number(right)) => left.cmp(right),
        (Json::String(left), Json::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        _ => return false,
    };
    order.is_lt() || (included && order.is_eq())
}

/// By value: the order of an object's fields does not count.
fn equal(left: &Json<'_>, right: &Json<'_>) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Json::Object(left), Json::Object(_)) => {
            let Json::Object(others) = right else { return false };
            left.len() == others.len()
                && left.iter().all(|(name, value)| right.field(name).is_some_and(|other| equal(value, other)))
        }
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &Filter, item: &str) -> bool {
        filter.compile().unwrap().matches(&Json::parse_item(item).unwrap())
    }

    #[test]
    fn types_never_convert() {
        for value in [r#""1""#, "true", "null", "[1]", r#"{"a":1}"#] {
            let item = format!("{{\"a\":{value}}}");
            assert!(!passes(&field("a").eq(1), &item), "{item}");
            assert!(passes(&field("a").ne(1), &item), "{item}");
            assert!(!passes(&field("a").lt(2), &item) && !passes(&field("a").ge(0), &item), "{item}");
        }
        assert!(passes(&field("a").eq(1), r#"{"a":1.0}"#));
    }

    #[test]
    fn a_missing_field_fails_comparisons() {
        let item = r#"{"b":1}"#;
        assert!(!passes(&field("a").eq(1), item) && passes(&field("a").ne(1), item));
        assert!(passes(&field("a").not_exists(), item) && !passes(&field("a").exists(), item));
        assert!(passes(&field("a").exists(), r#"{"a":null}"#));
    }

    #[test]
    fn arrays_and_objects_compare_by_value() {
        let value = serde_json::json!({ "x": [1, 2.0], "y": null });
        assert!(passes(&field("a").eq(value), r#"{"a":{"y":null,"x":[1.0,2]}}"#));
        assert!(passes(&field("a").contains(2), r#"{"a":[1,2.0]}"#));
        assert!(passes(&field("a").contains("b"), r#"{"a":"abc"}"#));
    }
}
