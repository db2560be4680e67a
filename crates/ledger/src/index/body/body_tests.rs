use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixture::{SampleCommand, any_command_state, id};
use super::*;

fn written(id: &CommandId, state: &CommandState) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_body(id, state, &mut bytes);
    bytes
}

/// Builds a state that has every field, and every variant that this `kind` selects.
fn full(kind: usize) -> CommandState {
    let of = |variants: &[Value]| variants[kind % variants.len()].clone();
    let time = "2026-11-01T08:00:00.123456789Z";
    let (step, record) = (
        json!({ "generation": 2, "attempt": 3, "query": 4 }),
        "0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55.42",
    );
    let command = json!({
        "id": "order-1", "type": "payment", "provider": "stripe", "account": "default", "operation": "charge",
        "reference": "r-1", "metadata": { "order-1": "stripe", "a": "ü\u{0}" }
    });
    let event = json!({
        "specversion": "1.0", "id": "order-1/2/3/failed", "source": "/ferryd/stripe", "type": "ferry.command.failed",
        "subject": "order-1", "time": "1066-10-14T09:00:00Z", "datacontenttype": "application/json",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b",
        "data": {
            "command": command, "state": "failed", "generation": 2, "attempt": 3, "sequence": u64::MAX, "final": true,
            "result": { "list": [null, true, false, 0, -1, i64::MIN, u64::MAX, 0.1, -0.0, "order-1", [], {}], "": "" },
            "error": {
                "kind": of(&["declined", "invalid", "rejected", "unavailable", "expired", "unresolved", "cancelled",
                    "poison", "discarded"].map(Value::from)),
                "code": "c", "message": "m", "details": [1.5], "http_status": 502, "dead_lettered": true
            },
            "provider_reference": "0123456789abcdef0123456789abcdef", "waiting_for": of(&["provider", "customer"].map(Value::from)),
            "next_attempt_at": time, "warnings": ["w", "w"], "occurred_at": time
        }
    });
    let prompt = of(&[
        json!({ "notice": { "id": "n", "event": "e", "meaning": "completed", "verified": true } }),
        json!({ "actor": "ann" }),
        json!({ "command": "order-2" }),
    ]);
    let actor = json!({ "by": "ann", "reason": "a mistake" });
    let attempt = json!({
        "attempt": 1, "at": time, "duration_ms": 12, "code": "c", "http_status": 500, "message": "m",
        "outcome": of(&["completed", "waiting", "declined", "rejected", "transient", "unknown", "lookup"].map(Value::from))
    });
    let headers = json!({ "a": true, "b": -7, "c": "text" });
    let effects = json!({
        "event": event, "publish_event": true,
        "message": { "exchange": "", "routing_key": "k", "headers": headers }
    });
    let letter = json!({
        "command": command, "kind": "rejected", "code": "c", "message": "m", "http_status": 400, "generation": 2,
        "attempt": 3, "key": "order-1", "digest": "d", "token": "t", "unknown": true, "first_sent": time,
        "unknown_since": time, "provider_reference": "pi_1", "key_retention_s": 86_400, "expires_at": time,
        "history": [attempt], "first_failed_at": time, "dead_lettered_at": time, "routing_key": "k",
        "publisher": "shop", "unchecked": true, "host": "h", "version": "0.2.0"
    });
    let mut state = json!({
        "identity": {
            "command": command, "content_digest": "00000000000000000000000000000001", "publisher": "shop",
            "reply_target": { "reply_to": "q", "correlation_id": "c" }
        },
        "step": step,
        "phase": of(&[
            json!("open"),
            json!({ "started": { "by": record, "guard": { "key": 45_000 } } }),
            json!({ "started": { "by": record, "guard": { "claim": 1 } } }),
            json!({ "started": { "by": record, "guard": "read_only" } }),
            json!("claim_expired"),
            json!({ "decided": { "by": record, "effects": effects } }),
            json!({ "decided": { "by": record, "effects": null } }),
        ]),
        "unknown": true, "key": "order-1~2", "key_since": 1, "first_sent": time,
        "digest": "0123456789ABCDEF0123456789abcdef", "token": "t", "calls": 3,
        "money": { "amount": "10.99", "currency": "eur" }, "provider_reference": "pi_1", "references": ["pi_0", "pi_1"],
        "former_reference": "pi_0", "deadline": time,
        "retained_message": { "body": "{}", "message_id": "m", "correlation_id": "c" }, "asking": headers,
        "ending": {
            "by": record, "event": event,
            "letter": letter
        }
    });
    let others = json!({
        "published_sequence": 42, "replies": [{ "reply_to": "q", "correlation_id": "c" }], "cancel": actor,
        "blocked": "later", "conflicts": [{ "at": time, "conflict": "content", "event": "e", "message": "m" }],
        "removal": of(&[json!("aged"), json!({ "erased": { "at": time, "actor": actor } })]),
        "prompts": [{ "at": time, "prompt": prompt, "starts_query": true }], "prompted": prompt,
        "queries": [{
            "at": time, "step": step, "purpose": of(&["poll", "lookup"].map(Value::from)), "cause": prompt,
            "state": of(&["pending", "processing", "waiting", "failed", "completed"].map(Value::from)),
            "detail": "d", "times": 3, "latest": time
        }],
        "job": { "id": "0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55", "awaits_end": true },
        "history": [{ "at": time, "state": "pending", "step": step, "reason": "early", "detail": "d", "until": time }]
    });
    state.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    serde_json::from_value(state).unwrap()
}

