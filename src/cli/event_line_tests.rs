use serde_json::json;

use super::*;
use crate::domain::command::{Command, Envelope};
use crate::domain::event::{Happening, Moment, Trace};
use crate::domain::outcome::{Failure, Success};

fn told(generation: u32, happening: Happening) -> String {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","reference":"r-1"}"#;
    let identity = Command::decode(body, Envelope::default()).unwrap().identity(&"stripe".parse().unwrap());
    let moment = Moment { generation, attempt: 2, at: jiff::Timestamp::from_second(1_800_000_000).unwrap() };
    let line = event_line(&Event::new(identity, moment, happening, Trace::default()));
    anstream::adapter::strip_str(&line).to_string()
}

#[test]
fn an_event_is_one_aligned_line() {
    let result = Success { result: Some(json!({ "id": "pi_1" })), ..Success::default() };
    let failure = Failure::new("timeout", "no\nanswer");
    let lines = [
        told(0, Happening::Processing),
        told(0, Happening::Completed(result)),
        told(1, Happening::Failed(Kind::Unavailable, failure.clone())),
        told(1, Happening::Pending { due: jiff::Timestamp::UNIX_EPOCH, failure }),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_long_result_is_cut() {
    let result = Success { result: Some(json!("x".repeat(5_000))), ..Success::default() };
    assert!(told(0, Happening::Completed(result)).chars().count() < 300);
}
