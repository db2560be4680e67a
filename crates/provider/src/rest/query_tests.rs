use serde_json::json;

use super::*;
use crate::fixture::{acting, command, lines, opened, parse, reply};
use crate::{CallContext, Provider};
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::outcome::Outcome;
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::QueryPurpose;
use ferryd_redact::Mask;

pub(super) const WITH_LIST_LOOKUP: &str = r#"
    [operations.act]
    request = { method = "POST", path = "/act" }
    body = { amount = "{{ payload.amount }}" }
    [operations.act.response]
    reference = "{{ body.id }}"
    result = { id = "{{ body.id }}" }
    success = "body.status == 'done'"
    accepted = "body.status == 'later'"
    error = { code = "{{ body.err }}" }
    [[operations.act.classify]]
    when = "body.status == 'refused'"
    as = "declined"
    [operations.act.poll]
    request = { method = "GET", path = "/acts/{{ provider_reference }}", headers = { X-Of = "{{ command.id }}" } }
    interval = "10s"
    max_interval = "30m"
    failed = "body.status == 'broken'"
    [operations.act.lookup]
    request = { method = "POST", path = "/search" }
    body = { of = "{{ command.id }}", known = "{{ provider_reference }}" }
    after = "90s"
    found = "body.data | length == 1"
    item = "{{ body.data[0] }}"
    not_found = "body.data | length == 0"
"#;

/// A lookup whose answer itself is the transaction.
const SINGLE: &str = r#"
    [operations.act]
    request = { method = "POST", path = "/act" }
    response = { success = "body.status == 'done'" }
    [operations.act.poll]
    request = { method = "GET", path = "/acts" }
    interval = "10s"
    done = "body.over"
    [operations.act.lookup]
    request = { method = "GET", path = "/acts/{{ command.id }}" }
    after = "1s"
    found = "body.status"
    not_found = "not body.status"
"#;

/// Runs a query to `provider` about a command with the provider's id `reference`.
fn with_call<T>(reference: Option<&str>, then: impl FnOnce(&CallContext<'_>) -> T) -> T {
    let command = command("act", &json!({ "amount": 5 }));
    then(&CallContext {
        command: &command,
        key: None,
        generation: 0,
        attempt: 1,
        provider_reference: reference,
        webhook_url: None,
        command_token: "",
        in_doubt: false,
    })
}

pub(super) fn request(
    provider: &Provider,
    purpose: QueryPurpose,
    reference: Option<&str>,
) -> Result<HttpRequest, Failure> {
    let build = |call: &CallContext<'_>| {
        provider.default_account().unwrap().adapter.build_query(call, purpose)
    };
    with_call(reference, build).map_err(|failure| failure.masked(&Mask::default()))
}

fn polled(provider: &Provider, status: u16, body: &Json) -> PollOutcome {
    with_call(None, |call| {
        opened(provider, |adapter| {
            adapter.interpret_poll(call, &CallResult::Reply(reply(status, body)))
        })
    })
}

pub(super) fn looked_up(provider: &Provider, status: u16, body: &Json) -> LookupOutcome {
    with_call(None, |call| {
        opened(provider, |adapter| {
            adapter.interpret_lookup(call, &CallResult::Reply(reply(status, body)))
        })
    })
}

/// The result of a lookup in a word or two.
pub(super) fn word(looked_up: &LookupOutcome) -> String {
    match looked_up {
        LookupOutcome::Found(outcome) => format!("found {}", outcome.outcome_name().as_str()),
        LookupOutcome::Absent(_) => "not_found".to_owned(),
        LookupOutcome::Unclear(_) => "unclear".to_owned(),
    }
}

