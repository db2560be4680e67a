//! Reads the part of a call's line that the index records. Those fields come first in a line, and the
//! rest of it, which is far longer, is not parsed.

use std::fmt;

use jiff::Timestamp;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The part of a line that the index records.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexedLine {
    pub at: Timestamp,
    pub command: String,
}

impl IndexedLine {
    /// Reads a line up to the last of the fields; `None` where one is missing.
    pub fn read(line: &[u8]) -> Option<Self> {
        Self::read_first_fields(line).or_else(|| Self::parse(line))
    }

    /// Reads a line that begins as this version writes it; `None` for any other line.
    fn read_first_fields(line: &[u8]) -> Option<Self> {
        let (at, rest) = simple_text(line.strip_prefix(b"{\"at\":\"")?)?;
        let (command, _) = simple_text(rest.strip_prefix(b",\"command\":\"")?)?;
        Some(Self { at: at.parse().ok()?, command: command.to_owned() })
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = LineFields::default();
        // An error means that the line goes on behind the fields, or has none.
        let _ = serde_json::Deserializer::from_slice(line).deserialize_map(&mut fields);
        Some(Self { at: fields.at?, command: fields.command? })
    }
}

/// Splits a text of JSON, of which the first quote was read, from what follows it; `None` where it
/// has escapes or is no UTF-8.
fn simple_text(json: &[u8]) -> Option<(&str, &[u8])> {
    let end = json.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (text, rest) = json.split_at(end);
    Some((std::str::from_utf8(text).ok()?, rest.strip_prefix(b"\"")?))
}

/// The fields that were read so far.
#[derive(Default)]
struct LineFields {
    at: Option<Timestamp>,
    command: Option<String>,
}

impl<'de> Visitor<'de> for &mut LineFields {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record of a call")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while self.at.is_none() || self.command.is_none() {
            match map.next_key::<String>()?.as_deref() {
                Some("at") => self.at = Some(map.next_value()?),
                Some("command") => self.command = Some(map.next_value()?),
                Some(_) => drop(map.next_value::<IgnoredAny>()?),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_read_wherever_they_stand_and_nothing_behind_them() {
        let read = |line: &str| {
            IndexedLine::read(line.as_bytes()).map(|line| (line.at.as_second(), line.command))
        };
        let expected = Some((7, "c-1".to_owned()));
        for line in [
            r#"{"at":"1970-01-01T00:00:07Z","command":"c-1","host":{"no":"JSON"#,
            r#"{"at":"1970-01-01T00:00:07Z","command":"c-1"}"#,
            r#"{"host":{"at":"x","command":3},"command":"c\u002d1","at":"1970-01-01T00:00:07Z","response":[]}"#,
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
        for line in
            [r#"{"at":"1970-01-01T00:00:07Z"}"#, r#"{"at":7,"command":"c-1"}"#, "[]", "", "{"]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
