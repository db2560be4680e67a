//! Durations and sizes as people write them: `30s`, `64MiB`.

use std::time::Duration;

const DURATION_HELP: &str =
    "is no duration: write a number and a unit, such as \"500ms\", \"30s\", \"5m\" or \"2h\"";
const SIZE_HELP: &str = "is no size: write a number and a unit, such as \"512KiB\" or \"64MiB\"";

/// Units of sizes, in bytes. A longer unit comes before a shorter one that it ends with.
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// The reason why a text is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitParseError(&'static str);

/// Reads a duration: numbers with the units `ms`, `s`, `m`, `h`, `d`, one after the other: `90s`,
/// `1.5h`, `1h 30m`.
///
/// # Errors
/// Where the text is anything else.
pub fn parse_duration(text: &str) -> Result<Duration, UnitParseError> {
    humantime::parse_duration(text.trim()).map_err(|_| UnitParseError(DURATION_HELP))
}

/// Writes a duration in the largest unit that holds it exactly, days from two on: `90s`, `24h`,
/// `7d`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    for (unit, size, least) in
        [("d", 86_400_000, 2 * 86_400_000), ("h", 3_600_000, 0), ("m", 60_000, 0), ("s", 1_000, 0)]
    {
        if milliseconds >= least && milliseconds.is_multiple_of(size) {
            return format!("{}{unit}", milliseconds / size);
        }
    }
    format!("{milliseconds}ms")
}

/// Reads a size in bytes: a whole number with one of the units `B`, `KiB`, `MiB`, `GiB`, `kB`,
/// `MB`, `GB`.
///
/// # Errors
/// Where the text is anything else, or the number is too large for this machine.
pub fn parse_size(text: &str) -> Result<usize, UnitParseError> {
    let text = text.trim();
    let unit = SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let bytes = unit.and_then(|(number, unit)| {
        let number: u64 = number.trim_end().parse().ok()?;
        number.checked_mul(unit)
    });
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or(UnitParseError(SIZE_HELP))
}

/// Writes a size in the largest binary unit that holds it exactly: `64MiB`.
#[must_use]
pub fn format_size(bytes: usize) -> String {
    for (unit, size) in [("GiB", 1_usize << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

/// Reads and writes a [`Duration`] as text, for serde.
pub mod duration {
    use super::{Duration, format_duration, parse_duration};
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Reads a duration.
    ///
    /// # Errors
    /// Where the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    /// Writes a duration.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }

    /// Returns the JSON Schema of a duration.
    #[must_use]
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^([0-9]+(\.[0-9]+)? *(ms|s|m|h|d) *)+$", "examples": ["30s"] })
    }
}

/// Reads and writes an optional [`Duration`] as text, for serde.
pub mod optional_duration {
    use super::{Duration, format_duration, parse_duration};
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    /// Reads a duration, if there is one.
    ///
    /// # Errors
    /// Where the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse_duration(&text).map_err(D::Error::custom)).transpose()
    }

    /// Writes a duration, if there is one.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(format_duration).serialize(serializer)
    }

    /// Returns the JSON Schema of a duration.
    #[must_use]
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "null"], "pattern": r"^([0-9]+(\.[0-9]+)? *(ms|s|m|h|d) *)+$", "examples": ["30s"] })
    }
}

/// Reads and writes a list of [`Duration`]s as texts, for serde.
pub mod durations {
    use super::{Duration, format_duration, parse_duration};
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Reads a list of durations.
    ///
    /// # Errors
    /// Where one of the texts is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Duration>, D::Error> {
        let read = |text: String| {
            parse_duration(&text)
                .map_err(|error| D::Error::custom(format_args!("the entry `{text}` {error}")))
        };
        Vec::<String>::deserialize(deserializer)?.into_iter().map(read).collect()
    }

    /// Writes a list of durations.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(
        durations: &[Duration],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().map(|duration| format_duration(*duration)))
    }

    /// Returns the JSON Schema of a list of durations.
    #[must_use]
    pub fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": super::duration::schema(generator) })
    }
}

/// Reads and writes a size in bytes as text, for serde.
pub mod size {
    use super::{SIZE_HELP, format_size, parse_size};
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serde_json::Value;

    /// Reads a size.
    ///
    /// # Errors
    /// Where the text is no size.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let Value::String(text) = Value::deserialize(deserializer)? else {
            return Err(D::Error::custom(SIZE_HELP));
        };
        parse_size(&text).map_err(D::Error::custom)
    }

    /// Writes a size.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(*bytes))
    }

    /// Returns the JSON Schema of a size.
    #[must_use]
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|kB|MB|GB)$", "examples": ["64MiB"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0B", 0),
            ("17B", 17),
            ("4KiB", 4_096),
            ("64 MiB", 67_108_864),
            ("2kB", 2_000),
            ("1MB", 1_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "17",
            "MiB",
            "-1",
            "1.5MiB",
            "1 XB",
            "1kib",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_their_largest_exact_unit() {
        for (seconds, text) in [
            (5, "5s"),
            (90, "90s"),
            (120, "2m"),
            (5_400, "90m"),
            (86_400, "24h"),
            (172_800, "2d"),
            (216_000, "60h"),
        ] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format_duration(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "-1s", "5 parsecs", "soon"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0_u64..10_000_000_000, bytes in 0_usize..1 << 40) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }
}
