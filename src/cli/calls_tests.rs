use serde_json::json;

use super::*;
use crate::cli::fixture::printed;

fn shown(call: &Value) -> String {
    let call: HttpCall<'static> = serde_json::from_value(call.clone()).unwrap();
    printed(|out| print(&call, out).unwrap())
}

fn call() -> Value {
    json!({
        "at": "2026-11-25T18:49:14.123Z", "command": "order-1", "provider": "stripe", "operation": "charge",
        "generation": 1, "attempt": 2, "host": "a", "sent": "yes", "duration_ms": 87,
        "request": {
            "method": "POST", "url": "https://api.example/v1/charges?token=***",
            "headers": {"authorization": "***", "content-type": "application/json"},
            "body": "{\"amount\":1099,\"note\":\"red\\u001b[31m\"}"
        },
        "response": {"status": 201, "headers": {"x-note": "a\u{9b}b"}, "body": "{\"id\":\"ch_1\",\"lo", "body_cut": 312}
    })
}

#[test]
fn a_call_is_shown_with_headers_and_bodies_and_moves_no_cursor() {
    insta::assert_snapshot!(shown(&call()));
}

#[test]
fn a_call_without_an_answer_says_why_and_whether_it_was_sent() {
    let mut call = call();
    call["sent"] = json!("maybe");
    call["response"] = json!({"status": 200});
    call["error"] = json!({"code": "truncated", "message": "the answer ended\nearly"});
    call["request"]["body"] = json!("<a>\nb\u{1b}</a>");
    insta::assert_snapshot!(shown(&call));
}