#[test]
fn queries_are_built_with_the_providers_own_id_and_without_a_key() {
    let provider = acting(WITH_LIST_LOOKUP);
    let poll = request(&provider, QueryPurpose::Poll, Some("a/1")).unwrap();
    assert_eq!(
        (poll.method.as_str(), poll.url.as_str()),
        ("GET", "https://api.example.com/base/acts/a%2F1")
    );
    let header = |name: &str| {
        poll.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (header("x-of"), header("authorization")),
        (Some("c1"), Some("Bearer tok_secret_1"))
    );
    for (reference, body) in
        [(Some("a1"), json!({"of": "c1", "known": "a1"})), (None, json!({"of": "c1"}))]
    {
        let lookup = request(&provider, QueryPurpose::Lookup, reference).unwrap();
        assert_eq!(lookup.url.path(), "/base/search");
        assert_eq!(serde_json::from_slice::<Json>(&lookup.body).unwrap(), body);
    }
    let nameless = request(&provider, QueryPurpose::Poll, None).unwrap_err();
    assert!(nameless.message.contains("`provider_reference` has no value"), "{}", nameless.message);
    let unasked = acting("[operations.act]\nrequest = { method = \"POST\", path = \"/act\" }");
    for purpose in [QueryPurpose::Poll, QueryPurpose::Lookup] {
        assert!(
            request(&unasked, purpose, Some("a1")).unwrap_err().message.contains(purpose.as_str())
        );
    }
}

#[test]
fn the_policy_of_a_query_is_read_from_its_table() {
    let operation = |text: &str| acting(text).operations.remove(&"act".parse().unwrap()).unwrap();
    let (listed, single) = (operation(WITH_LIST_LOOKUP), operation(SINGLE));
    let secs = Duration::from_secs;
    assert_eq!(listed.poll, Some(PollPolicy { interval: secs(10), max_interval: secs(1_800) }));
    assert_eq!(single.poll, Some(PollPolicy { interval: secs(10), max_interval: LONGEST }));
    assert_eq!(
        listed.lookup,
        Some(LookupPolicy { after: secs(90), proves_absence: true, needs_reference: false })
    );
    assert_eq!(single.lookup.unwrap().after, secs(30), "at least as long as a call may take");
    let without = operation(&SINGLE.replace("not_found =", "item = \"{{ body }}\" #"));
    assert!(!without.lookup.unwrap().proves_absence);
    assert_eq!(listed.deadline, Duration::from_hours(7 * 24));
    let short =
        operation(&SINGLE.replace("[operations.act.poll]", "[operations.act.poll] # ").replacen(
            "response =",
            "deadline = \"3d\"\nresponse =",
            1,
        ));
    assert_eq!(short.deadline, Duration::from_hours(72));
}

#[test]
fn a_poll_completes_or_declines_only_by_what_the_file_says() {
    let (listed, single) = (acting(WITH_LIST_LOOKUP), acting(SINGLE));
    let early = acting(
        &WITH_LIST_LOOKUP.replace("success = \"body.status == 'done'\"", "success = \"body.id\""),
    );
    let table = [
        (&listed, 200, json!({"status": "done", "id": "a1"}), "completed"),
        // As in the answer to the call itself, `accepted` precedes `success`.
        (&early, 200, json!({"status": "later", "id": "a1"}), "still"),
        (&early, 200, json!({"status": "over", "id": "a1"}), "completed"),
        (&listed, 200, json!({"status": "broken", "err": "e1"}), "declined"),
        (&listed, 200, json!({"status": "refused"}), "declined"),
        (&listed, 200, json!({"status": "later"}), "still"),
        (&listed, 200, json!({"status": "odd"}), "still"),
        (&listed, 200, json!("<html>"), "still"),
        (&listed, 500, json!({"status": "done"}), "still, a fault"),
        (&listed, 404, json!({}), "still, a fault"),
        (&listed, 404, json!({"status": "refused"}), "declined"),
        // A failing provider does not know, whatever its body looks like.
        (&listed, 500, json!({"status": "broken"}), "still, a fault"),
        (&listed, 401, json!({"status": "refused"}), "still, a fault"),
        (&listed, 429, json!({"status": "broken"}), "still, a fault"),
        (&listed, 401, json!({"status": "later"}), "still, a fault"),
        // `done` replaces `success`.
        (&single, 200, json!({"status": "done"}), "still"),
        (&single, 200, json!({"over": true}), "completed"),
    ];
    for (provider, status, body, expected) in table {
        let found = match polled(provider, status, &body) {
            PollOutcome::Completed(_) => "completed",
            PollOutcome::Declined(_) => "declined",
            PollOutcome::Still(None) => "still",
            PollOutcome::Still(Some(_)) => "still, a fault",
        };
        assert_eq!(found, expected, "{status} {body}");
    }
    let PollOutcome::Completed(success) =
        polled(&listed, 200, &json!({"status": "done", "id": "a1"}))
    else {
        panic!()
    };
    assert_eq!(
        (success.provider_reference.as_deref(), success.result),
        (Some("a1"), Some(json!({"id": "a1"})))
    );
    let PollOutcome::Declined(failure) =
        polled(&listed, 200, &json!({"status": "broken", "err": "e1"}))
    else {
        panic!()
    };
    assert_eq!(failure.code.as_deref(), Some("e1"));
}

