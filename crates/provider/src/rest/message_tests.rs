//! Tests the messages of providers that are reached by AMQP.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::fixture::{interpret_receipt, lines, outbound, parse};
use crate::{Provider, ProviderLink};
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Outcome, WaitingFor};

const FILE: &str = r#"
name = "warehouse"
type = "shipping"
protocol = "amqp"
base_url = "amqps://broker.example.com/orders"
auth = { scheme = "basic", username = "ferryd", password = "{{ secrets.password }}" }
headers = { tenant = "{{ metadata.tenant }}" }
secrets = { password = "pw_secret_1" }
account = { exchange = "dispatch.eu" }

[operations.dispatch]
message = { exchange = "{{ account.exchange }}", routing_key = "dispatch.{{ payload.region }}", headers = { Priority = "{{ payload.priority }}" }, deduplicates = "2m" }
body = { order = "{{ command.reference }}", items = "{{ payload.items }}" }

[operations.announce]
message = { routing_key = "announcements" }
body = "{{ payload.text }}"
response = { accepted = "true", waiting_for = "customer", result = { order = "{{ command.reference }}" } }
"#;

fn warehouse() -> Provider {
    parse(FILE).unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

fn message(operation: &str, payload: &Value, key: Option<&str>) -> MessageRequest {
    match outbound(&warehouse(), operation, payload, key).unwrap() {
        OutboundRequest::Message(message) => message,
        OutboundRequest::Http(_) => panic!("no message"),
    }
}

#[test]
fn a_message_has_its_address_headers_and_body_from_the_command() {
    let payload = json!({"region": "north", "items": [1, 2]});
    let dispatched = message("dispatch", &payload, Some("key-1"));
    assert_eq!(
        dispatched.address,
        MessageAddress::Amqp {
            exchange: "dispatch.eu".into(),
            routing_key: "dispatch.north".into()
        }
    );
    assert_eq!(dispatched.message_id, "key-1");
    assert_eq!(dispatched.headers, [("tenant".to_owned(), "eu-1".to_owned())]);
    assert_eq!(dispatched.content_type, Some("application/json"));
    assert_eq!(&dispatched.body[..], br#"{"order":"order-7","items":[1,2]}"#);
    assert_eq!(
        dispatched.url().as_str(),
        "amqps://broker.example.com/orders?exchange=dispatch.eu&routing_key=dispatch.north"
    );
    let urgent = json!({"region": "north", "items": [], "priority": "high"});
    assert!(
        message("dispatch", &urgent, None)
            .headers
            .contains(&("Priority".to_owned(), "high".to_owned()))
    );
}

/// The receiver may recognise a repeat even where the file does not rely on it.
#[test]
fn a_message_without_a_key_has_the_generations_key_as_its_id() {
    assert_eq!(message("announce", &json!({"text": "hello"}), None).message_id, "c1");
}

#[test]
fn the_digest_covers_what_is_sent_and_not_the_id() {
    let payload = |region| json!({"region": region, "items": []});
    let digest = |region, key| message("dispatch", &payload(region), Some(key)).digest();
    assert_eq!(digest("north", "a"), digest("north", "b"));
    assert_ne!(digest("north", "a"), digest("south", "a"));
}

#[test]
fn a_routing_key_that_no_broker_takes_is_the_commands_fault() {
    let long = "x".repeat(250);
    for (operation, payload) in
        [("dispatch", json!({"region": long, "items": []})), ("dispatch", json!({"items": []}))]
    {
        let failure = outbound(&warehouse(), operation, &payload, None).unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("invalid_request"), "{payload}");
    }
}

#[test]
fn an_acknowledgement_completes_a_command_or_makes_it_wait() {
    let read = |operation, result: &MessageResult| {
        interpret_receipt(&warehouse(), operation, &json!({"text": "hello"}), result)
    };
    assert!(matches!(read("dispatch", &MessageResult::Acknowledged), Outcome::Completed(_)));
    match read("announce", &MessageResult::Acknowledged) {
        Outcome::Waiting(success, WaitingFor::Customer) => {
            assert_eq!(success.result, Some(json!({"order": "order-7"})));
            assert_eq!(success.http_status, None);
        }
        other => panic!("{other:?}"),
    }
    let failure = || Failure::new("unroutable", "no queue is bound");
    assert!(matches!(read("dispatch", &MessageResult::NotSent(failure())), Outcome::Transient(..)));
    assert!(matches!(read("dispatch", &MessageResult::Incomplete(failure())), Outcome::Unknown(_)));
}

#[test]
fn the_link_has_the_users_name_and_masked_password() {
    let provider = warehouse();
    let account = provider.default_account().unwrap();
    assert_eq!(account.base_url.as_str(), "amqps://broker.example.com/orders");
    let ProviderLink::Amqp { username, .. } = &account.link else { panic!("{:?}", account.link) };
    assert_eq!(username, "ferryd");
    assert!(!format!("{:?}", account.link).contains("pw_secret_1"));
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
        ("amqps://broker", "amqp://broker"),
        ("amqps://broker.example.com", "amqp://127.0.0.1"),
        ("amqps://broker", "https://broker"),
        ("amqps://broker", "amqps://user:password@broker"),
        ("/orders", "/orders/more"),
        ("/orders", "/orders?heartbeat=5"),
        ("scheme = \"basic\", username = \"ferryd\", password", "scheme = \"bearer\", token"),
        ("auth = {", "log = {} # {"),
        ("password = \"{{ secrets.password }}\"", "password = \"literal\""),
        ("{{ account.exchange }}", "{{ payload.exchange }}"),
        ("routing_key = \"announcements\"", "exchange = \"news\""),
        ("tenant = ", "CC = "),
        ("deduplicates = \"2m\"", "deduplicates = \"often\""),
        ("message = { routing_key", "request = { method = \"POST\", path = \"/\" } # {"),
        (
            "response = { accepted",
            "lookup = { after = \"1m\", found = \"true\" }\nresponse = { accepted",
        ),
        (
            "response = { accepted",
            "idempotency = { header = \"Key\", retention = \"1h\" }\nresponse = { accepted",
        ),
        (
            "[operations.dispatch]",
            "[[classify]]\nwhen = \"status == 1\"\nas = \"declined\"\n[operations.dispatch]",
        ),
    ];
    let mut text = String::new();
    for (good, bad) in table {
        writeln!(text, "{good} -> {bad}\n{}", errors(good, bad)).unwrap();
    }
    insta::assert_snapshot!(text);
}
