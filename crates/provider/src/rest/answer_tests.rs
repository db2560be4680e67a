use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{acting, interpret, opened, reply};

const READING: &str = r#"
    [operations.act]
    request = { method = "POST", path = "/act" }
    idempotency = { header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }
    [operations.act.response]
    reference = "{{ body.id }}"
    result = { id = "{{ body.id }}", upper = "{{ body.name | upper }}", list = "{{ body.list }}" }
    success = "body.status == 'done'"
    accepted = "status == 202 or body.status == 'later'"
    waiting_for = "customer"
    warnings = ["{{ body.warning }}", "{{ body.warnings }}", "{{ body.name | lower }}"]
    error = { code = "{{ body.err.code }}", message = "{{ body.err.text }}", details = { field = "{{ body.err.field }}" } }
    [[operations.act.classify]]
    when = "body.err.code == 'no_money'"
    as = "declined"
    [[classify]]
    when = "status == 400 and body.err.code == 'busy'"
    as = "transient"
    code = "{{ body.err.sub }}"
"#;

fn outcome(status: u16, body: &Json) -> Outcome {
    interpret(&acting(READING), "act", &json!({}), reply(status, body))
}

#[test]
fn rules_conditions_and_the_built_in_table_apply_in_order() {
    let table = [
        (200, json!({"status": "done"}), "completed"),
        (200, json!({"status": "later"}), "waiting"),
        (202, json!({}), "waiting"),
        (200, json!({"status": "odd"}), "unknown"),
        (200, json!({"status": "done", "err": {"code": "no_money"}}), "declined"),
        (500, json!({"err": {"code": "no_money"}}), "declined"),
        (400, json!({"err": {"code": "busy"}}), "transient"),
        (409, json!({"err": {"code": "no_money"}}), "transient"),
        (400, json!({}), "rejected"),
        (302, json!({}), "rejected"),
        (503, json!({}), "unknown"),
        (429, json!({}), "transient"),
    ];
    for (status, body, expected) in table {
        assert_eq!(outcome(status, &body).outcome_name().as_str(), expected, "{status} {body}");
    }
}

#[test]
fn a_result_that_cannot_be_mapped_is_null_and_named() {
    let body =
        json!({"status": "done", "id": 77, "warning": "slow", "warnings": ["a", "b"], "list": [1]});
    let Outcome::Completed(success) = outcome(200, &body) else { panic!("not completed") };
    assert_eq!(success.result, Some(json!({"id": 77, "upper": null, "list": [1]})));
    assert_eq!(success.provider_reference.as_deref(), Some("77"));
    assert_eq!(success.http_status, Some(200));
    let starts: Vec<&str> =
        success.warnings.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["result.upper", "slow", "a", "b", "warnings[2]"]);
    let Outcome::Waiting(_, waiting_for) = outcome(202, &json!({})) else { panic!("not waiting") };
    assert_eq!(waiting_for, WaitingFor::Customer);
}

#[test]
fn an_error_is_described_from_the_best_place_there_is() {
    let table = [
        (json!({"err": {"code": 12, "text": "no"}}), "12", "no"),
        (json!({"error": {"message": "nested"}}), "http_400", "nested"),
        (json!({"message": "flat"}), "http_400", "flat"),
        (json!({"message": {"not": "text"}}), "http_400", "Bad Request"),
        (json!([1, 2]), "http_400", "Bad Request"),
        (json!({"err": {"code": "busy", "sub": "locked"}}), "locked", "Bad Request"),
        (json!({"err": {"code": "busy"}}), "busy", "Bad Request"),
    ];
    for (body, code, message) in table {
        let outcome = outcome(400, &body);
        let failure = outcome.failure().unwrap();
        assert_eq!(
            (failure.code.as_deref(), failure.message.as_str()),
            (Some(code), message),
            "{body}"
        );
    }
    let outcome = outcome(400, &json!({"err": {"field": "iban"}, "id": "x"}));
    let failure = outcome.failure().unwrap();
    assert_eq!(failure.details, Some(json!({"field": "iban"})));
    assert_eq!(failure.provider_reference.as_deref(), Some("x"));
    assert_eq!(reason(599), "status 599");
    assert_eq!(
        reason(200),
        "status 200, but the answer meets neither `success` nor `accepted` of the provider file"
    );
}

