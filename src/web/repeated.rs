//! Finds a field that stands twice in one JSON object, where readers differ in which of the two
//! counts.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Describes the first field that stands twice in any object of a body. A body that is no JSON is
/// refused elsewhere.
pub(crate) fn repeated_field(body: &[u8]) -> Option<String> {
    let error =
        serde_json::from_slice::<DistinctFields>(body).err().filter(serde_json::Error::is_data)?;
    Some(error.to_string())
}

/// Reads any JSON value in whose objects each field stands once.
struct DistinctFields;

impl<'de> Deserialize<'de> for DistinctFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for DistinctFields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format_args!(
                    "the field `{}` is there twice",
                    name.escape_debug()
                )));
            }
            fields.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_stands_twice_in_one_object_is_named() {
        for (body, name) in [
            (r#"{"a":1,"b":2,"a":3}"#, Some("a")),
            (r#"{"a":{"b":1},"c":[1,{"x":null,"x":null}]}"#, Some("x")),
            // The same name, escaped.
            (r#"{"a":1,"\u0061":1}"#, Some("a")),
            (r#"{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}"#, None),
            (r#"[1,-2,0.5,1e300,18446744073709551615,true,null,"x"]"#, None),
            // No JSON.
            ("{", None),
            (r#"{"a":1,"b"}"#, None),
        ] {
            let found = repeated_field(body.as_bytes());
            assert_eq!(found.is_some(), name.is_some(), "{body}: {found:?}");
            let named = name.is_none_or(|name| {
                found.unwrap().starts_with(&format!("the field `{name}` is there twice"))
            });
            assert!(named, "{body}");
        }
    }
}
