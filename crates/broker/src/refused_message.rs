//! Messages that the broker refused, in a form that it cannot refuse: everything is in the body.
//!
//! The body is JSON, [`RefusedMessage`]; the properties are the same for all: persistent,
//! `application/json`, the type `ferry.refused`. Such a message is published as a dead letter,
//! under its provider. The refused message is restored whole from it, except for a body that had to
//! be cut, and for the widths of numbers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use serde::{Deserialize, Serialize};

use super::failure::CloseCause;
use super::message::{OutgoingMessage, persistent_properties, short_or_empty, short_string};
use ferryd_domain::event::CONTENT_TYPE;

/// The AMQP property `type` of these messages.
const KIND: &str = "ferry.refused";
/// The version of the body's format.
const VERSION: u32 = 1;
/// The maximum number of bytes of a body that are kept where the broker refuses the whole for its
/// size.
const EXCERPT: usize = 1024;

/// A message that the broker refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedMessage {
    /// The version of this format, 1.
    pub version: u32,
    /// The time of the refusal.
    pub refused_at: Timestamp,
    /// The reply code of AMQP, where the broker gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The broker's reason.
    pub reason: String,
    /// The exchange to which the message was published; empty for the default exchange.
    pub exchange: String,
    /// The routing key of the message.
    pub routing_key: String,
    /// The properties of the message that are texts, by their names in AMQP.
    pub properties: BTreeMap<String, String>,
    /// The property `timestamp` of the message, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// The property `priority` of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The headers of the message.
    pub headers: BTreeMap<String, RefusedHeader>,
    /// The body of the message.
    pub body: RefusedBody,
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedHeader {
    /// A text.
    Text(String),
    /// Bytes that are not UTF-8, in base64.
    Bytes(String),
    /// A whole number of any width.
    Number(i64),
    /// A fraction.
    Fraction(f64),
    /// A time, in seconds.
    Time(u64),
    /// A boolean.
    Flag(bool),
    /// A list.
    List(Vec<RefusedHeader>),
    /// A table.
    Table(BTreeMap<String, RefusedHeader>),
    /// No value.
    Nothing,
}

/// The body of a refused message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBody {
    /// The body as text.
    Text(String),
    /// The body in base64, because it is not UTF-8.
    Base64(String),
    /// The beginning of a body that was too large.
    Excerpt {
        /// The beginning as text.
        text: String,
        /// The size of the whole body in bytes.
        bytes: usize,
    },
}

impl RefusedMessage {
    /// Describes a message that the broker refused.
    #[must_use]
    pub fn new(message: &OutgoingMessage, cause: &CloseCause, refused_at: Timestamp) -> Self {
        let OutgoingMessage { exchange, routing_key, properties, body } = message;
        let body = match std::str::from_utf8(body) {
            Ok(text) => RefusedBody::Text(text.to_owned()),
            Err(_) => RefusedBody::Base64(STANDARD.encode(body)),
        };
        let headers = properties.headers().as_ref().map(read_table).unwrap_or_default();
        let texts = texts(properties)
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), text?.to_string())));
        Self {
            version: VERSION,
            refused_at,
            code: cause.code,
            reason: cause.reason.clone(),
            exchange: exchange.to_string(),
            routing_key: routing_key.to_string(),
            properties: texts.collect(),
            timestamp: *properties.timestamp(),
            priority: *properties.priority(),
            headers,
            body,
        }
    }

    /// Returns the description with only the beginning of the body.
    #[must_use]
    pub fn truncate_body(self, message: &OutgoingMessage) -> Self {
        let bytes = message.body.len();
        let text = String::from_utf8_lossy(&message.body[..bytes.min(EXCERPT)]).into_owned();
        Self { body: RefusedBody::Excerpt { text, bytes }, ..self }
    }

    /// Builds the message that keeps the description, for the exchange of dead letters.
    #[must_use]
    pub fn to_message(&self, dead_letters: ShortString) -> OutgoingMessage {
        let properties = persistent_properties()
            .with_content_type("application/json".into())
            .with_type(KIND.into());
        let routing_key = short_or_empty(self.provider_word());
        // Texts and numbers always have a JSON form.
        let body = serde_json::to_vec(self).unwrap_or_default();
        OutgoingMessage { exchange: dead_letters, routing_key, properties, body }
    }

    /// Returns the word for the provider in the routing key. A word that is no provider's leads to
    /// the dead letters without a provider.
    fn provider_word(&self) -> &str {
        let word = |number: usize| self.routing_key.split('.').nth(number);
        let kind = self.exchange.split_once('.').map(|(_, kind)| kind);
        let word = if matches!(kind, Some("dead" | "webhooks")) { word(0) } else { word(1) };
        word.filter(|_| kind.is_some()).unwrap_or("unknown")
    }

    /// Reads a description from a message; `None` where the message holds none.
    #[must_use]
    pub fn read(properties: &BasicProperties, body: &[u8]) -> Option<Self> {
        let is_refused = properties.kind().as_ref().is_some_and(|kind| kind.as_str() == KIND);
        is_refused.then(|| serde_json::from_slice(body).ok()).flatten()
    }

    /// Returns the properties of the refused message.
    #[must_use]
    pub fn properties(&self) -> BasicProperties {
        let text = |name: &str| self.properties.get(name).and_then(|text| short_string(text).ok());
        let mut properties = persistent_properties().with_headers(write_table(&self.headers));
        macro_rules! restore {
            ($($name:literal => $with:ident),*) => {
                $(if let Some(text) = text($name) { properties = properties.$with(text); })*
            };
        }
        restore!(
            "content_type" => with_content_type, "content_encoding" => with_content_encoding,
            "correlation_id" => with_correlation_id, "reply_to" => with_reply_to, "message_id" => with_message_id,
            "expiration" => with_expiration, "type" => with_type, "user_id" => with_user_id, "app_id" => with_app_id
        );
        let properties =
            self.timestamp.into_iter().fold(properties, BasicProperties::with_timestamp);
        self.priority.into_iter().fold(properties, BasicProperties::with_priority)
    }

    /// Returns the body of the refused message, or the kept part of it.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        match &self.body {
            RefusedBody::Text(text) | RefusedBody::Excerpt { text, .. } => {
                text.clone().into_bytes()
            }
            RefusedBody::Base64(text) => STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

