//! Writes and reads the fields of a type as parameters of a URL: texts as they are, lists with
//! commas.

use std::collections::BTreeMap;

use serde::de::value::{Error, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::Value;
use url::form_urlencoded;

/// Writes the fields of a value as the query of a URL.
///
/// # Errors
/// The value is no object with plain fields, and lists of plain items.
pub fn write_query(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let plain = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let fields: serde_json::Map<String, Value> =
        serde_json::from_value(serde_json::to_value(value)?)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) => {
                let items: Vec<_> = items.into_iter().map(plain).collect();
                query.append_pair(&name, &items.join(","));
            }
            value => {
                query.append_pair(&name, &plain(value));
            }
        }
    }
    Ok(query.finish())
}

/// Takes the parameters that are fields of one type, and leaves the others.
pub(super) struct TakeFields<'a> {
    parameters: &'a mut BTreeMap<String, String>,
    /// The parameter that is being read.
    current: &'a mut Option<String>,
}

impl<'a> TakeFields<'a> {
    /// Takes from these parameters, and writes the name of the one that is being read to `current`.
    pub fn of(
        parameters: &'a mut BTreeMap<String, String>,
        current: &'a mut Option<String>,
    ) -> Self {
        Self { parameters, current }
    }
}

impl<'de> Deserializer<'de> for TakeFields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only fields of an object are parameters"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let taken: Vec<_> =
            fields.iter().filter_map(|field| self.parameters.remove_entry(*field)).collect();
        visitor.visit_map(TakenFields {
            left: taken.into_iter(),
            value: None,
            current: self.current,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct TakenFields<'a> {
    left: std::vec::IntoIter<(String, String)>,
    value: Option<String>,
    current: &'a mut Option<String>,
}

impl<'de> MapAccess<'de> for TakenFields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        *self.current = None;
        let Some((name, value)) = self.left.next() else { return Ok(None) };
        self.value = Some(value);
        let key = seed.deserialize(StrDeserializer::new(&name))?;
        *self.current = Some(name);
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(ParameterValue(&self.value.take().unwrap_or_default()))
    }
}

/// The text of a parameter, or of an item of a list.
struct ParameterValue<'a>(&'a str);

impl IntoDeserializer<'_> for ParameterValue<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads a number from the text.
macro_rules! number {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.0.parse().map_err(|_| Error::custom("it is no number that fits"))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for ParameterValue<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Error::custom("it is neither `true` nor `false`")),
        }
    }

    number! {
        deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64 deserialize_f64 visit_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.0.split(',').map(ParameterValue)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        StrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct struct map
        identifier ignored_any
    }
}
