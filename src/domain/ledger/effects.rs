//! What is to be published once a record counts, written down in the record itself.
//!
//! Whoever finds a decision whose effects nobody is known to have published publishes them from the record, so that they
//! are the same whoever does it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::dead_letter::{self, DeadLetter};
use crate::domain::event::Event;
use crate::domain::inquiry::DEADLINE_HEADER;

/// The effects of a decision, as its record holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedEffects {
    /// What happened.
    pub event: Event,
    /// Whether the event is published; ends always are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// The message itself, sent on: a continuation, or a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
}

impl RecordedEffects {
    /// What the dead letter says that is kept, if one is.
    #[must_use]
    pub fn dead_letter(&self) -> Option<DeadLetter> {
        match self.carried.as_ref()?.headers.get(dead_letter::HEADER)? {
            HeaderValue::Text(json) => serde_json::from_str(json).ok(),
            HeaderValue::Flag(_) | HeaderValue::Number(_) => None,
        }
    }

    /// Until when the provider, which has accepted the command, may take to finish it.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.carried.as_ref()?.headers.get(DEADLINE_HEADER)? {
            HeaderValue::Text(time) => time.parse().ok(),
            HeaderValue::Flag(_) | HeaderValue::Number(_) => None,
        }
    }
}

/// Where the message of a command goes next. Its body and its publisher's properties are those of the delivery, which
/// comes back until it is acked, so they are not written down again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Carried {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// ferryd's own headers.
    pub headers: BTreeMap<String, HeaderValue>,
}

/// A value in a header of ferryd's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderValue {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}
