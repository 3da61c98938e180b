//! An item's JSON, parsed once: checked for duplicate keys, its fields found by path.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use super::{number::Number, path::FieldPath, raw_object::Name};
use crate::error::{Error, Result};

/// A JSON value that borrows its text where it can. An object with a duplicate key does not parse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// In the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Parses an item, which is an object.
    ///
    /// # Errors
    /// `InvalidArgument` if it is something else, or has a duplicate key anywhere.
    pub(crate) fn parse_item(text: &'a str) -> Result<Self> {
        let parsed: Self =
            serde_json::from_str(text).map_err(|error| Error::invalid("item", error.to_string()))?;
        match parsed {
            Self::Object(_) => Ok(parsed),
            other => Err(Error::invalid("item", format!("{} is not a JSON object", other.type_name()))),
        }
    }

    /// The field there, if there is one.
    pub(crate) fn find(&self, path: &FieldPath) -> Option<&Self> {
        path.names().iter().try_fold(self, |json, name| json.field(name))
    }

    /// The field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        let mut names = Names::default();
        while let Some(Name(name)) = map.next_key()? {
            if !names.is_new(&name, &fields) {
                return Err(A::Error::custom(format!("duplicate key `{}`", name.escape_debug())));
            }
            fields.push((name, map.next_value()?));
        }
        Ok(Json::Object(fields))
    }
}

/// The names of an object so far: looked through one by one while there are few, then in a set.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    const FEW: usize = 24;

    fn is_new(&mut self, name: &str, fields: &[(Cow<'_, str>, Json<'_>)]) -> bool {
        if fields.len() < Self::FEW {
            return fields.iter().all(|(other, _)| other != name);
        }
        if self.0.is_empty() {
            self.0.extend(fields.iter().map(|(name, _)| name.clone().into_owned()));
        }
        self.0.insert(name.to_owned())
    }
}

impl From<&serde_json::Value> for Json<'static> {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(Number::from_json(number)),
            Value::String(text) => Self::String(Cow::Owned(text.clone())),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(fields) => Self::Object(
                fields.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.into())).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"b":1,"\u0062":2}]}"#] {
            let error = Json::parse_item(text).unwrap_err();
            assert!(error.to_string().contains("duplicate key"), "{error}");
        }
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(Json::parse_item(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(Json::parse_item(&format!("{{{},\"k7\":0}}", many.join(","))).is_err());
    }

    #[test]
    fn only_objects_are_items() {
        for text in ["1", "null", "[]", "\"a\"", "{", "{} {}", ""] {
            assert!(Json::parse_item(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nested_fields_are_found_by_path() {
        let json = Json::parse_item(r#"{"a":{"b.c":1}}"#).unwrap();
        assert_eq!(json.find(&r"a.b\.c".parse().unwrap()), Some(&Json::Number(1.into())));
        assert_eq!(json.find(&"a.b.c".parse().unwrap()), None);
    }
}
