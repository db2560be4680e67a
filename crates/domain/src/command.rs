//! The command that a core application publishes, and the rules for decoding it.
//!
//! Decoding keeps the identity of an invalid command: an error has the fields that could be read,
//! so that a `failed` event reaches the publisher.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::command_id::{CommandId, PublishedCommandId};
use super::encoded_value::EncodedValue;
use super::name::{Name, excerpt};
use super::outcome::Failure;

/// The maximum size of a command's body, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// The most bytes of a reference, or of metadata, in a header.
const MOST_IN_HEADER: usize = 4 * 1024;

/// The value of `provider` that selects the provider of the type's route.
pub const ANY: &str = "any";

/// A command as it stands in a message body: UTF-8 JSON, published persistent to the exchange
/// `ferry.commands` under the routing key `<type>.<provider>.<operation>`. `null` is absent; fields
/// that start with `x_` are ignored; any other unknown field is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "ferryd command")]
pub struct CommandBody {
    /// Unique over all publishers. Absent: the AMQP property `message_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PublishedCommandId>,
    /// The provider's type, such as `payment`, `shipping` or `notification`.
    pub r#type: Name,
    /// The configured provider; `any` or absent where a route for the type exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The account whose credentials the call uses. Absent: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
    /// The operation that the provider is to carry out.
    pub operation: Name,
    /// Echoed in every event. Absent: the AMQP property `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// No attempt starts before this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// No attempt starts after this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The input of the operation; checked against the operation's JSON Schema.
    #[serde(default)]
    pub payload: Map<String, Value>,
    /// Strings echoed in every event.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A command whose every field has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The id of the command.
    pub id: CommandId,
    /// The provider's type.
    pub kind: Name,
    /// The provider as written; `None` for `any`.
    pub provider: Option<Name>,
    /// The account whose credentials the call uses.
    pub account: Name,
    /// The operation that the provider is to carry out.
    pub operation: Name,
    /// Echoed in events.
    pub reference: Option<String>,
    /// No attempt starts before this time.
    pub not_before: Option<Timestamp>,
    /// No attempt starts after this time.
    pub expires_at: Option<Timestamp>,
    /// The input of the operation.
    pub payload: Map<String, Value>,
    /// Echoed in events.
    pub metadata: BTreeMap<String, String>,
}

/// The code and the message of a fault in a body.
type CommandFault = (&'static str, String);

impl CommandBody {
    fn read(body: &[u8]) -> Result<Self, CommandFault> {
        if body.len() > MAX_BODY {
            let size = body.len();
            let message = format!("the body has {size} bytes; at most {MAX_BODY} are taken");
            return Err(("too_large", message));
        }
        // A list would be taken for the fields in their order. The body is checked for UTF-8 once,
        // not in each of its texts.
        if body.trim_ascii_start().starts_with(b"{")
            && let Ok(text) = str::from_utf8(body)
            && let Ok(fields) = serde_json::from_str(text)
        {
            return Ok(fields);
        }
        let value = serde_json::from_slice(body)
            .map_err(|error| ("not_json", format!("the body is not UTF-8 JSON: {error}")))?;
        Self::from_value(value)
    }

    /// Reads what few publishers write, such as `x_…` fields, and names the fault of what can't be
    /// read.
    fn from_value(value: Value) -> Result<Self, CommandFault> {
        if !value.is_object() {
            let found = match &value {
                Value::Array(_) => "a list",
                Value::String(_) => "a text",
                Value::Number(_) => "a number",
                Value::Bool(_) => "a truth value",
                Value::Null | Value::Object(_) => "null",
            };
            let text = format!("the body is {found}, not an object with the fields of a command");
            return Err(("invalid_field", text));
        }
        serde_path_to_error::deserialize(normalise(value)).map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." { String::new() } else { format!("`{path}`: ") };
            ("invalid_field", format!("{place}{}", error.inner()))
        })
    }
}

