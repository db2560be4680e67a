//! A dead letter, as it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::dead_letter::DeadLetter;
use crate::operator::dead::{Dead, Refusal};
use crate::operator::properties;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The queue in which its message lies.
    pub queue: String,
    /// The record that ferryd wrote of it; absent where that can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<DeadLetter>,
    /// The original message. Only with `message=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<DeadMessage>,
}

/// The message of a dead letter, as it was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadMessage {
    /// Its AMQP properties and headers.
    pub properties: Map<String, Value>,
    /// Its body: a text where it is no JSON.
    pub body: Value,
    /// The broker's refusal of it, which then lay in the body of another message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl From<Dead> for DeadLetterView {
    fn from(dead: Dead) -> Self {
        let text = || Value::String(String::from_utf8_lossy(&dead.body).into_owned());
        let body = serde_json::from_slice(&dead.body).unwrap_or_else(|_| text());
        let properties = properties::to_json(&dead.properties);
        let message = DeadMessage { properties, body, refused: dead.refused };
        Self { queue: dead.queue, record: dead.letter, message: Some(message) }
    }
}
