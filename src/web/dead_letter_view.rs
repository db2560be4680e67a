//! The form of a dead letter in answers of the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::operator::properties;
use crate::operator::queued_dead_letter::{BrokerRefusal, QueuedDeadLetter};
use ferryd_domain::dead_letter::DeadLetter;

/// A dead letter, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterView {
    /// The queue in which the dead letter lies.
    pub queue: String,
    /// The record that ferryd wrote of the dead letter; absent where it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<DeadLetter>,
    /// The original message. Only with `message=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<DeadMessage>,
}

/// The message of a dead letter, as it was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadMessage {
    /// The AMQP properties and headers of the message.
    pub properties: Map<String, Value>,
    /// The body of the message: a text where it is no JSON.
    pub body: Value,
    /// The broker's refusal of the message. ferryd then published it within the body of another
    /// message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<BrokerRefusal>,
}

impl From<QueuedDeadLetter> for DeadLetterView {
    fn from(dead: QueuedDeadLetter) -> Self {
        let text = || Value::String(String::from_utf8_lossy(&dead.body).into_owned());
        let body = serde_json::from_slice(&dead.body).unwrap_or_else(|_| text());
        let properties = properties::to_json(&dead.properties);
        let message = DeadMessage { properties, body, refused: dead.refused };
        Self { queue: dead.queue, record: dead.letter, message: Some(message) }
    }
}