/// A command's identity, as echoed in events and dead letters. Fields that could not be read from
/// an invalid message are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EchoedIdentity {
    /// The command's id, one derived from the content where a message has none; in records and dead
    /// letters of a message that was refused, `<id>/refused/<digest>`.
    pub id: CommandId,
    /// The provider's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Name>,
    /// The provider that was called or would have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
    /// The operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Name>,
    /// The publisher's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The publisher's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// An identity that events and records contain.
pub type EncodedIdentity = EncodedValue<EchoedIdentity>;

/// The parts of a message besides the body that decoding reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandEnvelope<'a> {
    /// The routing key the command was published under; `None` where it is no longer known and
    /// already checked.
    pub routing_key: Option<&'a str>,
    /// The AMQP property `message_id`.
    pub message_id: Option<&'a str>,
    /// The AMQP property `correlation_id`.
    pub correlation_id: Option<&'a str>,
}

/// A message that is no valid command, with the error and the identity that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidCommand {
    /// The fields of the identity that could be read.
    pub identity: Box<EchoedIdentity>,
    /// The code and the message for the event.
    pub failure: Failure,
}

impl Command {
    /// Decodes a command.
    ///
    /// # Errors
    /// [`InvalidCommand`] with one of the codes `too_large`, `not_json`, `invalid_field`,
    /// `missing_id`, `key_mismatch`.
    pub fn decode(body: &[u8], envelope: CommandEnvelope<'_>) -> Result<Self, InvalidCommand> {
        let decoded =
            CommandBody::read(body).and_then(|fields| Self::from_fields(fields, envelope));
        decoded.map_err(|(code, message)| {
            let value = Some(body).filter(|body| body.len() <= MAX_BODY);
            let value = value.and_then(|body| serde_json::from_slice(body).ok());
            let identity =
                EchoedIdentity::glean_identity(&value.unwrap_or_default(), body, envelope);
            InvalidCommand::new(identity, code, message)
        })
    }

