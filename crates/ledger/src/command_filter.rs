//! The filter of commands and dead letters: one type for the index, the HTTP API, jobs and the
//! command line.

use std::borrow::Cow;
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use ferryd_domain::command_id::CommandId;
use ferryd_domain::command_scope::CommandScope;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::name::Name;

/// The name of the failure kind that dead letters without a readable record have.
pub const UNREADABLE: &str = "unreadable";

/// The pattern of a point in time (RFC 3339) or of an age, such as `36h`.
pub const TIME_PATTERN: &str = concat!(
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    r"|([0-9]+(\.[0-9]+)?(ms|s|m|h|d) ?)+)$"
);

/// Selects commands. All given criteria must hold; an empty filter selects every command.
///
/// The description of each field is its help on the command line, its description in the API, and
/// part of its errors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, Args)]
#[serde(default, deny_unknown_fields)]
pub struct CommandFilter {
    /// Only those with one of these ids
    #[arg(value_name = "ID")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<CommandId>,
    /// Only those of this type, such as payment
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Name>,
    /// Only those of this provider, which need not be configured any more
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// Only those of this account
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
    /// Only those of this operation
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Name>,
    /// Only those with this reference of their publisher's
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Only those in this state: pending, processing, waiting, completed, failed
    #[arg(long, value_parser = parse_state)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LifecycleState>,
    /// Only those that failed as this: declined, invalid, rejected, unavailable, expired,
    /// unresolved, cancelled, poison, discarded; or unreadable, which dead letters without a record
    /// are
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<WantedKind>,
    /// Only those that failed with this code, the provider's or ferryd's own
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Only those whose last answer had this status
    #[arg(long, value_name = "STATUS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Only those in this generation: 0 as published, 1 after a first replay
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Only those that last changed, as a dead letter does when it is given up, longer ago than
    /// this, such as 36h, or before this time (RFC 3339)
    #[arg(long, value_name = "AGE", value_parser = parse_past_time)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_past_time")]
    #[schemars(extend("pattern" = TIME_PATTERN), with = "String")]
    pub older_than: Option<Timestamp>,
    /// Only those that last changed within this time, such as 2h, or at this time (RFC 3339) or
    /// later
    #[arg(long, value_name = "AGE", value_parser = parse_past_time)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_past_time")]
    #[schemars(extend("pattern" = TIME_PATTERN), with = "String")]
    pub newer_than: Option<Timestamp>,
    /// Only those that something has contradicted
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub conflicts: bool,
    /// Limits the filter to dead letters. The list that is queried sets this field; a caller of the
    /// API can't.
    #[arg(skip)]
    #[serde(skip)]
    pub dead: bool,
    /// Limits the filter to commands of which nothing but a request to cancel them is known, or
    /// leaves those out. The list that is queried sets this field; a caller of the API can't.
    #[arg(skip)]
    #[serde(skip)]
    pub cancel_requested: Option<bool>,
    /// Limits the filter to the scope of the caller's token. The scope is never part of the filter
    /// as text: code that stores a filter as JSON stores the scope beside it.
    #[arg(skip)]
    #[serde(skip)]
    pub scope: CommandScope,
}

impl CommandFilter {
    /// The names of the filter's arguments on the command line.
    pub const ARGUMENTS: [&'static str; 14] = [
        "ids",
        "type",
        "provider",
        "account",
        "operation",
        "reference",
        "state",
        "kind",
        "code",
        "http_status",
        "generation",
        "older_than",
        "newer_than",
        "conflicts",
    ];

    /// Returns true if the filter selects every command.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The kind of failure that a filter selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WantedKind {
    /// A kind of failure that is recorded.
    Recorded(FailureKind),
    /// Dead letters without a readable record, which only their queue holds.
    Unreadable,
}

impl WantedKind {
    /// Returns the name of the kind, as a filter has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded(kind) => kind.as_str(),
            Self::Unreadable => UNREADABLE,
        }
    }
}

impl From<FailureKind> for WantedKind {
    fn from(kind: FailureKind) -> Self {
        Self::Recorded(kind)
    }
}

impl FromStr for WantedKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == UNREADABLE { Ok(Self::Unreadable) } else { word.parse().map(Self::Recorded) }
    }
}

impl TryFrom<String> for WantedKind {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        word.parse()
    }
}

impl From<WantedKind> for String {
    fn from(kind: WantedKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl JsonSchema for WantedKind {
    fn schema_name() -> Cow<'static, str> {
        "WantedKind".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let recorded = generator.subschema_for::<FailureKind>();
        let description = "A dead letter without a readable record.";
        json_schema!({ "anyOf": [recorded, { "const": UNREADABLE, "description": description }] })
    }
}

fn parse_state(word: &str) -> Result<LifecycleState, String> {
    let known = LifecycleState::ALL.into_iter().find(|state| state.as_str() == word);
    known.ok_or_else(|| {
        format!(
            "unknown state; known are {}",
            LifecycleState::ALL.map(LifecycleState::as_str).join(", ")
        )
    })
}

/// Reads a point in time (RFC 3339), or an age such as `36h` before now.
///
/// # Errors
/// A message for a person, where the text is neither.
pub fn parse_past_time(text: &str) -> Result<Timestamp, String> {
    let ago = || {
        humantime::parse_duration(text.trim())
            .ok()
            .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
    };
    text.parse().ok().or_else(ago).ok_or_else(|| {
        "it is no time: write one as 2026-01-31T12:00:00Z, or how long ago it was, as 36h"
            .to_owned()
    })
}

/// Reads an optional point in time, or an age before now.
///
/// # Errors
/// As of [`parse_past_time`].
pub fn read_past_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_past_time(&text)).transpose().map_err(serde::de::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
#[path = "command_filter_tests.rs"]
mod tests;
