//! Compares the request or message of a command with the one that an example expects.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use url::form_urlencoded;

use super::difference::{ExampleDifference, compare, of_pairs};
use super::file::{ExampleFile, ExpectedMessageFile, ExpectedRequestFile};
use super::message::header_of;
use crate::rest;
use ferryd_domain::http_call::{HttpMethod, HttpRequest};
use ferryd_domain::message_call::{MessageAddress, MessageRequest};
use ferryd_domain::outbound_request::OutboundRequest;

/// Compares a request or message with the one that an example expects.
pub(super) fn compare_outbound(
    example: &ExampleFile,
    request: &OutboundRequest,
    found: &mut Vec<ExampleDifference>,
) {
    match (request, &example.request, &example.message) {
        (OutboundRequest::Http(request), Some(expected), None) => {
            compare_request(expected, request, found);
        }
        (OutboundRequest::Message(message), None, Some(expected)) => {
            compare_message(expected, message, found);
        }
        (_, None, None) => {}
        (OutboundRequest::Http(_), _, Some(_)) => {
            found.push(ExampleDifference::new("message", "a message", "an HTTP request"));
        }
        (OutboundRequest::Message(_), Some(_), _) => {
            found.push(ExampleDifference::new("request", "an HTTP request", "a message"));
        }
    }
    if matches!(request, OutboundRequest::Message(_)) && example.reply.is_some() {
        found.push(ExampleDifference::new("reply", "an answer", "a broker only acknowledges"));
    }
}

fn compare_message(
    expected: &ExpectedMessageFile,
    message: &MessageRequest,
    found: &mut Vec<ExampleDifference>,
) {
    let (exchange, routing_key, subject) = match &message.address {
        MessageAddress::Amqp { exchange, routing_key } => {
            (Some(exchange.as_str()), Some(routing_key.as_str()), None)
        }
        MessageAddress::Nats { subject } => (None, None, Some(subject.as_str())),
    };
    for (key, expected, got) in [
        ("exchange", &expected.exchange, exchange),
        ("routing_key", &expected.routing_key, routing_key),
        ("subject", &expected.subject, subject),
        ("message_id", &expected.message_id, Some(message.message_id.as_str())),
    ] {
        if let Some(expected) = expected.as_deref().filter(|expected| Some(*expected) != got) {
            found.push(ExampleDifference::new(format!("message.{key}"), expected, got));
        }
    }
    compare_headers("message", &expected.headers, &message.headers, found);
    if let Some(body) = &expected.body {
        let content_type = message.content_type.unwrap_or_default();
        compare_body("message.body", body, (content_type, &message.body), found);
    }
}

fn compare_headers(
    at: &str,
    expected: &BTreeMap<String, String>,
    headers: &[(String, String)],
    found: &mut Vec<ExampleDifference>,
) {
    for (name, value) in expected {
        let got = header_of(headers, name);
        if got != Some(value.as_str()) {
            let at = format!("{at}.headers.{name}");
            found.push(ExampleDifference::new(at, value.as_str(), got));
        }
    }
}

fn compare_request(
    expected: &ExpectedRequestFile,
    request: &HttpRequest,
    found: &mut Vec<ExampleDifference>,
) {
    let mut scalar = |at: &str, expected: Option<&str>, got: &str| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            found.push(ExampleDifference::new(at, expected, got));
        }
    };
    scalar("request.method", expected.method.map(HttpMethod::as_str), request.method.as_str());
    scalar("request.path", expected.path.as_deref(), request.url.path());
    if let Some(query) = &expected.query {
        compare(
            "request.query",
            &json!(query),
            &of_pairs(request.url.query_pairs().into_owned()),
            found,
        );
    }
    compare_headers("request", &expected.headers, &request.headers, found);
    if let Some(body) = &expected.body {
        let content_type = header_of(&request.headers, "content-type").unwrap_or_default();
        compare_body("request.body", body, (content_type, &request.body), found);
    }
}

/// Compares decoded bodies: JSON as JSON, a form as its pairs, any other body as text.
fn compare_body(
    at: &str,
    expected: &Json,
    (content_type, body): (&str, &[u8]),
    found: &mut Vec<ExampleDifference>,
) {
    let text = || Json::String(String::from_utf8_lossy(body).into_owned());
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let got = of_pairs(form_urlencoded::parse(body).into_owned());
        let expected = match expected {
            Json::String(text) => of_pairs(form_urlencoded::parse(text.as_bytes()).into_owned()),
            map => {
                // The file may encode lists in either way.
                let [nested, repeated] = rest::form_pairs(map).map(of_pairs);
                if repeated == got { repeated } else { nested }
            }
        };
        return compare(at, &expected, &got, found);
    }
    let got = serde_json::from_slice(body).unwrap_or_else(|_| text());
    match expected {
        Json::String(text) => {
            let expected = serde_json::from_str(text).unwrap_or_else(|_| expected.clone());
            compare(at, &expected, &got, found);
        }
        expected => compare(at, expected, &got, found),
    }
}
