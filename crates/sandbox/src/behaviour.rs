//! The behaviour that a request wants from the sandbox, in the field `sandbox` of its payload.

use std::time::Duration;

use serde_json::{Map, Value};
use url::form_urlencoded;

/// The behaviour of the sandbox towards one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AnswerBehaviour {
    /// The caller's name for the transaction, where there is no idempotency key.
    pub(super) id: Option<String>,
    /// The time that the provider works before it answers.
    pub(super) latency: Duration,
    /// The HTTP status of the answer.
    pub(super) status: Option<u16>,
    /// The value of `Retry-After`.
    pub(super) retry_after: Option<String>,
    /// The way in which the answer gets lost.
    pub(super) fault: Option<AnswerFault>,
    /// The code of a business refusal; such an answer is final.
    pub(super) decline: Option<String>,
    /// The number of calls that fail before one succeeds; `None`: all calls behave the same.
    pub(super) fail_times: Option<u32>,
    /// True where the provider acts but answers with a failure.
    pub(super) act_then_fail: bool,
    /// True where the provider accepts the request and finishes it later.
    pub(super) accepted: bool,
    /// The time after which an accepted transaction finishes; `None`: never by itself.
    pub(super) finish_after: Option<Duration>,
    /// The final status of an accepted transaction; `None` for success.
    pub(super) finish: Option<String>,
    /// The time for which a transaction can't be found.
    pub(super) hidden: Duration,
}

/// The ways in which an answer gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerFault {
    /// The answer never begins.
    HangBeforeAnswer,
    /// The answer stalls within its body.
    HangMidBody,
    /// The connection is reset once the request has been read.
    Reset,
    /// The connection closes within the body.
    Truncate,
    /// The body never ends.
    Huge,
}

/// The error for a field of `sandbox` that is not understood, for the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("sandbox.{field}: {problem}")]
pub(super) struct InvalidField {
    field: String,
    problem: &'static str,
}

impl AnswerBehaviour {
    /// Reads `sandbox`, or `metadata.sandbox`, of a payload; each may be an object, or the JSON
    /// text of one.
    pub(super) fn of(payload: &Value) -> Result<Self, InvalidField> {
        let places = [payload.get("sandbox"), payload.pointer("/metadata/sandbox")];
        let mut behaviour = Self::default();
        if let Some(fields) = places.into_iter().flatten().find_map(object) {
            for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                behaviour
                    .set(field, value)
                    .map_err(|problem| InvalidField { field: field.clone(), problem })?;
            }
        }
        Ok(behaviour)
    }

    fn set(&mut self, field: &str, value: &Value) -> Result<(), &'static str> {
        let text = text(value).ok_or("give a text, a number or a boolean")?;
        match field {
            "id" => self.id = Some(text),
            "latency" => self.latency = duration(&text).ok_or("give a duration such as 250ms")?,
            "status" => self.status = Some(status(&text).ok_or("give a status from 200 to 599")?),
            "retry_after" => self.retry_after = Some(text),
            "hang" => self.fault = Some(hang(&text).ok_or("give before_answer or mid_body")?),
            "reset" => self.fault = flag(&text)?.then_some(AnswerFault::Reset).or(self.fault),
            "truncate" => self.fault = flag(&text)?.then_some(AnswerFault::Truncate).or(self.fault),
            "huge" => self.fault = flag(&text)?.then_some(AnswerFault::Huge).or(self.fault),
            "decline" => self.decline = decline(text),
            "fail_times" => {
                self.fail_times = Some(text.parse().map_err(|_| "give a whole number")?);
            }
            "act_then_fail" => self.act_then_fail = flag(&text)?,
            "accepted" => self.accepted = flag(&text)?,
            "finish_after" => {
                self.finish_after = Some(duration(&text).ok_or("give a duration such as 2s")?);
            }
            "finish" => self.finish = Some(text),
            "hidden" => self.hidden = duration(&text).ok_or("give a duration such as 2s")?,
            _ => {
                return Err(
                    "unknown: use id, latency, status, retry_after, hang, reset, truncate, huge, decline, \
                            fail_times, act_then_fail, accepted, finish_after, finish or hidden",
                );
            }
        }
        Ok(())
    }
}

fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (200..600).contains(status))
}

fn flag(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "give true or false")
}

fn hang(text: &str) -> Option<AnswerFault> {
    match text {
        "before_answer" => Some(AnswerFault::HangBeforeAnswer),
        "mid_body" => Some(AnswerFault::HangMidBody),
        _ => None,
    }
}

fn decline(text: String) -> Option<String> {
    match text.as_str() {
        "false" => None,
        "true" => Some("card_declined".to_owned()),
        _ => Some(text),
    }
}

/// Decodes a request's payload, in any encoding: the body, or the query if there is no body.
pub(super) fn payload(content_type: &str, query: &str, body: &[u8]) -> Value {
    if body.is_empty() {
        return form(query.as_bytes());
    }
    match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(_) if content_type.starts_with("application/x-www-form-urlencoded") => form(body),
        Err(_) => Value::Null,
    }
}

/// Decodes pairs whose names nest by brackets: `metadata[sandbox]=…`.
fn form(text: &[u8]) -> Value {
    let mut root = Map::new();
    for (name, value) in form_urlencoded::parse(text) {
        let mut fields = &mut root;
        let mut parts = name.split('[').map(|part| part.trim_end_matches(']')).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                fields.insert(part.to_owned(), Value::String(value.into_owned()));
                break;
            }
            let nested = fields.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = nested else { break };
            fields = inner;
        }
    }
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_behaviour_is_read_from_json_from_form_fields_and_from_json_text_in_metadata() {
        let form_type = "application/x-www-form-urlencoded";
        let expected = AnswerBehaviour {
            status: Some(429),
            retry_after: Some("2".to_owned()),
            latency: Duration::from_millis(250),
            ..AnswerBehaviour::default()
        };
        for (kind, query, body) in [
            (
                "application/json",
                "",
                r#"{"sandbox":{"status":429,"retry_after":2,"latency":"250ms"}}"#,
            ),
            (form_type, "", "sandbox[status]=429&sandbox[retry_after]=2&sandbox[latency]=250ms"),
            (
                form_type,
                "",
                r#"metadata[sandbox]={"status":429,"retry_after":"2","latency":"250ms"}&a[b]=c"#,
            ),
            ("", "sandbox[status]=429&sandbox[retry_after]=2&sandbox[latency]=250ms", ""),
        ] {
            let payload = payload(kind, query, body.as_bytes());
            assert_eq!(AnswerBehaviour::of(&payload), Ok(expected.clone()), "{body}");
        }
    }

    #[test]
    fn a_payload_without_settings_gets_the_default_behaviour() {
        for payload in [
            json!(null),
            json!([1]),
            json!({"sandbox": null}),
            json!({"Body": "{\"sandbox\":{\"status\":500}}"}),
        ] {
            assert_eq!(AnswerBehaviour::of(&payload), Ok(AnswerBehaviour::default()), "{payload}");
        }
    }

    #[test]
    fn a_field_that_is_not_understood_is_named_with_what_to_write() {
        for (field, value) in [
            ("latency", json!("soon")),
            ("status", json!(99)),
            ("hang", json!("later")),
            ("reset", json!("maybe")),
            ("fail_times", json!(-1)),
            ("statsu", json!(500)),
            ("decline", json!({})),
        ] {
            let error =
                AnswerBehaviour::of(&json!({"sandbox": {field: value}})).unwrap_err().to_string();
            assert!(error.starts_with(&format!("sandbox.{field}: ")), "{error}");
        }
    }
}
