//! Keys: what an item is found under.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::number::Number;
use crate::{
    error::Result,
    limits::{check_key, check_text},
};

/// A value of a key field. Numbers come before strings; numbers are ordered by value, strings by UTF-8 bytes.
///
/// ```
/// use larder::KeyValue;
///
/// let mut values = [KeyValue::from("10"), KeyValue::from("9"), KeyValue::from(10), KeyValue::from(9.5)];
/// values.sort();
/// assert_eq!(values, [9.5.into(), 10.into(), "10".into(), "9".into()]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyValue {
    /// A number.
    Number(Number),
    /// A string.
    String(String),
}

impl KeyValue {
    /// The sub key of items without one.
    #[must_use]
    pub fn none() -> Self {
        Self::String(String::new())
    }

    /// The value's type, as a key field declares it.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Number(_) => KeyType::Number,
            Self::String(_) => KeyType::String,
        }
    }

    /// Checks a sub key, or a value to look for in an index.
    pub(crate) fn check(&self, field: &'static str) -> Result<()> {
        match self {
            Self::Number(number) => number.check(field),
            Self::String(text) => check_text(field, text),
        }
    }
}

/// The type of a key field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Ordered by UTF-8 bytes.
    String,
    /// Ordered by value.
    Number,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Number => "number",
        })
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::String(text) => text.fmt(f),
        }
    }
}

impl From<&str> for KeyValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<&String> for KeyValue {
    fn from(text: &String) -> Self {
        Self::String(text.clone())
    }
}

impl From<String> for KeyValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Number> for KeyValue {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

macro_rules! from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for KeyValue {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}

from_number!(i32, i64, u32, f64);

/// The whole key of an item: partition key and sub key.
///
/// ```
/// use larder::ItemKey;
///
/// assert_eq!(ItemKey::from("order-1"), ItemKey::from(("order-1", ""))); // no sub key
/// assert_eq!(ItemKey::from(("order-1", 2)).to_string(), "order-1/2");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemKey {
    /// The partition key.
    pub partition: String,
    /// The sub key; an empty string if there is none.
    pub sub: KeyValue,
}

impl ItemKey {
    /// A key of two parts.
    pub fn new(partition: impl Into<String>, sub: impl Into<KeyValue>) -> Self {
        Self { partition: partition.into(), sub: sub.into() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_key("partition key", &self.partition)?;
        self.sub.check("sub key")
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.partition)?;
        if self.sub == KeyValue::none() { Ok(()) } else { write!(f, "/{}", self.sub) }
    }
}

impl From<&str> for ItemKey {
    fn from(partition: &str) -> Self {
        Self::new(partition, KeyValue::none())
    }
}

impl From<&String> for ItemKey {
    fn from(partition: &String) -> Self {
        Self::new(partition, KeyValue::none())
    }
}

impl From<String> for ItemKey {
    fn from(partition: String) -> Self {
        Self::new(partition, KeyValue::none())
    }
}

impl From<&Self> for ItemKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl<P: Into<String>, S: Into<KeyValue>> From<(P, S)> for ItemKey {
    fn from((partition, sub): (P, S)) -> Self {
        Self::new(partition, sub)
    }
}
