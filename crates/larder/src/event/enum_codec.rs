//! A serde enum as an event: the variant's name is the event type, its content the payload.
//!
//! Encoding accepts one enum variant and nothing else. Decoding hands serde the event type as the variant,
//! so `rename`, `alias`, `other` and `default` work as upcasting.

use serde::{
    Deserializer, Serialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
        value::StrDeserializer,
    },
    ser::{self, Impossible, Serializer},
};
use serde_json::Error;

/// The event type and the payload's JSON.
pub(super) fn encode<E: Serialize + ?Sized>(event: &E) -> Result<(&'static str, String), Error> {
    event.serialize(VariantSerializer)
}

/// The variant that the event type names, with the payload as its content.
pub(super) fn decode<E: DeserializeOwned>(event_type: &str, json: &str) -> Result<E, Error> {
    E::deserialize(VariantDeserializer { event_type, json })
}

fn not_a_variant<T>() -> Result<T, Error> {
    Err(<Error as ser::Error>::custom(
        "an event is a variant of an enum; use `NewEvent::new` for other values",
    ))
}

struct VariantSerializer;

/// The fields of a struct or tuple variant, written as one JSON value.
struct Content {
    variant: &'static str,
    fields: Vec<u8>,
}

macro_rules! refuse {
    ($($method:ident($type:ty)),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<Self::Ok, Error> { not_a_variant() })*
    };
}

impl Serializer for VariantSerializer {
    type Ok = (&'static str, String);
    type Error = Error;
    type SerializeSeq = Impossible<Self::Ok, Error>;
    type SerializeTuple = Impossible<Self::Ok, Error>;
    type SerializeTupleStruct = Impossible<Self::Ok, Error>;
    type SerializeTupleVariant = Content;
    type SerializeMap = Impossible<Self::Ok, Error>;
    type SerializeStruct = Impossible<Self::Ok, Error>;
    type SerializeStructVariant = Content;

    refuse!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    );

    fn serialize_none(self) -> Result<Self::Ok, Error> {
        not_a_variant()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Self::Ok, Error> {
        not_a_variant()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Self::Ok, Error> {
        Ok((variant, "null".into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Self::Ok, Error> {
        Ok((variant, serde_json::to_string(value)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        not_a_variant()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        not_a_variant()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        not_a_variant()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Ok(Content { variant, fields: vec![b'['] })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        not_a_variant()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Error> {
        not_a_variant()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Ok(Content { variant, fields: vec![b'{'] })
    }
}

impl Content {
    fn separate(&mut self) {
        if self.fields.len() > 1 {
            self.fields.push(b',');
        }
    }

    fn finish(mut self, close: u8) -> Result<(&'static str, String), Error> {
        self.fields.push(close);
        let json = String::from_utf8(self.fields).map_err(<Error as ser::Error>::custom)?;
        Ok((self.variant, json))
    }
}

impl ser::SerializeTupleVariant for Content {
    type Ok = (&'static str, String);
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.separate();
        serde_json::to_writer(&mut self.fields, value)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        self.finish(b']')
    }
}

impl ser::SerializeStructVariant for Content {
    type Ok = (&'static str, String);
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.separate();
        serde_json::to_writer(&mut self.fields, key)?;
        self.fields.push(b':');
        serde_json::to_writer(&mut self.fields, value)
    }

    fn end(self) -> Result<Self::Ok, Error> {
        self.finish(b'}')
    }
}

struct VariantDeserializer<'a> {
    event_type: &'a str,
    json: &'a str,
}

impl<'de> Deserializer<'de> for VariantDeserializer<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(<Error as de::Error>::custom(
            "an event decodes into an enum; use `Event::decode` for other types",
        ))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for VariantDeserializer<'de> {
    type Error = Error;
    type Variant = VariantContent<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Error> {
        let name: StrDeserializer<'_, Error> = self.event_type.into_deserializer();
        Ok((seed.deserialize(name)?, VariantContent { json: self.json }))
    }
}

struct VariantContent<'a> {
    json: &'a str,
}

impl<'de> VariantAccess<'de> for VariantContent<'de> {
    type Error = Error;

    /// Whatever the payload holds is ignored, so that `#[serde(other)]` can stand for unknown events.
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(self.json);
        let value = seed.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(self.json);
        deserializer.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(self.json);
        deserializer.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Fact {
        Unit,
        #[serde(rename = "new.v2", alias = "New")]
        New(Vec<u8>),
        Pair(u8, String),
        Fields {
            a: u8,
            #[serde(default)]
            b: Option<String>,
        },
        #[serde(other)]
        Unknown,
    }

    #[test]
    fn variants_round_trip() {
        for (fact, event_type, json) in [
            (Fact::Unit, "Unit", json!(null)),
            (Fact::New(vec![1, 2]), "new.v2", json!([1, 2])),
            (Fact::Pair(1, "x".into()), "Pair", json!([1, "x"])),
            (Fact::Fields { a: 1, b: None }, "Fields", json!({ "a": 1, "b": null })),
        ] {
            let encoded = encode(&fact).unwrap();
            assert_eq!(encoded.0, event_type);
            assert_eq!(serde_json::from_str::<Value>(&encoded.1).unwrap(), json);
            assert_eq!(decode::<Fact>(encoded.0, &encoded.1).unwrap(), fact);
        }
    }

    #[test]
    fn serde_attributes_upcast() {
        assert_eq!(decode::<Fact>("New", "[1]").unwrap(), Fact::New(vec![1]));
        assert_eq!(decode::<Fact>("Fields", r#"{"a":1,"gone":2}"#).unwrap(), Fact::Fields { a: 1, b: None });
        assert_eq!(decode::<Fact>("Elsewhere", r#"{"x":1}"#).unwrap(), Fact::Unknown);
    }

    #[test]
    fn other_values_are_refused() {
        assert!(encode(&1).is_err());
        assert!(encode("text").is_err());
        assert!(encode(&json!({ "a": 1 })).is_err());
        assert!(decode::<u8>("Unit", "1").is_err());
        assert!(decode::<Fact>("Pair", "[1]").is_err());
    }
}
