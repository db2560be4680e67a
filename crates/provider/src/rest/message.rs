//! Renders a command into a message: the template of an operation, compiled and filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::body::{BodySource, BodyTemplate};
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{MessageFile, ProviderProtocol};
use super::missing_value::invalid;
use super::request::SharedRequestParts;
use super::subject::SubjectTemplate;
use super::text::TextTemplate;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::{MessageAddress, MessageRequest};
use ferryd_domain::outcome::Failure;
use ferryd_settings::findings::SettingsCursor;
use serde_json::Value as Json;

/// The most bytes of an exchange's name, a routing key or a header's name (AMQP 0-9-1, short
/// string).
const LONGEST_NAME: usize = 255;

/// Headers by which RabbitMQ delivers a message to further queues, in lower case.
const ROUTING_HEADERS: [&str; 2] = ["cc", "bcc"];

/// The beginning of headers that direct a JetStream server, such as to delete older messages, in
/// lower case.
const DIRECTING: &str = "nats-";

/// A message as the file states it.
pub(super) struct MessageSource<'f> {
    pub(super) message: &'f MessageFile,
    pub(super) body: Option<&'f Json>,
    pub(super) protocol: ProviderProtocol,
}

/// A message, compiled.
#[derive(Debug)]
pub(super) struct MessageTemplate {
    address: AddressTemplate,
    headers: BTreeMap<String, TextTemplate>,
    body: BodyTemplate,
    timeout: Duration,
}

/// The address of a message, compiled.
#[derive(Debug)]
enum AddressTemplate {
    Amqp { exchange: Box<TextTemplate>, routing_key: TextTemplate },
    Nats(SubjectTemplate),
}

impl MessageTemplate {
    /// Compiles a message; faults are reported at `place`, the table of the operation. The second
    /// variables are those of addresses.
    pub(super) fn compile(
        source: &MessageSource<'_>,
        timeout: Duration,
        (known, of_account): (&KnownVariables<'_>, &KnownVariables<'_>),
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let MessageSource { message: file, body, protocol } = *source;
        let at = place.key("message");
        let address = match protocol {
            ProviderProtocol::Nats => AddressTemplate::nats(file, known, &at),
            ProviderProtocol::Amqp | ProviderProtocol::Rest => {
                AddressTemplate::amqp(file, known, of_account, &at)
            }
        };
        let headers = headers(&file.headers, protocol, known, &at.key("headers"));
        let body = BodySource { body, encoding: file.encoding, lists: file.lists, key_field: None };
        let body = BodyTemplate::compile(body, known, place);
        Some(Self { address: address?, headers, body: body?, timeout })
    }

    /// Renders the message of a command. `message_id` is the key, or what stands in for it.
    pub(super) fn render(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
        message_id: &IdempotencyKey,
    ) -> Result<MessageRequest, Failure> {
        let address = self.address.render(scope)?;
        let body = self.body.render(scope, None)?;
        Ok(MessageRequest {
            server: shared.base_url.as_url().clone(),
            address,
            message_id: message_id.to_string(),
            content_type: (!body.is_empty()).then(|| self.body.content_type()),
            headers: self.filled_headers(shared, scope)?,
            body,
            timeout: self.timeout,
        })
    }

    fn filled_headers(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let mut filled = BTreeMap::new();
        for (name, text) in shared.headers.iter().chain(&self.headers) {
            let value =
                text.string(scope).map_err(|error| invalid(&format!("header {name}"), &error))?;
            match value {
                Some(value) if self.address.splits(&value) => {
                    return Err(invalid(&format!("header {name}"), &"has a line break"));
                }
                Some(value) => filled.insert(name.clone(), value),
                None => filled.remove(name),
            };
        }
        Ok(filled.into_iter().collect())
    }
}

impl AddressTemplate {
    fn amqp(
        file: &MessageFile,
        known: &KnownVariables<'_>,
        of_account: &KnownVariables<'_>,
        at: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let exchange = file.exchange.as_deref().unwrap_or_default();
        // No command may choose the exchange.
        let exchange = at.key("exchange").check(TextTemplate::compile(exchange, of_account));
        if file.routing_key.is_none() {
            at.key("routing_key").refuse("is missing; write the routing key, or the queue's name");
        }
        let routing_key = file
            .routing_key
            .as_ref()
            .and_then(|text| at.key("routing_key").check(TextTemplate::compile(text, known)));
        Some(Self::Amqp { exchange: Box::new(exchange?), routing_key: routing_key? })
    }

    fn nats(
        file: &MessageFile,
        known: &KnownVariables<'_>,
        at: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let at = at.key("subject");
        let Some(text) = &file.subject else {
            at.refuse("is missing; write the subject on which the provider's stream listens");
            return None;
        };
        at.check(SubjectTemplate::compile(text, known)).map(Self::Nats)
    }

    fn render(&self, scope: &ExpressionScope<'_>) -> Result<MessageAddress, Failure> {
        let name = |key: &str, text: &TextTemplate| {
            let place = format!("message.{key}");
            let name = text.string(scope).map_err(|error| invalid(&place, &error))?;
            let name = name.unwrap_or_default();
            if name.len() > LONGEST_NAME {
                return Err(invalid(&place, &format!("has more than {LONGEST_NAME} bytes")));
            }
            Ok(name)
        };
        match self {
            Self::Amqp { exchange, routing_key } => {
                let routing_key = name("routing_key", routing_key)?;
                let exchange = name("exchange", exchange)?;
                if routing_key.is_empty() && exchange.is_empty() {
                    return Err(invalid("message.routing_key", &"names no queue"));
                }
                Ok(MessageAddress::Amqp { exchange, routing_key })
            }
            Self::Nats(subject) => subject
                .render(scope)
                .map(|subject| MessageAddress::Nats { subject })
                .map_err(|error| invalid("message.subject", &error)),
        }
    }

    /// Returns true if a header of this value would become several lines.
    fn splits(&self, value: &str) -> bool {
        matches!(self, Self::Nats(_)) && value.contains(['\r', '\n'])
    }
}

/// Compiles the headers of messages.
pub(super) fn headers(
    table: &BTreeMap<String, String>,
    protocol: ProviderProtocol,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> BTreeMap<String, TextTemplate> {
    let mut headers = BTreeMap::new();
    for (name, source) in table {
        let place = place.key(name);
        if name.is_empty() || name.len() > LONGEST_NAME {
            place.refuse("is no header's name; write 1 to 255 bytes");
        }
        let lower = name.to_ascii_lowercase();
        if protocol == ProviderProtocol::Nats {
            refuse_header_of_nats(&lower, &place);
        } else if ROUTING_HEADERS.contains(&lower.as_str()) {
            place.refuse(
                "would send the message to further queues; leave it out, and bind them instead",
            );
        }
        if let Some(text) = place.check(TextTemplate::compile(source, known)) {
            headers.insert(name.clone(), text);
        }
    }
    headers
}

fn refuse_header_of_nats(lower: &str, place: &SettingsCursor<'_>) {
    if lower.starts_with(DIRECTING) {
        place.refuse("directs the server, and ferryd sets `Nats-Msg-Id` itself; leave it out");
    }
    if lower == "content-type" {
        place.refuse("is set by ferryd; leave it out");
    }
    if !lower.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        place.refuse("is no header's name; write printable ASCII without spaces and colons");
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "nats_message_tests.rs"]
mod nats_tests;
