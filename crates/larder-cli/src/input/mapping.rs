//! How a row becomes an event.

use std::{collections::HashMap, str::FromStr};

use larder::{NewEvent, Uuid};
use serde_json::value::RawValue;

/// Where an event's type comes from.
#[derive(Debug, Clone)]
pub(crate) enum TypeFrom {
    Name(String),
    Field(String),
}

/// A field that becomes a tag: `FIELD` or `FIELD=PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagField {
    pub(crate) field: String,
    prefix: String,
}

impl FromStr for TagField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, prefix) = text.rsplit_once('=').unwrap_or((text, text));
        if field.is_empty() {
            return Err("the field's name is missing before `=`".into());
        }
        Ok(Self { field: field.into(), prefix: prefix.into() })
    }
}

impl TagField {
    /// `PREFIX:value`, or the value alone if the prefix was given empty.
    fn tag(&self, value: &str) -> String {
        if self.prefix.is_empty() { value.into() } else { format!("{}:{value}", self.prefix) }
    }
}

/// What to take from a row.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) log: String,
    pub(crate) event_type: TypeFrom,
    pub(crate) stream_field: Option<String>,
    pub(crate) tag_fields: Vec<TagField>,
    pub(crate) id_field: Option<String>,
}

impl Mapping {
    /// The fields that rows must have.
    pub(crate) fn fields(&self) -> Vec<String> {
        let mut fields: Vec<String> = self.tag_fields.iter().map(|tag| tag.field.clone()).collect();
        fields.extend(self.stream_field.clone());
        fields.extend(self.id_field.clone());
        if let TypeFrom::Field(field) = &self.event_type {
            fields.push(field.clone());
        }
        fields
    }

    fn takes_fields(&self) -> bool {
        let fixed_type = matches!(self.event_type, TypeFrom::Name(_));
        !(fixed_type && self.tag_fields.is_empty() && self.stream_field.is_none() && self.id_field.is_none())
    }

    /// The event that a row says, and the stream it goes to.
    pub(crate) fn event(&self, json: &str) -> Result<(Option<String>, NewEvent), String> {
        let row = if self.takes_fields() { Fields::of(json)? } else { Fields(HashMap::new()) };
        let event_type = match &self.event_type {
            TypeFrom::Name(name) => name.clone(),
            TypeFrom::Field(field) => row.one(field, "the event's type")?,
        };
        let mut event = NewEvent::json(event_type, json);
        for tag in &self.tag_fields {
            event = event.tags(row.values(&tag.field)?.iter().map(|value| tag.tag(value)));
        }
        if let Some(field) = &self.id_field {
            event = event.id(self.id(&row.one(field, "the event's id")?));
        }
        let stream = self.stream_field.as_ref().map(|field| row.one(field, "the stream")).transpose()?;
        Ok((stream, event))
    }

    /// A UUID as it is; anything else becomes one, the same each time for the same log and value.
    fn id(&self, value: &str) -> Uuid {
        value.parse().unwrap_or_else(|_| {
            let log = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("larder:log:{}", self.log).as_bytes());
            Uuid::new_v5(&log, value.as_bytes())
        })
    }
}

/// The fields of an object, unread.
struct Fields<'a>(HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn of(json: &'a str) -> Result<Self, String> {
        serde_json::from_str(json).map(Self).map_err(|error| format!("not a JSON object: {error}"))
    }

    /// A field by its name or, if there is none of that name, by its path: `properties.place`.
    fn get(&self, path: &str) -> Option<&'a RawValue> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        path.match_indices('.').find_map(|(dot, _)| {
            let inner = self.0.get(&path[..dot])?;
            Fields::of(inner.get()).ok()?.get(&path[dot + 1..])
        })
    }

    /// A field's one value, which must be there.
    fn one(&self, path: &str, purpose: &str) -> Result<String, String> {
        let raw = self.get(path).ok_or_else(|| format!("no field `{path}`, which is {purpose}"))?;
        match raw.get() {
            "null" | "\"\"" => Err(format!("field `{path}`, which is {purpose}, is empty")),
            text if text.starts_with('[') => Err(format!("field `{path}`, which is {purpose}, is an array")),
            _ => scalar(path, raw),
        }
    }

    /// A field's values: none if it is absent, null or empty; several if it is an array.
    fn values(&self, path: &str) -> Result<Vec<String>, String> {
        let Some(raw) = self.get(path) else { return Ok(Vec::new()) };
        let elements = if raw.get().starts_with('[') {
            serde_json::from_str(raw.get()).map_err(|error| format!("field `{path}`: {error}"))?
        } else {
            vec![raw]
        };
        let said = elements.into_iter().filter(|raw| !matches!(raw.get(), "null" | "\"\""));
        said.map(|raw| scalar(path, raw)).collect()
    }
}

/// A string's content, or a number or boolean as it is written.
fn scalar(path: &str, raw: &RawValue) -> Result<String, String> {
    match raw.get() {
        text if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|error| format!("field `{path}`: {error}"))
        }
        text if text.starts_with(['{', '[']) => {
            Err(format!("field `{path}` is an object or array where one value is needed"))
        }
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            log: "quakes".into(),
            event_type: TypeFrom::Field("properties.type".into()),
            stream_field: Some("properties.net".into()),
            tag_fields: ["properties.mag=mag", "a.b", "kinds="].map(|text| text.parse().unwrap()).into(),
            id_field: Some("id".into()),
        }
    }

    #[test]
    fn fields_are_found_by_name_and_by_path() {
        let json = r#"{"id":"x1","properties":{"type":"quake","net":"ci","mag":1.60},"a.b":true,"kinds":["p",null,"q"]}"#;
        let (stream, event) = mapping().event(json).unwrap();
        assert_eq!(stream.as_deref(), Some("ci"));
        let shown = format!("{event:?}");
        assert!(shown.contains(r#"["mag:1.60", "a.b:true", "p", "q"]"#), "{shown}");
    }

    #[test]
    fn what_is_needed_must_be_there() {
        let missing = |json: &str| mapping().event(json).unwrap_err();
        assert!(missing(r#"{"id":"x"}"#).contains("no field `properties.type`"));
        assert!(missing(r#"{"id":null,"properties":{"type":"q","net":"n"}}"#).contains("is empty"));
        assert!(missing(r#"{"id":1,"properties":{"type":"q","net":{}}}"#).contains("an object"));
    }

    #[test]
    fn ids_are_stable_and_belong_to_a_log() {
        let id = |log: &str, value: &str| Mapping { log: log.into(), ..mapping() }.id(value);
        assert_eq!(id("a", "ci37868143"), id("a", "ci37868143"));
        assert_ne!(id("a", "ci37868143"), id("b", "ci37868143"));
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(id("a", uuid).to_string(), uuid);
        // It must never change: a repeated import relies on it.
        assert_eq!(id("a", "1").to_string(), "e99c27f7-a331-5735-9f93-132e6bcc7aee");
    }

    #[test]
    fn a_tag_field_has_a_prefix() {
        let tag = |text: &str| text.parse::<TagField>().unwrap().tag("v");
        assert_eq!([tag("Origin State=state"), tag("x"), tag("x=")], ["state:v", "x:v", "v"]);
        assert!("=p".parse::<TagField>().is_err());
    }
}
