//! From filters and sort conditions to text.

use std::fmt;

use serde_json::Value;

use super::parser::is_plain;
use crate::query_db::{
    filter::{Filter, Test},
    key::KeyValue,
    query::Sort,
};

/// As text that reads as the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(filters) => joined(f, filters, "true", " and "),
            Self::Or(filters) => joined(f, filters, "false", " or "),
            Self::Not(inner) => {
                f.write_str("not ")?;
                inner.within(f)
            }
            Self::Field { path, test } if is_plain(path) => write!(f, "{path} {test}"),
            Self::Field { path, test } => write!(f, "{} {test}", Value::from(path.as_str())),
        }
    }
}

impl Filter {
    /// As a part of another one.
    fn within(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(filters) | Self::Or(filters) if filters.len() > 1 => write!(f, "({self})"),
            Self::And(filters) | Self::Or(filters) if filters.len() == 1 => filters[0].within(f),
            _ => write!(f, "{self}"),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, filters: &[Filter], none: &str, word: &str) -> fmt::Result {
    match filters {
        [] => f.write_str(none),
        [one] => write!(f, "{one}"),
        several => {
            for (n, filter) in several.iter().enumerate() {
                f.write_str(if n == 0 { "" } else { word })?;
                filter.within(f)?;
            }
            Ok(())
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eq(value) => write!(f, "= {value}"),
            Self::Ne(value) => write!(f, "<> {value}"),
            Self::Lt(value) => write!(f, "< {value}"),
            Self::Le(value) => write!(f, "<= {value}"),
            Self::Gt(value) => write!(f, "> {value}"),
            Self::Ge(value) => write!(f, ">= {value}"),
            Self::Between(from, to) => write!(f, "between {from} and {to}"),
            Self::BeginsWith(prefix) => write!(f, "begins_with {}", Value::from(prefix.as_str())),
            Self::Contains(value) => write!(f, "contains {value}"),
            Self::Exists => f.write_str("exists"),
            Self::NotExists => f.write_str("not exists"),
            Self::In(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "in ({})", values.join(", "))
            }
        }
    }
}

/// As text that reads as the same condition.
impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |value: &KeyValue| match value {
            KeyValue::Number(number) => number.to_string(),
            KeyValue::String(text) => Value::from(text.as_str()).to_string(),
        };
        match self {
            Self::Eq(value) => write!(f, "= {}", json(value)),
            Self::Lt(value) => write!(f, "< {}", json(value)),
            Self::Le(value) => write!(f, "<= {}", json(value)),
            Self::Gt(value) => write!(f, "> {}", json(value)),
            Self::Ge(value) => write!(f, ">= {}", json(value)),
            Self::Between(from, to) => write!(f, "between {} and {}", json(from), json(to)),
            Self::BeginsWith(prefix) => write!(f, "begins_with {}", Value::from(prefix.as_str())),
        }
    }
}