    fn from_fields(body: CommandBody, envelope: CommandEnvelope<'_>) -> Result<Self, CommandFault> {
        let id = match (body.id, envelope.message_id) {
            (Some(id), _) => id.into(),
            (None, Some(text)) => {
                text.parse::<PublishedCommandId>().map(CommandId::from).map_err(|error| {
                    ("missing_id", format!("no `id`, and the property message_id: {error}"))
                })?
            }
            (None, None) => {
                return Err((
                    "missing_id",
                    "neither the field `id` nor the property message_id is there".to_owned(),
                ));
            }
        };
        let provider = body.provider.filter(|name| name.as_str() != ANY);
        if let Some(key) = envelope.routing_key {
            let word = provider.as_ref().map_or(ANY, Name::as_str);
            // No name has a dot in it.
            if !key.split('.').eq([body.r#type.as_str(), word, body.operation.as_str()]) {
                let expected = format!("{}.{word}.{}", body.r#type, body.operation);
                let message =
                    format!("published under `{}`, but the body says `{expected}`", excerpt(key));
                return Err(("key_mismatch", message));
            }
        }
        Ok(Self {
            id,
            kind: body.r#type,
            provider,
            account: body.account.unwrap_or_else(Name::default_account),
            operation: body.operation,
            reference: body.reference.or_else(|| envelope.correlation_id.map(str::to_owned)),
            not_before: body.not_before,
            expires_at: body.expires_at,
            payload: body.payload,
            metadata: body.metadata,
        })
    }

    /// Returns the identity that events echo, with the provider that is really called.
    #[must_use]
    pub fn identity(&self, provider: &Name) -> EncodedIdentity {
        EncodedIdentity::from(EchoedIdentity {
            id: self.id.clone(),
            r#type: Some(self.kind.clone()),
            provider: Some(provider.clone()),
            account: Some(self.account.clone()),
            operation: Some(self.operation.clone()),
            reference: self.reference.clone(),
            metadata: self.metadata.clone(),
        })
    }
}

/// Drops `null` and `x_…` fields, and reads `[]` as `{}` where a map belongs: PHP writes that for
/// an empty map.
fn normalise(mut value: Value) -> Value {
    let Value::Object(fields) = &mut value else { return value };
    fields.retain(|name, value| !value.is_null() && !name.starts_with("x_"));
    for name in ["payload", "metadata"] {
        if let Some(list) = fields.get_mut(name)
            && list.as_array().is_some_and(Vec::is_empty)
        {
            *list = Value::Object(Map::new());
        }
    }
    value
}

impl InvalidCommand {
    fn new(identity: EchoedIdentity, code: &str, message: String) -> Self {
        Self { identity: Box::new(identity), failure: Failure::new(code, message) }
    }
}

impl EchoedIdentity {
    /// Reads the identity fields that a message shows, from its body first and its routing key
    /// second. Never fails.
    #[must_use]
    pub fn glean_identity(value: &Value, body: &[u8], envelope: CommandEnvelope<'_>) -> Self {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        let name = |field: &str| text(field).and_then(|text| text.parse::<Name>().ok());
        let words: Vec<&str> =
            envelope.routing_key.map(|key| key.split('.').collect()).unwrap_or_default();
        let word =
            |index: usize| (words.len() == 3).then(|| words[index].parse::<Name>().ok()).flatten();
        let not_any = |name: Name| (name.as_str() != ANY).then_some(name);
        let metadata = value.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let id =
            text("id").or(envelope.message_id).and_then(|id| id.parse::<PublishedCommandId>().ok());
        Self {
            id: id.map_or_else(|| CommandId::for_unidentified(body), CommandId::from),
            r#type: name("type").or_else(|| word(0)),
            provider: name("provider").or_else(|| word(1)).and_then(not_any),
            account: name("account"),
            operation: name("operation").or_else(|| word(2)),
            reference: text("reference").or(envelope.correlation_id).map(str::to_owned),
            metadata: metadata
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }
}

impl EchoedIdentity {
    /// Creates the identity of a command of which only the id is known.
    #[must_use]
    pub fn unknown(id: CommandId) -> Self {
        let metadata = BTreeMap::new();
        Self {
            id,
            r#type: None,
            provider: None,
            account: None,
            operation: None,
            reference: None,
            metadata,
        }
    }

    /// Returns true if only the id of the command is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let Self { id: _, r#type, provider, account, operation, reference, metadata } = self;
        [r#type, provider, account, operation].iter().all(|name| name.is_none())
            && reference.is_none()
            && metadata.is_empty()
    }

    /// Returns true if the reference and the metadata are small enough for a header.
    fn is_short(&self) -> bool {
        self.metadata_size() <= MOST_IN_HEADER
            && self.reference.as_ref().is_none_or(|text| text.len() <= MOST_IN_HEADER)
    }

    /// Removes a reference or metadata too large for a header.
    fn shorten(&mut self) {
        if self.metadata_size() > MOST_IN_HEADER {
            self.metadata.clear();
        }
        self.reference = self.reference.take().filter(|text| text.len() <= MOST_IN_HEADER);
    }

    fn metadata_size(&self) -> usize {
        self.metadata.iter().map(|(name, value)| name.len() + value.len() + 6).sum()
    }
}

impl EncodedIdentity {
    /// Returns the same identity without a reference or metadata too large for a header. The
    /// message body has them whole.
    #[must_use]
    pub fn shortened(&self) -> Self {
        if self.is_short() { self.clone() } else { self.with_changes(EchoedIdentity::shorten) }
    }

    /// Returns the identity with the id that the publisher gave.
    #[must_use]
    pub fn published(self) -> Self {
        if self.id.is_refused() {
            self.with_changes(|identity| identity.id = identity.id.published_id())
        } else {
            self
        }
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