#[test]
fn an_echoed_secret_does_not_get_out_and_a_long_message_is_cut() {
    let echo = "key tok_secret_1 is wrong";
    let body =
        json!({"status": "done", "id": echo, "list": [{"tok_secret_1": echo}], "warning": echo});
    let shown = format!("{:?}", outcome(200, &body));
    assert!(!shown.contains("tok_secret_1") && shown.contains("key *** is wrong"), "{shown}");
    let body = json!({"id": echo, "err": {"code": echo, "text": echo, "field": echo}});
    let shown = format!("{:?}", outcome(400, &body));
    assert!(!shown.contains("tok_secret_1") && shown.contains("key *** is wrong"), "{shown}");
    let long = outcome(400, &json!({"message": "ä".repeat(9_999)}));
    assert_eq!(long.failure().unwrap().message.chars().count(), 512);
}

#[test]
fn bodies_are_read_as_json_or_form_or_not_at_all() {
    let form = |content_type: &str, body: &'static str| HttpReply {
        status: 200,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.into(),
    };
    let table = [
        ("application/x-www-form-urlencoded; charset=utf-8", "status=done&id=a+b", "completed"),
        ("text/plain", r#"{"status":"done"}"#, "completed"),
        ("application/json", "", "unknown"),
        ("application/json", r#"{"status":"done"} trailing"#, "unknown"),
        ("text/html", "<html>done</html>", "unknown"),
    ];
    for (content_type, body, expected) in table {
        let outcome = interpret(&acting(READING), "act", &json!({}), form(content_type, body));
        assert_eq!(outcome.outcome_name().as_str(), expected, "{content_type} {body}");
    }
}

#[test]
fn conditions_read_headers_and_text_of_an_answer() {
    let provider = acting(
        r#"[operations.act]
        request = { method = "GET", path = "/" }
        response = { success = "headers['x-state'] == 'ok' and text is startingwith 'OK' and payload.n == 1" }"#,
    );
    let headers =
        vec![("x-state".to_owned(), "ok".to_owned()), ("x-state".to_owned(), "second".to_owned())];
    let reply = HttpReply { status: 200, headers, body: "OK then".into() };
    assert_eq!(
        interpret(&provider, "act", &json!({"n": 1}), reply).outcome_name(),
        OutcomeName::Completed
    );
}

#[test]
fn retry_after_is_read_as_seconds_or_date_and_garbage_ignored() {
    let date = "Fri, 31 Dec 1999 23:59:59 GMT";
    let table = [
        ("120", Some(RetryAfter::Seconds(120))),
        (" 0 ", Some(RetryAfter::Seconds(0))),
        (date, Some(RetryAfter::At("1999-12-31T23:59:59Z".parse().unwrap()))),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("99999999999999999999999", None),
        ("Fri, 99 Dec 1999 23:59:59 GMT", None),
    ];
    for (text, expected) in table {
        assert_eq!(retry_after(text), expected, "{text}");
        let mut reply = reply(503, &json!({}));
        reply.headers.push(("retry-after".to_owned(), text.to_owned()));
        let outcome = interpret(&acting(READING), "act", &json!({}), reply);
        let transient = matches!(outcome, Outcome::Transient(_, hint) if hint == expected);
        assert_eq!(transient, expected.is_some(), "{text}: {outcome:?}");
    }
}

#[test]
fn nothing_sent_is_transient_and_half_an_answer_unknown() {
    let provider = acting(READING);
    let command = crate::fixture::command("act", &json!({}));
    let call = crate::CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: None,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    };
    let failure = Failure::new("timeout", "no answer within 30s");
    let interpret = |answer| opened(&provider, |adapter| adapter.interpret_reply(&call, &answer));
    let not_sent = interpret(ferryd_domain::http_call::CallResult::NotSent(failure.clone()));
    assert_eq!(not_sent, Outcome::Transient(failure.clone(), None));
    let incomplete = interpret(ferryd_domain::http_call::CallResult::Incomplete(failure.clone()));
    assert_eq!(incomplete, Outcome::Unknown(failure));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_answer_makes_it_panic(
        status: u16, header in "\\PC{0,20}", kind in 0_usize..3, body in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let types = ["application/json", "application/x-www-form-urlencoded", "text/plain"];
        let headers = vec![("retry-after".to_owned(), header), ("content-type".to_owned(), types[kind].to_owned())];
        let _ = interpret(&acting(READING), "act", &json!({}), HttpReply { status, headers, body: body.into() });
    }

    #[test]
    fn no_json_makes_it_panic(id in "\\PC{0,20}", number: f64, status in 100_u16..600) {
        let body = json!({"status": "done", "id": {"x": id}, "name": number, "list": id, "warnings": {"a": [number]}, "err": number});
        let _ = outcome(status, &body);
    }
}