#[test]
fn what_a_lookup_finds_is_read_as_if_it_were_the_answer() {
    let (listed, single) = (acting(WITH_LIST_LOOKUP), acting(SINGLE));
    let of = |status: &str| json!({"data": [{"status": status, "id": "a1"}]});
    let table = [
        (&listed, 200, of("done"), "found completed"),
        (&listed, 200, of("later"), "found waiting"),
        (&listed, 200, of("refused"), "found declined"),
        (&listed, 200, of("odd"), "found unknown"),
        (&listed, 200, json!({"data": []}), "not_found"),
        (&listed, 200, json!({"data": [{}, {}]}), "unclear"),
        (&listed, 200, json!({"data": [null]}), "unclear"),
        (&listed, 200, json!({"other": []}), "unclear"),
        (&listed, 200, json!("<html>"), "unclear"),
        (&single, 200, json!({"status": "done"}), "found completed"),
        (&single, 404, json!({"error": "none"}), "not_found"),
        (&single, 400, json!({"error": "none"}), "not_found"),
    ];
    for (provider, status, body, expected) in table {
        assert_eq!(word(&looked_up(provider, status, &body)), expected, "{status} {body}");
    }
    let LookupOutcome::Found(Outcome::Completed(success)) = looked_up(&listed, 200, &of("done"))
    else {
        panic!()
    };
    assert_eq!(
        (success.provider_reference.as_deref(), success.result),
        (Some("a1"), Some(json!({"id": "a1"})))
    );
}

#[test]
fn a_provider_in_trouble_is_not_taken_for_one_that_knows_of_nothing() {
    let single = acting(SINGLE);
    for status in [302, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504] {
        for body in [json!({"error": "trouble"}), json!({"status": "done"})] {
            assert_eq!(word(&looked_up(&single, status, &body)), "unclear", "{status} {body}");
        }
    }
}

#[test]
fn a_query_without_an_answer_leaves_the_command_as_it_is() {
    let provider = acting(WITH_LIST_LOOKUP);
    let failure = Failure::new("timeout", "no answer within 30s");
    for answer in [CallResult::NotSent(failure.clone()), CallResult::Incomplete(failure.clone())] {
        let (polled, looked_up) = with_call(None, |call| {
            (
                opened(&provider, |adapter| adapter.interpret_poll(call, &answer)),
                opened(&provider, |adapter| adapter.interpret_lookup(call, &answer)),
            )
        });
        assert_eq!(polled, PollOutcome::Still(Some(failure.clone())));
        assert_eq!(looked_up, LookupOutcome::Unclear(failure.clone()));
    }
}

