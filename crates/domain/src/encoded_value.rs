//! Values with their JSON form, which is written once: records, states of commands and messages
//! contain the same text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::json_writer::{JsonWriter, WriteJson};

/// A value that does not change any more, with its JSON form. Copies share both.
pub struct EncodedValue<T>(Arc<ValueWithJson<T>>);

struct ValueWithJson<T> {
    value: T,
    json: Box<str>,
}

impl<T> EncodedValue<T> {
    /// Returns the value in its JSON form.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0.json
    }
}

impl<T: WriteJson + Clone> EncodedValue<T> {
    /// Returns a copy of the value with changes.
    #[must_use]
    pub fn with_changes(&self, change: impl FnOnce(&mut T)) -> Self {
        let mut value = self.0.value.clone();
        change(&mut value);
        value.into()
    }
}

impl<T: WriteJson> From<T> for EncodedValue<T> {
    fn from(value: T) -> Self {
        let json = value.to_json();
        Self(Arc::new(ValueWithJson { value, json }))
    }
}

impl<T> Clone for EncodedValue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for EncodedValue<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for EncodedValue<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl<T: Eq> Eq for EncodedValue<T> {}

impl<T: fmt::Debug> fmt::Debug for EncodedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Serialize for EncodedValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What ferryd writes for each command is written by `WriteJson`; serde reads the text again
        // before it copies it.
        let raw: &RawValue = serde_json::from_str(&self.0.json).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<T> WriteJson for EncodedValue<T> {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        json.raw(&self.0.json);
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for EncodedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let value = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        Ok(Self(Arc::new(ValueWithJson { value, json: json.into() })))
    }
}

impl<T: JsonSchema> JsonSchema for EncodedValue<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value() -> Value {
        json!({"id": "ch_1", "amount": 1.50, "note": "ü \"\n", "list": [1, null]})
    }

    #[test]
    fn the_text_is_that_of_the_value_wherever_it_is_written() {
        let encoded = EncodedValue::from(value());
        assert_eq!(encoded.json(), value().to_string());
        assert_eq!(serde_json::to_string(&[&encoded]).unwrap(), format!("[{}]", encoded.json()));
        assert_eq!(serde_json::to_value(&encoded).unwrap(), value());
    }

    #[test]
    fn a_value_is_read_with_its_text() {
        let written = EncodedValue::from(value());
        let from_text: EncodedValue<Value> = serde_json::from_str(written.json()).unwrap();
        let from_value: EncodedValue<Value> = serde_json::from_value(value()).unwrap();
        let from_reference = EncodedValue::<Value>::deserialize(&value()).unwrap();
        for read in [from_text, from_value, from_reference] {
            assert_eq!((&read, read.json()), (&written, written.json()));
        }
        assert!(serde_json::from_str::<EncodedValue<u8>>("-1").is_err());
    }

    #[test]
    fn changes_leave_the_original_as_it_is() {
        let encoded = EncodedValue::from(value());
        let changed = encoded.with_changes(|value| value["id"] = json!("ch_2"));
        assert!(encoded.json().contains("ch_1") && changed.json().contains("ch_2"));
        assert!(encoded != changed && encoded == encoded.clone());
    }
}
