use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEY: &str = "payment.stripe.charge";

fn decode(body: &Value) -> Result<Command, InvalidCommand> {
    decode_under(body, Some(KEY))
}

fn decode_under(body: &Value, routing_key: Option<&str>) -> Result<Command, InvalidCommand> {
    let envelope = CommandEnvelope { routing_key, message_id: None, correlation_id: None };
    Command::decode(&serde_json::to_vec(body).unwrap(), envelope)
}

fn body(changes: &Value) -> Value {
    let mut body =
        json!({"id": "order-1", "type": "payment", "provider": "stripe", "operation": "charge"});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn the_documented_example_is_read_whole() {
    let command = decode(&json!({
        "id": "shop.order-1001.charge", "type": "payment", "provider": "stripe", "operation": "charge",
        "reference": "order-1001", "expires_at": "2027-01-01T00:00:00Z",
        "payload": {"amount": 1099, "currency": "eur"}, "metadata": {"tenant": "eu-1"}
    }))
    .unwrap();
    assert_eq!(command.id.as_str(), "shop.order-1001.charge");
    assert_eq!(command.account.as_str(), "default");
    assert_eq!(command.expires_at.unwrap().to_string(), "2027-01-01T00:00:00Z");
    assert_eq!(command.payload["amount"], 1099);
    assert_eq!(command.metadata["tenant"], "eu-1");
}

#[test]
fn what_is_wrong_is_named_by_code() {
    let table = [
        (body(&json!({"type": "Payment"})), "invalid_field"),
        (body(&json!({"id": "a b"})), "invalid_field"),
        (body(&json!({"id": null})), "missing_id"),
        (body(&json!({"surprise": 1})), "invalid_field"),
        (body(&json!({"after": "other"})), "invalid_field"),
        (body(&json!({"payload": [1]})), "invalid_field"),
        (body(&json!({"payload": "text"})), "invalid_field"),
        (body(&json!({"metadata": {"a": 1}})), "invalid_field"),
        (body(&json!({"expires_at": "tomorrow"})), "invalid_field"),
        (body(&json!({"operation": null})), "invalid_field"),
        (body(&json!({"operation": "refund"})), "key_mismatch"),
        (body(&json!({"provider": "adyen"})), "key_mismatch"),
        (body(&json!({"provider": null})), "key_mismatch"),
        (json!([]), "invalid_field"),
        (json!("text"), "invalid_field"),
    ];
    for (body, code) in table {
        let failure = decode(&body).unwrap_err().failure;
        assert_eq!(failure.code.as_deref(), Some(code), "{body}: {}", failure.message);
    }
}

#[test]
fn what_other_languages_write_for_nothing_is_read_as_nothing() {
    let command = decode(&body(&json!({
        "account": null, "reference": null, "payload": [], "metadata": [], "x_trace": {"any": 1}, "not_before": null
    })))
    .unwrap();
    assert!(
        command.payload.is_empty() && command.metadata.is_empty() && command.reference.is_none()
    );
}

#[test]
fn what_is_read_at_once_is_read_the_same_by_its_value() {
    let whole = json!({
        "id": "a", "type": "payment", "provider": null, "account": "eu", "operation": "charge",
        "reference": "ü \"\n", "not_before": "2027-01-01T00:00:00Z", "expires_at": null,
        "payload": {"b": 1.50, "a": [1, -2, 18_446_744_073_709_551_615_u64, {"c": null}], "n": 1e300},
        "metadata": {"z": "1", "y": "2"}
    });
    let texts = [
        whole.to_string(),
        format!(" \n{}\n", serde_json::to_string_pretty(&whole).unwrap()),
        r#"{"type":"a","operation":"b","payload":{"d":1,"d":2},"metadata":{"m":"1","m":"2"}}"#
            .to_owned(),
        r#"{"type":"a","operation":"b","metadata":{"\u00fc":"\ud83d\ude00"},"id":"a"}"#.to_owned(),
    ];
    for text in texts {
        let at_once: CommandBody = serde_json::from_str(&text).unwrap();
        let value = CommandBody::from_value(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(at_once, value, "{text}");
        assert_eq!(CommandBody::read(text.as_bytes()).unwrap(), value, "{text}");
    }
}

#[test]
fn a_body_that_repeats_a_field_or_lists_the_fields_is_read_as_its_value() {
    let repeated = br#"{"id":"a","type":"x","type":"payment","operation":"charge"}"#;
    let command = Command::decode(repeated, CommandEnvelope::default()).unwrap();
    assert_eq!(command.kind.as_str(), "payment");
    for list in
        [&br#"["a","payment",null,null,"charge",null,null,null,{},{}]"#[..], b" [1]", b"\x0c{}"]
    {
        let failure = Command::decode(list, CommandEnvelope::default()).unwrap_err().failure;
        let code = if list.starts_with(b"\x0c") { "not_json" } else { "invalid_field" };
        assert_eq!(failure.code.as_deref(), Some(code), "{failure:?}");
    }
}

#[test]
fn amqp_properties_stand_in_for_absent_fields() {
    let bytes = serde_json::to_vec(&body(&json!({"id": null}))).unwrap();
    let envelope = CommandEnvelope {
        routing_key: Some(KEY),
        message_id: Some("m-1"),
        correlation_id: Some("c-1"),
    };
    let command = Command::decode(&bytes, envelope).unwrap();
    assert_eq!((command.id.as_str(), command.reference.as_deref()), ("m-1", Some("c-1")));

    let bad =
        Command::decode(&bytes, CommandEnvelope { message_id: Some("not an id"), ..envelope })
            .unwrap_err();
    assert_eq!(bad.failure.code.as_deref(), Some("missing_id"));
}

#[test]
fn any_provider_is_written_or_left_out_and_published_under_the_word_any() {
    for provider in [json!("any"), Value::Null] {
        let command =
            decode_under(&body(&json!({"provider": provider})), Some("payment.any.charge"))
                .unwrap();
        assert_eq!(command.provider, None);
    }
}

#[test]
fn a_broken_message_keeps_whatever_identity_it_shows() {
    let wrong =
        body(&json!({"surprise": 1, "reference": "r", "metadata": {"tenant": "eu", "n": 1}}));
    let identity = decode(&wrong).unwrap_err().identity;
    assert_eq!((identity.id.as_str(), identity.reference.as_deref()), ("order-1", Some("r")));
    assert_eq!(identity.metadata.len(), 1);

    let envelope =
        CommandEnvelope { routing_key: Some(KEY), message_id: Some("m-1"), correlation_id: None };
    let identity = Command::decode(b"{not json", envelope).unwrap_err().identity;
    assert_eq!(identity.id.as_str(), "m-1");
    assert_eq!(identity.provider.unwrap().as_str(), "stripe");
    assert_eq!(identity.operation.unwrap().as_str(), "charge");
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_size() {
    let large = vec![b' '; MAX_BODY + 1];
    let failure = Command::decode(&large, CommandEnvelope::default()).unwrap_err().failure;
    assert_eq!(failure.code.as_deref(), Some("too_large"));
}

#[test]
fn the_default_account_is_a_valid_name() {
    assert_eq!(Name::default_account().as_str(), "default");
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), key in ".{0,20}") {
        let envelope = CommandEnvelope { routing_key: Some(&key), message_id: Some(&key), correlation_id: None };
        let _ = Command::decode(&bytes, envelope);
    }

    #[test]
    fn any_json_is_read_or_refused_without_a_panic(field in "[a-z_]{1,10}", text in ".{0,20}") {
        let _ = decode(&body(&json!({field: text})));
    }
}

#[test]
fn a_body_that_is_no_utf_8_is_no_json_wherever_the_fault_is() {
    for body in [
        &b"{\"id\":\"a\xff\",\"type\":\"payment\",\"operation\":\"charge\"}"[..],
        b"{\"id\":\"a\",\"type\":\"payment\",\"operation\":\"charge\",\"payload\":{\"b\":\"\xc3(\"}}",
        b"{\"id\":\"a\",\"type\":\"payment\",\"operation\":\"charge\",\"x_note\":\"\xff\"}",
        b"{\"id\":\"a\",\"type\":\"payment\",\"operation\":\"charge\"}\xff",
    ] {
        let invalid = Command::decode(body, CommandEnvelope::default()).unwrap_err();
        assert_eq!(invalid.failure.code.as_deref(), Some("not_json"));
    }
}