#[test]
fn no_query_shows_a_secret() {
    let listed = acting(WITH_LIST_LOOKUP);
    let echo = "key tok_secret_1 is wrong";
    for body in [
        json!({"status": "done", "id": echo}),
        json!({"status": "broken", "err": echo}),
        json!({"data": [{"status": "done", "id": echo}]}),
        json!({"data": [{"status": "odd", "err": echo}]}),
        json!({"data": [], "message": echo}),
        json!({"message": echo}),
    ] {
        for status in [200, 500] {
            let shown = format!(
                "{:?} {:?}",
                polled(&listed, status, &body),
                looked_up(&listed, status, &body)
            );
            assert!(!shown.contains("tok_secret_1"), "{shown}");
        }
    }
    let text = format!("{WITH_LIST_LOOKUP}[secrets]\nkey = \"sk_12345\"\n")
        .replace("body.data[0]", "5 | decimal(body.currency)");
    let head = "name = \"x\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n";
    let provider =
        parse(&format!("{head}{text}")).unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    let LookupOutcome::Unclear(failure) =
        looked_up(&provider, 200, &json!({"data": [1], "currency": "sk_12345"}))
    else {
        panic!()
    };
    assert!(failure.message.contains("`***` is not a currency"), "{}", failure.message);
}

#[test]
fn a_lookup_needs_the_providers_own_id_where_nothing_else_identifies_the_transaction() {
    let table = [
        (r#"{ method = "GET", path = "/acts/{{ provider_reference }}" }"#, true),
        (r#"{ method = "GET", path = "/acts/{{ payload.of }}/{{ provider_reference }}" }"#, true),
        (
            r#"{ method = "GET", path = "/acts", query = { id = "{{ provider_reference }}" } }"#,
            true,
        ),
        (
            r#"{ method = "GET", path = "/acts", query = { q = "id:{{ provider_reference }} of:{{ command.id }}" } }"#,
            true,
        ),
        (
            r#"{ method = "GET", path = "/acts", headers = { X-Id = "{{ provider_reference }}" } }"#,
            true,
        ),
        // The parameter is left out where its value is missing; the rest identifies the
        // transaction.
        (
            r#"{ method = "GET", path = "/acts", query = { id = "{{ provider_reference }}", of = "{{ command.id }}" } }"#,
            false,
        ),
        (
            r#"{ method = "GET", path = "/acts/{{ provider_reference | default(command.id) }}" }"#,
            false,
        ),
        (
            r#"{ method = "GET", path = "/acts/{{ provider_reference if provider_reference else payload.of }}" }"#,
            false,
        ),
        (r#"{ method = "GET", path = "/acts/{{ payload.of }}" }"#, false),
        (
            r#"{ method = "GET", path = "/acts/provider_reference", query = { of = "{{ 'provider_reference' }}" } }"#,
            false,
        ),
    ];
    for (request, expected) in table {
        let text =
            SINGLE.replace(r#"{ method = "GET", path = "/acts/{{ command.id }}" }"#, request);
        let operation = acting(&text).operations.remove(&"act".parse().unwrap()).unwrap();
        let lookup = operation.lookup.unwrap();
        assert_eq!(lookup.needs_reference, expected, "{request}");
        let mut progress = GenerationProgress::first_generation(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(operation.recovery_options(&progress).lookup.is_none(), expected, "{request}");
        progress.provider_reference = Some("a1".to_owned());
        assert_eq!(operation.recovery_options(&progress).lookup, Some(lookup), "{request}");
    }
}

#[test]
fn what_a_command_changes_of_another_is_read_from_its_payload() {
    let act = "[operations.act]\nrequest = { method = \"POST\", path = \"/act\" }\n";
    let affected = |text: &str| {
        let provider = acting(&format!("{act}{text}"));
        with_call(None, |call| provider.default_account().unwrap().adapter.affected_reference(call))
    };
    assert_eq!(affected("affects = \"{{ payload.amount }}\"").as_deref(), Some("5"));
    assert_eq!(affected("affects = \"{{ payload.payment }}\""), None);
    assert_eq!(affected("affects = \"\""), None);
    assert_eq!(affected(""), None);
}
