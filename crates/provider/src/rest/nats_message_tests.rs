//! Tests the messages of providers that are reached by NATS.

use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::fixture::{lines, outbound, parse};
use crate::{NatsLogin, Provider, ProviderLink};
use ferryd_domain::outbound_request::OutboundRequest;

const FILE: &str = r#"
name = "warehouse"
type = "shipping"
protocol = "nats"
base_url = "tls://nats.example.com:4222"
auth = { scheme = "basic", username = "ferryd", password = "{{ secrets.password }}" }
headers = { tenant = "{{ metadata.tenant }}" }
secrets = { password = "pw_secret_1" }

[operations.dispatch]
message = { subject = "orders.{{ payload.region }}", headers = { Priority = "{{ payload.priority }}" }, deduplicates = "2m" }
body = { order = "{{ command.reference }}", items = "{{ payload.items }}" }

[operations.announce]
message = { subject = "announcements" }
body = "{{ payload.text }}"
"#;

fn warehouse() -> Provider {
    parse(FILE).unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

fn message(operation: &str, payload: &Json, key: Option<&str>) -> MessageRequest {
    match outbound(&warehouse(), operation, payload, key).unwrap() {
        OutboundRequest::Message(message) => message,
        OutboundRequest::Http(_) => panic!("no message"),
    }
}

#[test]
fn a_message_has_its_subject_headers_and_body_from_the_command() {
    let payload = json!({"region": "north", "items": [1, 2], "priority": "high"});
    let dispatched = message("dispatch", &payload, Some("key-1"));
    assert_eq!(dispatched.address, MessageAddress::Nats { subject: "orders.north".into() });
    assert_eq!(dispatched.message_id, "key-1");
    let headers = [("Priority", "high"), ("tenant", "eu-1")];
    assert_eq!(
        dispatched.headers,
        headers.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(&dispatched.body[..], br#"{"order":"order-7","items":[1,2]}"#);
    assert_eq!(dispatched.url().as_str(), "tls://nats.example.com:4222?subject=orders.north");
    assert!(dispatched.shown_headers().contains(&("Nats-Msg-Id".into(), "key-1".into())));
    assert_eq!(message("announce", &json!({"text": "hello"}), None).message_id, "c1");
}

#[test]
fn the_digest_covers_the_subject_and_not_the_id() {
    let payload = |region| json!({"region": region, "items": []});
    let digest = |region, key| message("dispatch", &payload(region), Some(key)).digest();
    assert_eq!(digest("north", "a"), digest("north", "b"));
    assert_ne!(digest("north", "a"), digest("south", "a"));
}

#[test]
fn a_value_that_would_lead_elsewhere_is_the_commands_fault() {
    for payload in [
        json!({"region": "north.eu", "items": []}),
        json!({"region": ">", "items": []}),
        json!({"region": "a b", "items": []}),
        json!({"region": "", "items": []}),
        json!({"items": []}),
        json!({"region": "north", "items": [], "priority": "high\r\nNats-Rollup: all"}),
    ] {
        let failure = outbound(&warehouse(), "dispatch", &payload, None).unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("invalid_request"), "{payload}");
    }
}

#[test]
fn the_link_has_a_user_or_a_token_and_masks_the_secret() {
    let link = |file: &str| parse(file).unwrap().default_account().unwrap().link.clone();
    let user = link(FILE);
    assert!(
        matches!(&user, ProviderLink::Nats(NatsLogin::User { username, .. }) if username == "ferryd")
    );
    let token = link(&FILE.replace(
        r#"scheme = "basic", username = "ferryd", password"#,
        r#"scheme = "bearer", token"#,
    ));
    assert!(matches!(&token, ProviderLink::Nats(NatsLogin::Token(_))));
    assert!(!format!("{user:?}{token:?}").contains("pw_secret_1"));
    let provider = warehouse();
    let dispatch = &provider.operations[&"dispatch".parse().unwrap()];
    assert_eq!(dispatch.idempotency.unwrap().retention.as_secs(), 120);
    assert!(provider.operations[&"announce".parse().unwrap()].idempotency.is_none());
}

/// The errors of the good file with one text in it replaced.
fn errors(text: &str, replacement: &str) -> String {
    assert!(FILE.contains(text), "{text}");
    lines(&parse(&FILE.replacen(text, replacement, 1)).map(|_| ()).unwrap_err())
}

#[test]
fn every_wrong_file_is_refused_with_line_key_and_remedy() {
    let table = [
        ("tls://nats", "nats://nats"),
        ("tls://nats.example.com", "nats://127.0.0.1"),
        ("tls://nats", "https://nats"),
        ("tls://nats", "tls://user:password@nats"),
        (":4222", ":4222/orders"),
        (":4222", ":4222?tls=no"),
        (
            "scheme = \"basic\", username = \"ferryd\", password",
            "scheme = \"header\", name = \"key\", value",
        ),
        ("auth = {", "log = {} # {"),
        ("password = \"{{ secrets.password }}\"", "password = \"literal\""),
        ("subject = \"announcements\"", "routing_key = \"announcements\""),
        ("subject = \"announcements\"", "subject = \"announcements\", exchange = \"news\""),
        ("subject = \"announcements\"", "subject = \"announcements.>\""),
        ("subject = \"announcements\"", "subject = \"a..b\""),
        ("subject = \"announcements\"", "subject = \"$JS.API.INFO\""),
        ("subject = \"announcements\"", "subject = \"announcements\", jetstream = false"),
        ("tenant = ", "nats-rollup = "),
        ("tenant = ", "Content-Type = "),
        ("tenant = ", "\"two words\" = "),
        ("deduplicates = \"2m\"", "deduplicates = \"often\""),
        (
            "message = { subject = \"announcements\" }",
            "lookup = { after = \"1m\", found = \"true\" }",
        ),
        ("protocol = \"nats\"", "protocol = \"amqp\""),
    ];
    let mut text = String::new();
    for (good, bad) in table {
        writeln!(text, "{good} -> {bad}\n{}", errors(good, bad)).unwrap();
    }
    insta::assert_snapshot!(text);
}
