//! An item, and what its definition makes of it.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    document::Json,
    index::{Index, KeyField, QueryDbSpec},
    key::{ItemKey, KeyType, KeyValue},
    number::Number,
    path::FieldPath,
    ttl::Ttl,
};
use crate::{
    error::{Error, ErrorKind, Result},
    limits::check_text,
};

/// An item as it is stored.
///
/// ```
/// use larder::Store;
///
/// # fn main() -> larder::Result<()> {
/// let customers = Store::memory().query_db("Customers")?;
/// customers.save("c1", &serde_json::json!({ "name": "Ada" })).wait()?;
/// let item = customers.load_one("c1").wait()?.expect("it was saved");
/// assert_eq!((item.key.partition.as_str(), item.version), ("c1", 1));
/// assert_eq!(item.json, r#"{"name":"Ada"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// Its key.
    pub key: ItemKey,
    /// Its JSON, as it was saved.
    pub json: String,
    /// Rises with every change in the QueryDb.
    pub version: u64,
    /// When it expires, in epoch seconds.
    pub expires_at: Option<u64>,
}

impl Item {
    /// An item, for backends.
    #[must_use]
    pub fn new(key: ItemKey, json: String, version: u64, expires_at: Option<u64>) -> Self {
        Self { key, json, version, expires_at }
    }

    /// Decodes the item; strings can be borrowed from it.
    ///
    /// # Errors
    /// `Decode`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(&self.json).map_err(|error| {
            Error::new(ErrorKind::Decode).with("item", self.key.to_string()).caused_by(error)
        })
    }
}

/// A definition made ready to be asked of many items: its paths are parsed.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) spec: QueryDbSpec,
    sub_id: Option<Field>,
    ttl: Option<FieldPath>,
    indexes: Vec<Vec<Field>>,
}

#[derive(Debug)]
struct Field {
    path: FieldPath,
    text: String,
    key_type: KeyType,
}

/// What a definition makes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) sub: KeyValue,
    /// Of each index, in the definition's order: the values of its fields, key fields first; `None` if the item is
    /// not in it.
    pub(crate) index_keys: Vec<Option<Vec<KeyValue>>>,
    /// The TTL field's value: epoch seconds, rounded up.
    pub(crate) expires_at: Option<u64>,
}

impl Definition {
    /// Makes a checked definition ready.
    pub(crate) fn new(spec: QueryDbSpec) -> Result<Arc<Self>> {
        let sub_id = spec.sub_id_field.as_ref().map(Field::new).transpose()?;
        let ttl = spec.ttl_field.as_deref().map(str::parse).transpose()?;
        let fields = |index: &Index| index.fields().map(Field::new).collect::<Result<Vec<_>>>();
        let indexes = spec.indexes.iter().map(fields).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self { spec, sub_id, ttl, indexes }))
    }

    /// Checks an item's JSON, and takes from it what the definition names.
    ///
    /// # Errors
    /// `InvalidArgument`: not an object, a duplicate key, a missing sub id, a key field of another type.
    pub(crate) fn prepare(&self, json: &str) -> Result<Prepared> {
        let item = Json::parse_item(json)?;
        let sub = match &self.sub_id {
            None => KeyValue::none(),
            Some(field) => field.value(&item)?.ok_or_else(|| {
                Error::invalid("item", format!("it lacks `{}`, the sub id field", field.text))
            })?,
        };
        let index_keys = self.indexes.iter().map(|fields| index_key(fields, &item)).collect::<Result<_>>()?;
        let expires_at = match &self.ttl {
            None => None,
            Some(path) => expires_at(item.find(path), path)?,
        };
        Ok(Prepared { sub, index_keys, expires_at })
    }
}

impl Definition {
    /// The values that an item has in the fields of each index, whether it is in it or not.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    #[cfg(feature = "sqlite")]
    pub(crate) fn field_values(&self, json: &str) -> Result<Vec<Vec<Option<KeyValue>>>> {
        let item = Json::parse_item(json)?;
        let values = |fields: &Vec<Field>| fields.iter().map(|field| field.value(&item)).collect();
        self.indexes.iter().map(values).collect()
    }

    /// Refuses a TTL that is given with a save, where items carry their own.
    pub(crate) fn check_ttl(&self, ttl: Option<Ttl>) -> Result<()> {
        match (&self.ttl, ttl) {
            (Some(path), Some(_)) => {
                let reason = format!("this QueryDb takes the time from the item's field `{path}`");
                Err(Error::invalid("ttl", reason))
            }
            _ => Ok(()),
        }
    }

    /// The item that an increment begins with: it holds nothing but its sub id.
    ///
    /// # Errors
    /// `InvalidArgument` if the sub key is of another type than the sub id field, or there is no such field.
    pub(crate) fn empty_item(&self, key: &ItemKey) -> Result<String> {
        let wrong = |reason: String| Err(Error::invalid("sub key", reason));
        match &self.sub_id {
            None if key.sub == KeyValue::none() => Ok("{}".into()),
            None => wrong(format!("`{}` was given, but items of this QueryDb have no sub key", key.sub)),
            Some(field) if field.key_type != key.sub.key_type() => {
                wrong(format!("`{}` is a {} field, `{}` is not", field.text, field.key_type, key.sub))
            }
            Some(field) => {
                let mut value = serde_json::to_value(&key.sub).unwrap_or_default();
                for name in field.path.names().iter().rev() {
                    value = serde_json::Value::Object([(name.clone(), value)].into_iter().collect());
                }
                Ok(value.to_string())
            }
        }
    }

