//! Tests the sandbox, called over real HTTPS by the daemon's own transport.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply};
use ferryd_sandbox::{CallCounts, CallsSnapshot, Sandbox, SandboxError, SandboxOptions};
use futures_util::future::join_all;
use serde_json::json;

use crate::sandbox_client::{SandboxClient, body_of, loopback};

#[tokio::test]
async fn a_call_succeeds_and_is_echoed_and_counted() {
    let setup = SandboxClient::new().await;
    let sent = json!({"amount": 1099, "reference": "order-1"});
    let reply = setup.reply("k1", sent.clone()).await;
    assert_eq!(reply.status, 200);
    let expected = json!({"id": "sb_1", "status": "succeeded", "amount": 1099, "request": sent});
    assert_eq!(body_of(&reply), expected);
    let calls = setup.sandbox.calls();
    let once = CallCounts { calls: 1, acted: 1 };
    assert_eq!((calls.total, calls.acted, calls.paths["/v1/charges"]), (1, 1, 1));
    assert_eq!((calls.keys["k1"], calls.ids["order-1"]), (once, once));
}

#[tokio::test]
async fn the_counters_are_read_and_reset_over_https() {
    let setup = SandboxClient::new().await;
    setup.status("k1", json!({})).await;
    let mut request = setup.request("", &json!({}));
    request.url.set_path("/sandbox/calls");
    request.body = Vec::new().into();
    request.method = HttpMethod::Get;
    let CallResult::Reply(counters) = setup.http.send(&request).await else { panic!("no answer") };
    let counters: CallsSnapshot = serde_json::from_slice(&counters.body).unwrap();
    assert_eq!((counters.total, counters.keys["k1"].calls, counters.max_concurrent), (1, 1, 1));
    request.method = HttpMethod::Delete;
    assert!(matches!(
        setup.http.send(&request).await,
        CallResult::Reply(HttpReply { status: 204, .. })
    ));
    assert_eq!(setup.sandbox.calls(), CallsSnapshot::default());
}

#[tokio::test]
async fn a_key_acts_once_and_repeats_its_answer() {
    let setup = SandboxClient::new().await;
    let first = setup.reply("k1", json!({"amount": 1})).await;
    assert_eq!(setup.reply("k1", json!({"amount": 1})).await.body, first.body);
    let other = setup.reply("k1", json!({"amount": 2})).await;
    assert_eq!(
        (other.status, &body_of(&other)["error"]["code"]),
        (400, &json!("idempotency_error"))
    );
    assert_eq!(setup.sandbox.calls().keys["k1"], CallCounts { calls: 3, acted: 1 });
    setup.status("", json!({"id": "no-key"})).await;
    setup.status("", json!({"id": "no-key"})).await;
    assert_eq!(setup.sandbox.calls().ids["no-key"], CallCounts { calls: 2, acted: 2 });
}

#[tokio::test]
async fn a_call_under_a_key_that_still_runs_is_a_conflict_even_after_its_client_left() {
    let setup = SandboxClient::new().await;
    let slow = json!({"latency": "2s"});
    assert_eq!(setup.lost("k1", slow.clone(), Duration::from_millis(300)).await, "timeout");
    let again = setup.reply("k1", json!({ "sandbox": slow })).await;
    assert_eq!(
        (again.status, &body_of(&again)["error"]["code"]),
        (409, &json!("idempotency_in_use"))
    );
    setup.wait_until("the slow call ends", |calls| calls.acted == 1 && calls.concurrent == 0).await;
    assert_eq!(setup.status("k1", json!({ "sandbox": slow })).await, 200);
    assert_eq!(setup.sandbox.calls().keys["k1"], CallCounts { calls: 3, acted: 1 });
}

#[tokio::test]
async fn statuses_declines_and_acceptance_come_as_requested() {
    let setup = SandboxClient::new().await;
    for (behaviour, status, pointer, word, acted) in [
        (json!({"status": 503, "retry_after": 2}), 503, "/error/code", "sandbox", 0),
        (json!({"status": 422}), 422, "/error/code", "sandbox", 0),
        (json!({"status": 201}), 201, "/status", "succeeded", 1),
        (json!({"decline": true}), 402, "/error/code", "card_declined", 0),
        (json!({"decline": "insufficient_funds"}), 402, "/error/code", "insufficient_funds", 0),
        (json!({"accepted": true}), 202, "/status", "processing", 1),
        (json!({"latency": "1ms"}), 200, "/status", "succeeded", 1),
        (json!({"stauts": 1}), 400, "/error/code", "sandbox", 0),
    ] {
        let before = setup.sandbox.calls().acted;
        let reply = setup.reply("", json!({ "sandbox": behaviour })).await;
        assert_eq!(reply.status, status, "{behaviour}");
        assert_eq!(body_of(&reply).pointer(pointer), Some(&json!(word)), "{behaviour}");
        assert_eq!(setup.sandbox.calls().acted - before, acted, "{behaviour}");
        assert_eq!(
            reply.header("retry-after"),
            behaviour.get("retry_after").map(|_| "2"),
            "{behaviour}"
        );
    }
    let date = "Wed, 21 Oct 2099 07:28:00 GMT";
    let reply = setup.reply("", json!({"sandbox": {"status": 429, "retry_after": date}})).await;
    assert_eq!(reply.header("retry-after"), Some(date));
}