/// Returns an event with its body alone; `None` for a message that is no event, or has nothing
/// beside its body.
pub(super) fn bare_event(message: &OutgoingMessage) -> Option<OutgoingMessage> {
    let content_type =
        message.properties.content_type().clone().filter(|kind| kind.as_str() == CONTENT_TYPE)?;
    let properties = persistent_properties().with_content_type(content_type);
    (properties != message.properties).then(|| OutgoingMessage { properties, ..message.clone() })
}

fn texts(properties: &BasicProperties) -> [(&'static str, Option<&ShortString>); 9] {
    [
        ("content_type", properties.content_type().as_ref()),
        ("content_encoding", properties.content_encoding().as_ref()),
        ("correlation_id", properties.correlation_id().as_ref()),
        ("reply_to", properties.reply_to().as_ref()),
        ("message_id", properties.message_id().as_ref()),
        ("expiration", properties.expiration().as_ref()),
        ("type", properties.kind().as_ref()),
        ("user_id", properties.user_id().as_ref()),
        ("app_id", properties.app_id().as_ref()),
    ]
}

fn read_table(table: &FieldTable) -> BTreeMap<String, RefusedHeader> {
    table
        .inner()
        .iter()
        .map(|(name, value)| (name.to_string(), RefusedHeader::from(value)))
        .collect()
}

fn write_table(headers: &BTreeMap<String, RefusedHeader>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        if let Ok(name) = short_string(name) {
            table.insert(name, value.into());
        }
    }
    table
}

impl From<&AMQPValue> for RefusedHeader {
    fn from(value: &AMQPValue) -> Self {
        match value {
            AMQPValue::Boolean(flag) => Self::Flag(*flag),
            AMQPValue::ShortShortInt(number) => Self::Number((*number).into()),
            AMQPValue::ShortShortUInt(number) => Self::Number((*number).into()),
            AMQPValue::ShortInt(number) => Self::Number((*number).into()),
            AMQPValue::ShortUInt(number) => Self::Number((*number).into()),
            AMQPValue::LongInt(number) => Self::Number((*number).into()),
            AMQPValue::LongUInt(number) => Self::Number((*number).into()),
            AMQPValue::LongLongInt(number) => Self::Number(*number),
            AMQPValue::Float(fraction) => Self::Fraction((*fraction).into()),
            AMQPValue::Double(fraction) => Self::Fraction(*fraction),
            AMQPValue::DecimalValue(decimal) => {
                Self::Fraction(f64::from(decimal.value) / 10_f64.powi(decimal.scale.into()))
            }
            AMQPValue::ShortString(text) => Self::Text(text.to_string()),
            AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Bytes(STANDARD.encode(text.as_bytes())),
            },
            AMQPValue::ByteArray(bytes) => Self::Bytes(STANDARD.encode(bytes.as_slice())),
            AMQPValue::FieldArray(items) => {
                Self::List(items.as_slice().iter().map(Self::from).collect())
            }
            AMQPValue::FieldTable(table) => Self::Table(read_table(table)),
            AMQPValue::Timestamp(seconds) => Self::Time(*seconds),
            AMQPValue::Void => Self::Nothing,
        }
    }
}

impl From<&RefusedHeader> for AMQPValue {
    fn from(header: &RefusedHeader) -> Self {
        match header {
            RefusedHeader::Text(text) => Self::LongString(LongString::from(text.as_str())),
            RefusedHeader::Bytes(text) => {
                Self::LongString(LongString::from(STANDARD.decode(text).unwrap_or_default()))
            }
            RefusedHeader::Number(number) => Self::LongLongInt(*number),
            RefusedHeader::Fraction(fraction) => Self::Double(*fraction),
            RefusedHeader::Time(seconds) => Self::Timestamp(*seconds),
            RefusedHeader::Flag(flag) => Self::Boolean(*flag),
            RefusedHeader::List(items) => {
                Self::FieldArray(items.iter().map(Self::from).collect::<Vec<_>>().into())
            }
            RefusedHeader::Table(table) => Self::FieldTable(write_table(table)),
            RefusedHeader::Nothing => Self::Void,
        }
    }
}

#[cfg(test)]
#[path = "refused_message_tests.rs"]
mod tests;
