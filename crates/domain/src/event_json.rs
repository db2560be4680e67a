//! The JSON of events and of the identities in them, of which each command writes some.

use super::command::EchoedIdentity;
use super::event::{Event, EventData, EventError};
use super::json_writer::{JsonWriter, WriteJson};
use super::lifecycle::FailureKind;
use super::name::Name;

impl WriteJson for EchoedIdentity {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { id, r#type, provider, account, operation, reference, metadata } = self;
        json.text("{\"id\":", id.as_str());
        json.optional_text(",\"type\":", r#type.as_ref().map(Name::as_str));
        json.optional_text(",\"provider\":", provider.as_ref().map(Name::as_str));
        json.optional_text(",\"account\":", account.as_ref().map(Name::as_str));
        json.optional_text(",\"operation\":", operation.as_ref().map(Name::as_str));
        json.optional_text(",\"reference\":", reference.as_deref());
        if !metadata.is_empty() {
            json.raw(",\"metadata\":{");
            for (index, (name, value)) in metadata.iter().enumerate() {
                json.text(if index > 0 { "," } else { "" }, name);
                json.text(":", value);
            }
            json.raw("}");
        }
        json.raw("}");
    }
}

impl WriteJson for Event {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self {
            specversion,
            id,
            source,
            r#type,
            subject,
            time,
            datacontenttype,
            traceparent,
            tracestate,
            data,
        } = self;
        json.text("{\"specversion\":", specversion);
        json.text(",\"id\":", id);
        json.text(",\"source\":", source);
        json.text(",\"type\":", r#type);
        json.text(",\"subject\":", subject);
        json.time(",\"time\":", *time);
        json.text(",\"datacontenttype\":", datacontenttype);
        json.optional_text(",\"traceparent\":", traceparent.as_deref());
        json.optional_text(",\"tracestate\":", tracestate.as_deref());
        json.value(",\"data\":", data);
        json.raw("}");
    }
}

impl WriteJson for EventData {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self {
            command,
            state,
            generation,
            attempt,
            sequence,
            r#final,
            result,
            error,
            provider_reference,
            waiting_for,
            next_attempt_at,
            warnings,
            occurred_at,
        } = self;
        json.value("{\"command\":", command);
        json.text(",\"state\":", state.as_str());
        json.number(",\"generation\":", *generation);
        json.number(",\"attempt\":", *attempt);
        json.number(",\"sequence\":", *sequence);
        json.flag(",\"final\":", *r#final);
        if let Some(result) = result {
            json.value(",\"result\":", result);
        }
        if let Some(error) = error {
            json.value(",\"error\":", error);
        }
        json.optional_text(",\"provider_reference\":", provider_reference.as_deref());
        if let Some(waiting_for) = waiting_for {
            json.serialized(",\"waiting_for\":", waiting_for);
        }
        if let Some(at) = next_attempt_at {
            json.time(",\"next_attempt_at\":", *at);
        }
        if !warnings.is_empty() {
            json.serialized(",\"warnings\":", warnings);
        }
        json.time(",\"occurred_at\":", *occurred_at);
        json.raw("}");
    }
}

impl WriteJson for EventError {
    fn write_json(&self, json: &mut JsonWriter<'_>) {
        let Self { kind, code, message, details, http_status, dead_lettered } = self;
        json.raw("{");
        if let Some(kind) = kind {
            json.text("\"kind\":", FailureKind::as_str(*kind));
            json.raw(",");
        }
        if let Some(code) = code {
            json.text("\"code\":", code);
            json.raw(",");
        }
        json.text("\"message\":", message);
        if let Some(details) = details {
            json.value(",\"details\":", details);
        }
        if let Some(status) = http_status {
            json.number(",\"http_status\":", *status);
        }
        json.flag(",\"dead_lettered\":", *dead_lettered);
        json.raw("}");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::command::{CommandEnvelope, EncodedIdentity};
    use crate::event::{EncodedEvent, EventKind, EventMoment, TraceContext};
    use crate::outcome::{Failure, Success, WaitingFor};

    fn identities() -> Vec<EchoedIdentity> {
        let whole = json!({
            "id": "order-1", "type": "payment", "provider": "stripe", "account": "default",
            "operation": "charge", "reference": "a \"b\"\n", "metadata": {"x": "1", "ü\t": "é"},
        });
        let bare = json!({ "id": "order-1" });
        [whole, bare]
            .map(|body| EchoedIdentity::glean_identity(&body, b"", CommandEnvelope::default()))
            .into()
    }

    fn kinds() -> Vec<EventKind> {
        let success = Success {
            result: Some(json!({ "amount": 10.7, "list": [1, -2, null, "\u{1}"], "at": {} })),
            provider_reference: Some("ch_\\1".to_owned()),
            warnings: vec!["one".to_owned(), "\"two\"".to_owned()],
            http_status: Some(200),
        };
        let due = Timestamp::new(1_764_592_496, 120_000_000).unwrap();
        let failure = Failure {
            code: Some("timeout".to_owned()),
            message: "no \"answer\"".to_owned(),
            details: Some(json!([{}])),
            http_status: Some(504),
            provider_reference: Some("ch_2".to_owned()),
        };
        let mut kinds = vec![
            EventKind::Processing,
            EventKind::Waiting(success.clone(), WaitingFor::Customer),
            EventKind::Waiting(success.clone(), WaitingFor::Provider),
            EventKind::Completed(success),
            EventKind::Completed(Success::default()),
            EventKind::FailedThere(failure.clone()),
            EventKind::Querying { accepted: true, due, failure: None },
            EventKind::Pending { due, failure: failure.clone() },
        ];
        kinds.extend(FailureKind::ALL.map(|kind| EventKind::Failed(kind, failure.clone())));
        kinds.push(EventKind::Failed(FailureKind::Invalid, Failure::default()));
        kinds
    }

    #[test]
    fn identities_are_written_as_serde_writes_them() {
        for identity in identities() {
            assert_eq!(&*identity.to_json(), serde_json::to_string(&identity).unwrap());
        }
    }

    #[test]
    fn events_are_written_as_serde_writes_them_and_read_again() {
        let at = Timestamp::new(1_764_592_496, 123_456_789).unwrap();
        let trace = TraceContext { parent: Some("00-1".to_owned()), state: Some("a=1".to_owned()) };
        for identity in identities().into_iter().map(EncodedIdentity::from) {
            for kind in kinds() {
                for trace in [trace.clone(), TraceContext::default()] {
                    let moment = EventMoment { generation: 1, attempt: 12, at };
                    let event = Event::new(identity.clone(), moment, kind.clone(), trace);
                    let expected = serde_json::to_string(&event).unwrap();
                    let encoded = EncodedEvent::from(event);
                    assert_eq!(encoded.json(), expected);
                    let read: EncodedEvent = serde_json::from_str(encoded.json()).unwrap();
                    assert_eq!(read, encoded);
                }
            }
        }
    }
}
