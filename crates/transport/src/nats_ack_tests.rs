use super::*;

/// Returns the meaning of an answer: `stored`, or whether the message is in doubt, with the code.
fn meaning(answer: &str) -> String {
    match read(answer.as_bytes()) {
        MessageResult::Acknowledged => "stored".to_owned(),
        MessageResult::NotSent(failure) => format!("not stored: {}", failure.code.unwrap()),
        MessageResult::Incomplete(failure) => format!("in doubt: {}", failure.code.unwrap()),
    }
}

#[test]
fn an_acknowledgement_names_stream_and_number() {
    for (answer, expected) in [
        (r#"{"stream":"ORDERS","seq":1}"#, "stored"),
        (r#"{"stream":"ORDERS","seq":7,"duplicate":true}"#, "stored"),
        (r#"{"stream":"ORDERS","seq":7,"domain":"hub"}"#, "stored"),
        (r#"{"stream":"ORDERS","seq":0}"#, "in doubt: protocol"),
        (r#"{"stream":"","seq":1}"#, "in doubt: protocol"),
        (r#"{"ok":true}"#, "in doubt: protocol"),
        ("", "in doubt: protocol"),
        ("+OK", "in doubt: protocol"),
        ("[]", "in doubt: protocol"),
    ] {
        assert_eq!(meaning(answer), expected, "{answer}");
    }
}

#[test]
fn only_a_refusal_before_storing_proves_that_nothing_is_stored() {
    for (code, description, expected) in [
        (10054, "message size exceeds maximum allowed", "not stored: refused"),
        (10109, "invalid operation on sealed stream", "not stored: refused"),
        (10023, "insufficient resources", "in doubt: stream_error"),
        (10002, "resource limits exceeded for account", "in doubt: stream_error"),
        (10077, "maximum messages exceeded", "not stored: refused"),
        (10077, "maximum bytes exceeded", "not stored: refused"),
        (10077, "write /data/1.blk: no space left on device", "in doubt: stream_error"),
        (10077, "", "in doubt: stream_error"),
        (0, "raft: not leader", "in doubt: stream_error"),
        (10008, "JetStream system temporarily unavailable", "in doubt: stream_error"),
    ] {
        let error = serde_json::json!({"code": 503, "err_code": code, "description": description});
        let answer = serde_json::json!({"error": error, "stream": "ORDERS", "seq": 0}).to_string();
        assert_eq!(meaning(&answer), expected, "{answer}");
    }
}