#[tokio::test]
async fn a_refusal_is_kept_under_its_key_and_a_failure_is_not() {
    let setup = SandboxClient::new().await;
    for (status, kept) in
        [(422, true), (402, true), (429, false), (409, false), (500, false), (503, false)]
    {
        let key = format!("k{status}");
        let behaviour = json!({"sandbox": {"status": status}});
        assert_eq!(setup.status(&key, behaviour).await, status);
        // Another request under the key is noticed only where the first was kept.
        assert_eq!(setup.status(&key, json!({})).await, if kept { 400 } else { 200 }, "{status}");
    }
}

#[tokio::test]
async fn calls_fail_so_many_times_and_then_succeed() {
    let setup = SandboxClient::new().await;
    for (key, behaviour, statuses) in [
        ("k1", json!({"fail_times": 2}), [503, 503, 200, 200]),
        ("k2", json!({"fail_times": 1, "status": 429, "retry_after": 1}), [429, 200, 200, 200]),
        ("", json!({"fail_times": 1, "id": "x"}), [503, 200, 200, 200]),
        ("k3", json!({"fail_times": 1, "decline": true}), [503, 402, 402, 402]),
    ] {
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(setup.status(key, json!({ "sandbox": behaviour })).await);
        }
        assert_eq!(seen, statuses, "{behaviour}");
    }
    let calls = setup.sandbox.calls();
    assert_eq!((calls.keys["k1"].acted, calls.keys["k2"].acted, calls.ids["x"].acted), (1, 1, 3));
}

#[tokio::test]
async fn answers_get_lost_in_every_way() {
    let setup = SandboxClient::new().await;
    let (long, short) = (Duration::from_secs(20), Duration::from_millis(400));
    for (behaviour, timeout, code, acted) in [
        (json!({"hang": "before_answer"}), short, "timeout", 0),
        (json!({"hang": "mid_body"}), short, "timeout", 1),
        (json!({"reset": true}), long, "reset", 0),
        (json!({"truncate": true}), long, "truncated", 1),
        (json!({"huge": true}), long, "too_large", 1),
        (json!({"reset": true, "act_then_fail": true}), long, "reset", 1),
        (json!({"hang": "before_answer", "act_then_fail": true}), short, "timeout", 1),
    ] {
        let before = setup.sandbox.calls().acted;
        assert_eq!(setup.lost("", behaviour.clone(), timeout).await, code, "{behaviour}");
        assert_eq!(setup.sandbox.calls().acted - before, acted, "{behaviour}");
    }
    setup.wait_until("clients left", |calls| calls.concurrent == 0).await;
}

#[tokio::test]
async fn a_provider_that_acted_without_an_answer_answers_a_repetition_under_the_key() {
    let setup = SandboxClient::new().await;
    let behaviour = json!({"sandbox": {"act_then_fail": true}});
    assert_eq!(setup.status("k1", behaviour.clone()).await, 500);
    assert_eq!(setup.status("k1", behaviour.clone()).await, 200);
    assert_eq!(setup.sandbox.calls().keys["k1"], CallCounts { calls: 2, acted: 1 });
    let truncated = json!({"truncate": true});
    assert_eq!(setup.lost("k2", truncated.clone(), Duration::from_secs(20)).await, "truncated");
    assert_eq!(setup.status("k2", json!({ "sandbox": truncated })).await, 200);
    assert_eq!(setup.sandbox.calls().keys["k2"].acted, 1);
}

#[tokio::test]
async fn what_was_done_is_found_by_its_caller_and_by_its_own_id() {
    let setup = SandboxClient::new().await;
    assert_eq!(setup.transactions("order-1").await, Vec::<String>::new());
    assert_eq!(setup.status("", json!({"id": "order-1", "amount": 7})).await, 200);
    setup.status("", json!({"id": "order-1", "sandbox": {"status": 500}})).await;
    setup.status("", json!({"id": "order-1", "sandbox": {"act_then_fail": true}})).await;
    assert_eq!(
        setup.transactions("order-1").await,
        ["succeeded", "succeeded"],
        "not what was refused"
    );
    let deed = json!({"id": "sb_1", "status": "succeeded", "amount": 7, "caller": "order-1"});
    assert_eq!(setup.get("/sandbox/transactions/sb_1", "").await, (200, deed));
    assert_eq!(setup.get("/sandbox/transactions/sb_9", "").await.0, 404);
    let calls = setup.sandbox.calls();
    assert_eq!(
        (calls.total, calls.questions["order-1"], calls.questions["sb_1"]),
        (3, 2, 1),
        "asking is no call"
    );
}