fn set_result(state: &mut CommandState, result: Value) {
    let ending = state.ending.as_mut().unwrap();
    ending.event = ending.event.with_changes(|event| event.data.result = Some(result));
}

#[test]
fn a_body_holds_every_field_of_a_state() {
    for kind in 0..2 * 3 * 5 * 7 * 9 {
        let state = full(kind);
        assert_eq!(read_body(&id("order-1"), &written(&id("order-1"), &state)).unwrap(), state);
    }
}

#[test]
fn a_number_of_a_fraction_keeps_its_sign_and_every_bit() {
    for number in [0.0, -0.0, 0.1 + 0.2, f64::MIN_POSITIVE, -f64::MAX, 1e300] {
        let mut state = SampleCommand::new("order-1", 0).completed();
        set_result(&mut state, number.into());
        let read = read_body(&id("order-1"), &written(&id("order-1"), &state)).unwrap();
        let result = read.ending.unwrap().event.data.result.clone();
        assert_eq!(
            result.and_then(|result| result.as_f64()).map(f64::to_bits),
            Some(number.to_bits())
        );
    }
}

#[test]
fn a_body_that_is_cut_or_goes_on_is_damaged() {
    let (id, bytes) = (id("order-1"), written(&id("order-1"), &full(5)));
    for length in 0..bytes.len() {
        assert!(read_body(&id, &bytes[..length]).unwrap_err().is_damaged(), "{length}");
    }
    assert!(read_body(&id, &[bytes.as_slice(), b"x"].concat()).unwrap_err().is_damaged());
}

#[test]
fn a_body_with_a_wrong_bit_is_damaged_or_another_state() {
    let (id, bytes) = (id("order-1"), written(&id("order-1"), &full(5)));
    for bit in 0..bytes.len() * 8 {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let _ = read_body(&id, &wrong);
    }
}

#[test]
fn a_value_that_is_nested_without_end_is_damaged() {
    let mut state = SampleCommand::new("order-1", 0).completed();
    let nested = |depth| (0..depth).fold(Value::Null, |value, _| Value::Array(vec![value]));
    for (depth, fits) in [(128, true), (300, false)] {
        set_result(&mut state, nested(depth));
        let read = read_body(&id("order-1"), &written(&id("order-1"), &state));
        assert_eq!(read.is_ok(), fits, "{depth}");
    }
}

/// Another form is another version of the index: raise that.
#[test]
fn the_form_of_a_body_stays_the_same_within_a_version_of_the_index() {
    let sample = SampleCommand::new("order-1", 0);
    let bodies = [sample.opened(), sample.completed(), full(0), full(5)]
        .map(|state| written(&sample.id(), &state).escape_ascii().to_string());
    insta::assert_snapshot!(bodies.join("\n"));
}

#[test]
fn a_completed_command_takes_little_more_than_its_result() {
    let sample = SampleCommand::new("order-1", 0);
    let state = sample.completed();
    assert!(serde_json::to_string(&state).unwrap().len() > 1_200);
    let length = written(&sample.id(), &state).len();
    assert!(length < 240, "{length}");
}

proptest! {
    #[test]
    fn every_state_is_read_as_it_was_written((sample, state) in any_command_state()) {
        prop_assert_eq!(read_body(&sample.id(), &written(&sample.id(), &state)).unwrap(), state);
    }

    #[test]
    fn no_bytes_are_a_reason_to_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_body(&id("order-1"), &bytes);
    }
}