    /// The definition with what a new one adds, as [`QueryDbOperation::Define`](crate::backend::QueryDbOperation)
    /// says; and which indexes are new.
    pub(crate) fn extended(&self, new: &QueryDbSpec) -> Result<(Arc<Self>, Vec<String>)> {
        let differs = |what: &str, is: Option<&str>| {
            let is = is.map_or_else(|| "none".into(), |is| format!("`{is}`"));
            let reason = format!("it is defined with another key layout: its {what} is {is}");
            Err(Error::invalid("QueryDb", reason)
                .with_hint("drop it, or define one of another name and copy the items"))
        };
        let mut spec = self.spec.clone();
        if spec.sub_id_field != new.sub_id_field {
            return differs("sub id field", spec.sub_id_field.as_ref().map(|field| field.path.as_str()));
        }
        if spec.ttl_field != new.ttl_field {
            return differs("TTL field", spec.ttl_field.as_deref());
        }
        let mut added = Vec::new();
        for index in &new.indexes {
            match spec.find_index(&index.name) {
                Some(known) if known == index => {}
                Some(_) => {
                    let reason = format!("`{}` is there already, and different", index.name);
                    return Err(Error::invalid("index", reason).with_hint("drop the index first"));
                }
                None => {
                    added.push(index.name.clone());
                    spec.indexes.push(index.clone());
                }
            }
        }
        spec.changes = new.changes.or(spec.changes);
        spec.check()?;
        Ok((Self::new(spec.settled())?, added))
    }
}

/// The values of an index's fields; every one that is there is checked, also if another is missing.
fn index_key(fields: &[Field], item: &Json<'_>) -> Result<Option<Vec<KeyValue>>> {
    let values = fields.iter().map(|field| field.value(item)).collect::<Result<Vec<_>>>()?;
    Ok(values.into_iter().collect())
}

impl Field {
    fn new(field: &KeyField) -> Result<Self> {
        Ok(Self { path: field.path.parse()?, text: field.path.clone(), key_type: field.key_type })
    }

    /// The field's value; `None` if it is missing or null.
    fn value(&self, item: &Json<'_>) -> Result<Option<KeyValue>> {
        let value = match (self.key_type, item.find(&self.path)) {
            (_, None | Some(Json::Null)) => return Ok(None),
            (KeyType::String, Some(Json::String(text))) => KeyValue::String(text.clone().into_owned()),
            (KeyType::Number, Some(Json::Number(number))) => KeyValue::Number(*number),
            (wanted, Some(found)) => {
                let reason = format!("`{}` is {}, not a {wanted}", self.text, found.type_name());
                return Err(Error::invalid("item", reason));
            }
        };
        match &value {
            KeyValue::String(text) => check_text("key field", text)?,
            KeyValue::Number(number) => number.check("key field")?,
        }
        Ok(Some(value))
    }
}

fn expires_at(found: Option<&Json<'_>>, path: &FieldPath) -> Result<Option<u64>> {
    match found {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Number(number)) => Ok(Some(epoch_seconds(*number))),
        Some(other) => {
            Err(Error::invalid("item", format!("`{path}`, its TTL, is {}, not a number", other.type_name())))
        }
    }
}

/// Rounded up; before 1970 is 1970, long past.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is what is wanted")]
fn epoch_seconds(number: Number) -> u64 {
    let seconds = number.as_i64().unwrap_or_else(|| number.as_f64().ceil() as i64);
    seconds.max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(spec: QueryDbSpec, json: &str) -> Result<Prepared> {
        Definition::new(spec)?.prepare(json)
    }

    #[test]
    fn an_index_is_sparse() {
        let spec = || QueryDbSpec::new().index(Index::new("i", ["a", "b"]));
        let keys = |json| prepare(spec(), json).unwrap().index_keys;
        assert_eq!(keys(r#"{"a":"x","b":"y"}"#), [Some(vec!["x".into(), "y".into()])]);
        assert_eq!(keys(r#"{"a":"x"}"#), [None]);
        assert_eq!(keys(r#"{"a":"x","b":null}"#), [None]);
        assert!(prepare(spec(), r#"{"b":1}"#).is_err(), "of a wrong type, though `a` is missing");
    }

    #[test]
    fn a_missing_sub_id_is_refused() {
        let spec = QueryDbSpec::new().sub_id_field("line");
        let error = prepare(spec.clone(), "{}").unwrap_err();
        assert!(error.to_string().contains("`line`"), "{error}");
        assert_eq!(prepare(spec, r#"{"line":"01"}"#).unwrap().sub, "01".into());
    }

    #[test]
    fn the_ttl_field_is_rounded_up() {
        let spec = || QueryDbSpec::new().ttl_field("until");
        assert_eq!(prepare(spec(), r#"{"until":10.2}"#).unwrap().expires_at, Some(11));
        assert_eq!(prepare(spec(), r#"{"until":-1}"#).unwrap().expires_at, Some(0));
        assert!(prepare(spec(), r#"{"until":"soon"}"#).is_err());
    }
}