#[tokio::test]
async fn an_accepted_action_ends_in_time_or_on_request() {
    let setup = SandboxClient::new().await;
    for (id, behaviour, first, end) in [
        ("done", json!({"accepted": true}), "processing", None),
        ("soon", json!({"accepted": true, "finish_after": "0s"}), "succeeded", None),
        ("late", json!({"accepted": true, "finish_after": "1h"}), "processing", Some("failed")),
        (
            "bad",
            json!({"accepted": true, "finish_after": "0s", "finish": "failed"}),
            "failed",
            None,
        ),
        ("never", json!({"accepted": true, "finish": "failed"}), "processing", Some("failed")),
        ("at-once", json!({"finish": "failed"}), "failed", None),
    ] {
        setup.status("", json!({"id": id, "sandbox": behaviour})).await;
        assert_eq!(setup.transactions(id).await, [first], "{id}");
        if let Some(end) = end {
            setup.sandbox.end(id, end);
            assert_eq!(setup.transactions(id).await, [end], "{id}");
        }
    }
    setup
        .status("", json!({"id": "x", "sandbox": {"accepted": true, "finish_after": "300ms"}}))
        .await;
    setup.transactions_become("x", &["succeeded"]).await;
}

#[tokio::test]
async fn what_is_hidden_is_found_later_by_its_caller_and_at_once_by_its_own_id() {
    let setup = SandboxClient::new().await;
    setup.status("", json!({"id": "h", "sandbox": {"hidden": "1h"}})).await;
    assert_eq!(setup.transactions("h").await, Vec::<String>::new());
    assert_eq!(setup.get("/sandbox/transactions/sb_1", "").await.0, 200);
    setup.status("", json!({"id": "h", "sandbox": {"hidden": "300ms"}})).await;
    setup.transactions_become("h", &["succeeded"]).await;
}

#[tokio::test]
async fn form_fields_and_json_text_in_metadata_are_understood() {
    let setup = SandboxClient::new().await;
    for body in [
        "sandbox[status]=418",
        "metadata[sandbox]=%7B%22status%22%3A418%7D",
        "Body=sandbox[status]=418",
    ] {
        let mut request = setup.request("", &json!({}));
        request.headers =
            vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        request.body = body.into();
        let CallResult::Reply(reply) = setup.http.send(&request).await else { panic!("{body}") };
        assert_eq!(reply.status, if body.starts_with("Body") { 200 } else { 418 }, "{body}");
    }
}

#[tokio::test]
async fn the_certificate_stays_over_restarts_and_its_key_is_private() {
    let setup = SandboxClient::new().await;
    let ca = setup.sandbox.ca_pem().to_owned();
    let dir = setup.dir.path().to_owned();
    assert_eq!(std::fs::read_to_string(dir.join("ca.pem")).unwrap(), ca);
    let mode = std::fs::metadata(dir.join("server-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let address = setup.sandbox.addr();
    setup.status("", json!({})).await;
    setup.sandbox.shutdown().await;

    let again =
        Sandbox::start(SandboxOptions { bind: address, dir: Some(dir.clone()) }).await.unwrap();
    assert_eq!((again.ca_pem(), again.addr()), (ca.as_str(), address));
    let setup = SandboxClient { sandbox: again, http: setup.http, dir: setup.dir };
    assert_eq!(setup.status("", json!({})).await, 200);

    let taken = Sandbox::start(SandboxOptions { bind: address, dir: None }).await;
    assert!(matches!(taken, Err(SandboxError::Listen { .. })));
    std::fs::write(dir.join("server-key.pem"), "no key").unwrap();
    let broken = Sandbox::start(SandboxOptions { bind: loopback(), dir: Some(dir.clone()) }).await;
    let message = broken.err().unwrap().to_string();
    assert!(message.contains(dir.to_str().unwrap()) && message.contains("remove"), "{message}");
}

#[tokio::test]
async fn every_name_of_this_machine_is_certified() {
    let setup = SandboxClient::new().await;
    let port = setup.sandbox.addr().port();
    for host in ["localhost", "127.0.0.1"] {
        let mut request = setup.request("", &json!({}));
        request.url = format!("https://{host}:{port}/").parse().unwrap();
        assert!(matches!(setup.http.send(&request).await, CallResult::Reply(_)), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_calls_hang_at_once_beside_one_that_is_answered() {
    const HANGING: usize = 400;
    let setup = std::sync::Arc::new(SandboxClient::new().await);
    let hang = |number: usize| {
        let setup = std::sync::Arc::clone(&setup);
        tokio::spawn(async move {
            setup.answer(&format!("k{number}"), json!({"sandbox": {"hang": "before_answer"}})).await
        })
    };
    let hanging: Vec<_> = (0..HANGING).map(hang).collect();
    setup.wait_until("all hang", |calls| calls.concurrent == HANGING as u64).await;
    assert_eq!(setup.status("", json!({})).await, 200);
    assert_eq!(setup.sandbox.calls().max_concurrent, HANGING as u64 + 1);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(hanging).await;
    setup.wait_until("all left", |calls| calls.concurrent == 0).await;
}
