use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::WebhookReceiver;
use crate::webhook::fixture::{call, endpoint_of};
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook, WebhookNotice};
use ferryd_redact::Mask;

const URL: &str = "https://hooks.example.com/x?kind=push";

const HEAD: &str = r#"[webhook]
verify = "none"
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
reference = "{{ body.about }}"
"#;

const RULES: &str = r#"
[[webhook.on]]
when = "body.type == 'paid' and body.test"
as = "nothing"
[[webhook.on]]
when = "body.type == 'paid'"
as = "completed"
result = { amount = "{{ body.amount | decimal('EUR') }}", kind = "{{ query.kind }}" }
[[webhook.on]]
when = "body.type in ['failed', 'paid']"
as = "declined"
code = "{{ body.code }}"
message = "{{ body.why }}"
"#;

fn reading(more: &str) -> Arc<dyn WebhookReceiver> {
    endpoint_of(&format!("{HEAD}{more}{RULES}"), "hush-hush")
}

fn posted(body: &Json) -> RawWebhook {
    call(URL, &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// The one notice of a body.
fn notice(body: &Json) -> WebhookNotice {
    let mut notices = reading("").read_notices(&posted(body)).masked(&Mask::default()).unwrap();
    assert_eq!(notices.len(), 1);
    notices.remove(0)
}

#[test]
fn a_call_is_one_notice_and_names_its_subject() {
    let body = json!({"type": "other", "id": 7, "command": "shop.order-1", "about": "pi_1"});
    let notice = notice(&body);
    assert_eq!(notice.event.as_deref(), Some("other"));
    assert_eq!(notice.id.as_deref(), Some("7"), "a number is as good as a text");
    assert_eq!(notice.command.unwrap().as_str(), "shop.order-1");
    assert_eq!(notice.reference.as_deref(), Some("pi_1"));
    assert_eq!((notice.meaning, notice.body), (NoticeMeaning::Nothing, body));
}

#[test]
fn the_first_rule_that_matches_decides() {
    for (body, meaning) in [
        (json!({"type": "paid", "amount": 1}), "completed"),
        (json!({"type": "paid", "amount": 1, "test": true}), "nothing"),
        (json!({"type": "failed"}), "declined"),
        (json!({"type": "seen"}), "nothing"),
        (json!({}), "nothing"),
        (json!([]), "nothing"),
        (json!(null), "nothing"),
    ] {
        assert_eq!(notice(&body).meaning.as_str(), meaning, "{body}");
    }
}

#[test]
fn an_end_holds_what_the_rule_maps() {
    let NoticeMeaning::Completed(success) =
        notice(&json!({"type": "paid", "amount": 1099, "about": "pi_1"})).meaning
    else {
        panic!("not completed")
    };
    assert_eq!(success.result, Some(json!({"amount": "10.99", "kind": "push"})));
    assert_eq!((success.provider_reference.as_deref(), success.http_status), (Some("pi_1"), None));
    assert_eq!(success.warnings, Vec::<String>::new());
    let failed = json!({"type": "failed", "code": 51, "why": "no funds", "about": "pi_2"});
    let NoticeMeaning::Declined(failure) = notice(&failed).meaning else { panic!("not declined") };
    assert_eq!((failure.code.as_deref(), failure.message.as_str()), (Some("51"), "no funds"));
    assert_eq!(failure.provider_reference.as_deref(), Some("pi_2"));
    let NoticeMeaning::Declined(failure) = notice(&json!({"type": "failed"})).meaning else {
        panic!("not declined")
    };
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (None, "the provider says that it has failed")
    );
}

#[test]
fn a_result_that_cannot_be_mapped_is_null_and_named() {
    let NoticeMeaning::Completed(success) =
        notice(&json!({"type": "paid", "amount": "much"})).meaning
    else {
        panic!("not completed")
    };
    assert_eq!(success.result, Some(json!({"amount": null, "kind": "push"})));
    assert!(
        success.warnings.len() == 1 && success.warnings[0].contains("result.amount"),
        "{:?}",
        success.warnings
    );
}

#[test]
fn ids_that_are_empty_too_long_or_none_are_left_out() {
    let (long, longest) = ("x".repeat(513), "x".repeat(512));
    for (value, kept) in [
        (json!(""), false),
        (json!(long), false),
        (json!(longest), true),
        (json!({"id": 1}), false),
        (json!([1]), false),
        (Json::Null, false),
    ] {
        let WebhookNotice { event, id, reference, .. } =
            notice(&json!({"type": value, "id": value, "about": value}));
        for text in [event, id, reference] {
            assert_eq!(text.is_some(), kept, "{value}");
        }
    }
    for command in
        [json!("no id"), json!("x".repeat(300)), json!(""), json!({"id": "c1"}), json!("c\u{0}1")]
    {
        let notice =
            notice(&json!({"type": "paid", "amount": 1, "command": command, "about": "pi_1"}));
        assert_eq!(notice.command, None, "{command}");
        assert_eq!(
            (notice.reference.as_deref(), notice.meaning.as_str()),
            (Some("pi_1"), "completed")
        );
    }
}

#[test]
fn each_item_of_a_list_is_a_notice_whose_body_is_the_item() {
    let items = reading("each = \"{{ body.items }}\"\n");
    let batch = json!({"type": "batch", "items": [
        {"type": "paid", "id": 1, "amount": 5, "about": "a"},
        {"type": "failed", "id": 2, "about": "b"},
        "a text",
    ]});
    let notices = items.read_notices(&posted(&batch)).masked(&Mask::default()).unwrap();
    let read: Vec<_> = notices
        .iter()
        .map(|notice| (notice.reference.as_deref(), notice.meaning.as_str()))
        .collect();
    assert_eq!(read, [(Some("a"), "completed"), (Some("b"), "declined"), (None, "nothing")]);
    for (number, notice) in notices.iter().enumerate() {
        assert_eq!(notice.body, batch["items"][number]);
    }
    let NoticeMeaning::Completed(success) = &notices[0].meaning else { panic!("not completed") };
    assert_eq!(
        success.result.as_ref().unwrap()["kind"],
        "push",
        "what is of the whole call stays in reach"
    );
    assert_eq!(
        items.read_notices(&posted(&json!({"items": []}))).masked(&Mask::default()),
        Ok(Vec::new())
    );
    let all = reading("each = \"{{ body }}\"\n");
    assert_eq!(
        all.read_notices(&posted(&json!([{"type": "seen"}, {"type": "seen"}])))
            .masked(&Mask::default())
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn what_is_no_list_or_too_long_keeps_the_call_from_being_taken_for_handled() {
    let items = reading("each = \"{{ body.items }}\"\n");
    let many = |count: usize| json!({"items": vec![json!(1); count]});
    let table = [
        (posted(&json!({})), "is no list"),
        (posted(&json!({"items": null})), "is no list"),
        (posted(&json!({"items": {"a": 1}})), "is no list"),
        (posted(&json!({"items": "text"})), "is no list"),
        (posted(&json!("text")), "is no list"),
        (posted(&many(10_001)), "10001 notices are too many"),
        (call(URL, &[], b"<html>"), "no body that can be read"),
        (call(URL, &[], b""), "no body that can be read"),
    ];
    for (call, words) in table {
        let error = items.read_notices(&call).masked(&Mask::default()).unwrap_err();
        assert!(error.starts_with("webhook.each: ") && error.contains(words), "{error}");
    }
    assert_eq!(
        items.read_notices(&posted(&many(10_000))).masked(&Mask::default()).unwrap().len(),
        10_000
    );
}

#[test]
fn a_form_is_read_as_a_map_of_texts() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let call = call(URL, &form, b"type=paid&amount=1099&about=SM%2B1&about=second&command=c1");
    let notices = reading("").read_notices(&call).masked(&Mask::default()).unwrap();
    assert_eq!(notices[0].command.as_ref().unwrap().as_str(), "c1");
    assert_eq!(
        notices[0].reference.as_deref(),
        Some("SM+1"),
        "of a name that is there twice the first"
    );
    assert_eq!(notices[0].meaning.as_str(), "completed");
    assert_eq!(notices[0].body["amount"], "1099");
}

#[test]
fn a_body_that_cannot_be_read_is_published_as_text() {
    for (body, text) in [(&b"<paid/>"[..], "<paid/>"), (b"", ""), (b"\xff{", "\u{fffd}{")] {
        let notices =
            reading("").read_notices(&call(URL, &[], body)).masked(&Mask::default()).unwrap();
        let [
            WebhookNotice {
                event: None,
                id: None,
                command: None,
                token: None,
                generation: None,
                reference: None,
                meaning,
                amount: None,
                body,
            },
        ] = &notices[..]
        else {
            panic!("{notices:?}")
        };
        assert_eq!((meaning, body), (&NoticeMeaning::Nothing, &json!(text)));
    }
    let by_query = endpoint_of("[webhook]\nverify = \"none\"\nevent = \"{{ query.kind }}\"\n", "x");
    assert_eq!(
        by_query.read_notices(&call(URL, &[], b"?")).masked(&Mask::default()).unwrap()[0]
            .event
            .as_deref(),
        Some("push")
    );
}

/// Arbitrary JSON with these keys, whose values the rules read.
fn bodies() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        ".{0,20}".prop_map(Json::from),
        prop::sample::select(vec!["paid", "failed"]).prop_map(Json::from),
    ];
    let keys = vec!["type", "id", "command", "about", "items", "amount", "code", "why", "test"];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        let key = prop::sample::select(keys.clone()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map(key, inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn reading_never_panics_whatever_the_json(body in bodies()) {
        for endpoint in [reading(""), reading("each = \"{{ body.items }}\"\n")] {
            let _ = endpoint.read_notices(&posted(&body)).masked(&Mask::default());
        }
    }

    #[test]
    fn reading_never_panics_whatever_the_bytes(body: Vec<u8>, form: bool) {
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        for endpoint in [reading(""), reading("each = \"{{ body.items }}\"\n")] {
            let _ = endpoint.read_notices(&call(URL, &[("content-type", kind)], &body)).masked(&Mask::default());
        }
    }
}
