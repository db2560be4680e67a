//! The ids of records.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::parsed_text;

/// The id of one record: its writer, and its number among that writer's records, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The process that wrote the record.
    pub writer: Uuid,
    /// The number among that writer's records. A record with a number not above one already read is
    /// a repeat.
    pub number: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.writer, self.number)
    }
}

/// An error: a text is not the id of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no record: write `<uuid>.<number>`")]
pub struct InvalidRecordId(String);

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, InvalidRecordId> {
        let parts = text
            .split_once('.')
            .and_then(|(writer, number)| Some((writer.parse().ok()?, number.parse().ok()?)));
        parts
            .map(|(writer, number)| Self { writer, number })
            .ok_or_else(|| InvalidRecordId(text.to_owned()))
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut writer = Uuid::encode_buffer();
        let writer: &str = self.writer.hyphenated().encode_lower(&mut writer);
        serializer.serialize_str(&[writer, &self.number.to_string()].join("."))
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text::deserialize(deserializer)
    }
}

impl JsonSchema for RecordId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RecordId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "`<uuid of the writer>.<number>`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_is_shown_and_read_again() {
        for number in [0, 1, 4_096, u64::MAX] {
            let id = RecordId { writer: Uuid::from_u128(0xabcd_ef01_2345), number };
            let written = serde_json::to_string(&id).unwrap();
            assert_eq!(written, format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<RecordId>(&written).unwrap(), id);
        }
    }
}
