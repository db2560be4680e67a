use serde_json::json;

use super::*;
use ferryd_domain::command::{Command, CommandEnvelope, EncodedIdentity};
use ferryd_domain::event::{EventKind, EventMoment, TraceContext};
use ferryd_domain::outcome::{Failure, Success};

fn print_event(generation: u32, kind: EventKind) -> String {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","reference":"r-1"}"#;
    let identity = Command::decode(body, CommandEnvelope::default())
        .unwrap()
        .identity(&"stripe".parse().unwrap());
    let moment = EventMoment {
        generation,
        attempt: 2,
        at: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
    };
    let line = event_line(&Event::new(identity, moment, kind, TraceContext::default()));
    line.unstyled()
}

#[test]
fn an_event_is_one_aligned_line() {
    let result = Success { result: Some(json!({ "id": "pi_1" })), ..Success::default() };
    let failure = Failure::new("timeout", "no\nanswer");
    let lines = [
        print_event(0, EventKind::Processing),
        print_event(0, EventKind::Completed(result)),
        print_event(1, EventKind::Failed(FailureKind::Unavailable, failure.clone())),
        print_event(1, EventKind::Pending { due: jiff::Timestamp::UNIX_EPOCH, failure }),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn conflicts_and_webhook_events_are_aligned_lines_too() {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge"}"#;
    let known = Command::decode(body, CommandEnvelope::default())
        .unwrap()
        .identity(&"stripe".parse().unwrap());
    let webhook_line = |command: Option<EncodedIdentity>,
                        account: &str,
                        reference: Option<&str>,
                        event: Option<&str>| {
        let data = ReceivedData {
            command,
            r#type: "payment".parse().unwrap(),
            provider: "stripe".parse().unwrap(),
            account: account.parse().unwrap(),
            event: event.map(str::to_owned),
            verified: true,
            provider_reference: reference.map(str::to_owned),
            meaning: "completed".to_owned(),
            result: None,
            body: json!({}),
        };
        let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        webhook_line(&ReceivedEvent::new("evt_1", at, data)).unstyled()
    };
    let conflict = ConflictEvent::of_content(
        known.clone(),
        "d1",
        TraceContext::default(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let lines = [
        conflict_line(&conflict).unstyled(),
        webhook_line(Some(known), "default", Some("pi_1"), Some("payment_intent.succeeded")),
        webhook_line(None, "eu", None, Some("bad\nname")),
        webhook_line(None, "default", None, None),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_long_result_is_cut() {
    let result = Success { result: Some(json!("x".repeat(5_000))), ..Success::default() };
    assert!(print_event(0, EventKind::Completed(result)).chars().count() < 300);
}
