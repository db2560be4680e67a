//! Renders a command into a message: the template of an operation, compiled and filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::body::{BodySource, BodyTemplate};
use super::expression::{ExpressionScope, KnownVariables};
use super::file::MessageFile;
use super::missing_value::invalid;
use super::request::SharedRequestParts;
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

/// A message, compiled.
#[derive(Debug)]
pub(super) struct MessageTemplate {
    exchange: TextTemplate,
    routing_key: TextTemplate,
    headers: BTreeMap<String, TextTemplate>,
    body: BodyTemplate,
    timeout: Duration,
}

impl MessageTemplate {
    /// Compiles a message; faults are reported at `place`, the table of the operation. The second
    /// variables are those of addresses.
    pub(super) fn compile(
        file: &MessageFile,
        body: Option<&Json>,
        timeout: Duration,
        (known, of_account): (&KnownVariables<'_>, &KnownVariables<'_>),
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let at = place.key("message");
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
        let headers = headers(&file.headers, known, &at.key("headers"));
        let body = BodySource { body, encoding: file.encoding, lists: file.lists, key_field: None };
        let body = BodyTemplate::compile(body, known, place);
        Some(Self { exchange: exchange?, routing_key: routing_key?, headers, body: body?, timeout })
    }

    /// Renders the message of a command. `message_id` is the key, or what stands in for it.
    pub(super) fn render(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
        message_id: &IdempotencyKey,
    ) -> Result<MessageRequest, Failure> {
        let name = |key: &str, text: &TextTemplate| {
            let place = format!("message.{key}");
            let name = text.string(scope).map_err(|error| invalid(&place, &error))?;
            let name = name.unwrap_or_default();
            if name.len() > LONGEST_NAME {
                return Err(invalid(&place, &format!("has more than {LONGEST_NAME} bytes")));
            }
            Ok(name)
        };
        let routing_key = name("routing_key", &self.routing_key)?;
        let exchange = name("exchange", &self.exchange)?;
        if routing_key.is_empty() && exchange.is_empty() {
            return Err(invalid("message.routing_key", &"names no queue"));
        }
        let body = self.body.render(scope, None)?;
        Ok(MessageRequest {
            server: shared.base_url.as_url().clone(),
            address: MessageAddress::Amqp { exchange, routing_key },
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
                Some(value) => filled.insert(name.clone(), value),
                None => filled.remove(name),
            };
        }
        Ok(filled.into_iter().collect())
    }
}

/// Compiles the headers of messages.
pub(super) fn headers(
    table: &BTreeMap<String, String>,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> BTreeMap<String, TextTemplate> {
    let mut headers = BTreeMap::new();
    for (name, source) in table {
        let place = place.key(name);
        if name.is_empty() || name.len() > LONGEST_NAME {
            place.refuse("is no header's name; write 1 to 255 bytes");
        }
        if ROUTING_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
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

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
