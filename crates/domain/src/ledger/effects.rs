//! The effects of a decision: the messages to publish once its record counts, held in the record
//! itself.
//!
//! An instance that finds a decision whose effects may be unpublished publishes them from the
//! record, so the messages are the same whichever instance does it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dead_letter::{self, DeadLetter};
use crate::event::EncodedEvent;
use crate::query::DEADLINE_HEADER;

/// The effects of a decision, as its record holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedEffects {
    /// The event of the decision.
    pub event: EncodedEvent,
    /// True if the event is published; ends always are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub publish_event: bool,
    /// The command's message, sent on: a continuation, or a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<ContinuationEffect>,
}

impl RecordedEffects {
    /// Returns the description of the dead letter, if the decision leaves one.
    #[must_use]
    pub fn dead_letter(&self) -> Option<DeadLetter> {
        match self.message.as_ref()?.headers.get(dead_letter::HEADER)? {
            HeaderValue::Text(json) => serde_json::from_str(json).ok(),
            HeaderValue::Flag(_) | HeaderValue::Number(_) => None,
        }
    }

    /// Returns the time by which the provider has to finish an accepted command.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.message.as_ref()?.headers.get(DEADLINE_HEADER)? {
            HeaderValue::Text(time) => time.parse().ok(),
            HeaderValue::Flag(_) | HeaderValue::Number(_) => None,
        }
    }
}

/// The next destination of a command's message. Its body and its publisher's properties are those
/// of the delivery, which returns until it is acked, so they are not recorded again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContinuationEffect {
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
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}
