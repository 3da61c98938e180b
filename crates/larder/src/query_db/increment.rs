//! Adding to a number in an item's text, and leaving all other bytes as they are.

use super::{
    check_item_size,
    item::{Definition, Prepared},
    key::ItemKey,
    number::Number,
    path::FieldPath,
    raw_object::RawObject,
};
use crate::{
    error::{Error, Result},
    limits::Limits,
};

/// An item as an increment leaves it.
#[derive(Debug)]
pub(crate) struct Incremented {
    pub(crate) json: String,
    pub(crate) prepared: Prepared,
    pub(crate) expires_at: Option<u64>,
    pub(crate) total: Number,
}

impl Definition {
    /// What an increment makes of the visible item that is under a key, given by its text and its time, or of none.
    ///
    /// # Errors
    /// `InvalidArgument`: as [`add_to_field`], a sub key of another type than the sub id field, a field that is the
    /// sub id, a sum that the definition refuses. `TooLarge`.
    pub(crate) fn increment(
        &self,
        key: &ItemKey,
        there: Option<(String, Option<u64>)>,
        (field, by): (&str, Number),
        limits: &Limits,
    ) -> Result<Incremented> {
        let (json, expires_at) = match there {
            Some(there) => there,
            None => (self.empty_item(key)?, None),
        };
        let (json, total) = add_to_field(&json, &field.parse()?, by)?;
        check_item_size(&json, limits)?;
        let prepared = self.prepare(&json)?;
        if prepared.sub != key.sub {
            let reason = format!("`{field}` is the sub id, which is part of the key");
            return Err(Error::invalid("field", reason));
        }
        let expires_at = if self.spec.ttl_field.is_some() { prepared.expires_at } else { expires_at };
        Ok(Incremented { json, prepared, expires_at, total })
    }
}

/// The text with the sum in the field, and the sum. A field that is missing is added at the end of its object, and
/// so are the objects on the way to it.
///
/// # Errors
/// `InvalidArgument` if the field holds something other than a number, something on the way other than an object,
/// or the sum is out of range.
fn add_to_field(json: &str, path: &FieldPath, by: Number) -> Result<(String, Number)> {
    let refused = |reason: String| Error::invalid("field", format!("`{path}` {reason}"));
    let mut object = json;
    for (depth, name) in path.names().iter().enumerate() {
        let Some(fields) = RawObject::parse(object)? else {
            return Err(refused(format!(
                "leads through `{}`, which is not an object",
                path.names()[depth - 1]
            )));
        };
        let Some(value) = fields.get(name) else {
            let added = missing(&path.names()[depth..], by);
            let end = offset(json, object) + object.trim_end().len() - 1;
            let comma = if fields.0.is_empty() { "" } else { "," };
            return Ok((format!("{}{comma}{added}{}", &json[..end], &json[end..]), by));
        };
        object = value;
    }
    let held: Number = serde_json::from_str(object).map_err(|_| refused("does not hold a number".into()))?;
    let sum = held.checked_add(by).ok_or_else(|| refused(format!("overflows: {held} + {by}")))?;
    let start = offset(json, object);
    Ok((format!("{}{sum}{}", &json[..start], &json[start + object.len()..]), sum))
}

/// The fields that are to be added: `"b":{"c":1}`.
fn missing(names: &[String], by: Number) -> String {
    let quoted = |name: &String| serde_json::Value::from(name.as_str()).to_string();
    let opened: Vec<String> = names.iter().map(|name| format!("{}:", quoted(name))).collect();
    format!("{}{by}{}", opened.join("{"), "}".repeat(names.len() - 1))
}

/// Where a slice of the text starts in it.
fn offset(text: &str, slice: &str) -> usize {
    slice.as_ptr() as usize - text.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(json: &str, path: &str, by: impl Into<Number>) -> Result<String> {
        add_to_field(json, &path.parse()?, by.into()).map(|(json, _)| json)
    }

    #[test]
    fn the_rest_stays_as_it_was() {
        let json = "{ \"b\" : 1e0,\n \"a\":{\"n\": 41 ,\"s\":\"\\u00e9\"} } ";
        assert_eq!(add(json, "a.n", 1).unwrap(), json.replace("41", "42"));
        assert_eq!(add(json, "b", 0.5).unwrap(), json.replace("1e0", "1.5"));
    }

    #[test]
    fn what_is_missing_is_added() {
        assert_eq!(add("{}", "n", 2).unwrap(), r#"{"n":2}"#);
        assert_eq!(add(r#"{"a":1}"#, r"b.c\.d.e", -2).unwrap(), r#"{"a":1,"b":{"c.d":{"e":-2}}}"#);
        assert_eq!(add(r#"{"a":{ }}"#, "a.n", 1).unwrap(), r#"{"a":{ "n":1}}"#);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (json, path) in [(r#"{"a":"1"}"#, "a"), (r#"{"a":null}"#, "a"), (r#"{"a":1}"#, "a.b")] {
            assert!(add(json, path, 1).is_err(), "{json}");
        }
        let error = add(&format!("{{\"a\":{}}}", i64::MAX), "a", 1).unwrap_err();
        assert!(error.to_string().contains("overflows"), "{error}");
    }
}
