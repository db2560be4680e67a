//! Tests how unproven calls are reduced, stored and limited.

use std::time::Duration;

use governor::clock::FakeRelativeClock;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::web::webhooks::fake::{FakeSite, TOKEN_KEY, provider, settings};
use ferryd_broker::names::TopologyNames;
use ferryd_broker::webhook_message::to_message;
use ferryd_domain::webhook_token::{TokenKey, TokenScope};

const NOBODY_SIGNS: &str = r#"
[webhook]
verify = "none"
each = "{{ body.items | default([body]) }}"
event = "{{ body.kind }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
token = "{{ body.token }}"
reference = "{{ body.about }}"
[[webhook.on]]
when = "body.kind == 'paid'"
as = "completed"
[[webhook.on]]
when = "body.kind == 'moved'"
as = "progress"
[operations.act]
request = { method = "POST", path = "/" }
body = { notify = "{{ webhook_url }}", token = "{{ command_token }}" }
lookup = { request = { method = "GET", path = "/" }, after = "5m", found = "true" }
"#;

const PATH: &str = "/webhooks/acme";

fn site() -> FakeSite {
    FakeSite::of([provider("acme", NOBODY_SIGNS)], settings())
}

/// Returns a path with the token of a webhook URL.
fn path_with_token(key: &str) -> String {
    let (provider, account) = ("acme".parse().unwrap(), "default".parse().unwrap());
    let scope = TokenScope { provider: &provider, account: &account };
    let token =
        TokenKey::new(key).make_token(scope, &"order-1".parse().unwrap(), 0, Timestamp::now());
    format!("{PATH}?ferry={token}")
}

#[tokio::test]
async fn a_call_that_nothing_proves_is_kept_as_what_it_is_about_alone() {
    let site = site();
    let hidden = "4111 1111 1111 1111";
    let body = json!({"kind": "paid", "id": "WH-1", "about": "3C1", "command": "order-1", "token": "x", "card": hidden});
    let headers = [("x-hidden", hidden), ("content-type", "application/json")];
    for path in [PATH, &path_with_token("another key of thirty-two bytes.")] {
        for account in ["", "/nosuch"] {
            let path = path.replace(PATH, &format!("{PATH}{account}"));
            assert_eq!(site.send("POST", &path, &headers, body.to_string()).await.status, 200);
            let webhook = site.queues.kept.lock().unwrap().pop().unwrap();
            assert!(!webhook.is_verified);
            assert_eq!(
                webhook.call.url.as_str(),
                format!("https://hooks.example.com/ferry{PATH}{account}")
            );
            let kept: Value = serde_json::from_slice(&webhook.call.body).unwrap();
            let digest = kept[0]["digest"].as_str().unwrap();
            assert_eq!((kept.as_array().unwrap().len(), digest.len()), (1, 32));
            assert_eq!(
                kept[0],
                json!({"event": "paid", "reference": "3C1", "digest": digest, "starts_query": true})
            );
            let message =
                to_message(&webhook, &TopologyNames::new("ferry".parse().unwrap())).unwrap();
            assert!(!format!("{message:?}").contains("4111") && message.body.len() < 200);
        }
    }
}

#[tokio::test]
async fn a_repeated_call_has_the_digest_of_the_first_and_another_one_has_another() {
    let site = site();
    let mut digests = Vec::new();
    for (kind, id, about) in [
        ("paid", "WH-1", "3C1"),
        ("paid", "WH-1", "3C1"),
        ("paid", "WH-2", "3C1"),
        ("moved", "WH-1", "3C1"),
        ("paid", "WH-13", "C1"),
    ] {
        let body = json!({"kind": kind, "id": id, "about": about}).to_string();
        assert_eq!(site.send("POST", PATH, &[], body).await.status, 200);
        let kept: Value =
            serde_json::from_slice(&site.queues.kept.lock().unwrap().pop().unwrap().call.body)
                .unwrap();
        digests.push(kept[0]["digest"].as_str().unwrap().to_owned());
    }
    assert_eq!(digests[0], digests[1]);
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 4);
}

#[tokio::test]
async fn a_call_that_nothing_proves_has_at_most_16_kib_and_16_notices() {
    let site = site();
    let sized =
        |size: usize| format!("{:<size$}", json!({"kind": "paid", "about": "3C1"}).to_string());
    let many = |count: usize| {
        json!({"items": vec![json!({"kind": "paid", "about": "3C1"}); count]}).to_string()
    };
    for (body, status) in [
        (sized(16 << 10), 200),
        (sized((16 << 10) + 1), 413),
        (many(16), 200),
        (many(17), 413),
        ("no JSON".to_owned(), 400),
    ] {
        assert_eq!(
            site.send("POST", PATH, &[], body.clone()).await.status,
            status,
            "{} bytes",
            body.len()
        );
    }
    assert_eq!(site.queues.kept.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_call_that_a_token_proves_is_kept_whole() {
    let site = site();
    let body = format!("{:<40000}", json!({"kind": "paid", "about": "3C1"}).to_string());
    assert_eq!(site.send("POST", &path_with_token(TOKEN_KEY), &[], body.clone()).await.status, 200);
    let webhook = site.queues.kept.lock().unwrap().pop().unwrap();
    assert!(webhook.is_verified && webhook.call.body == body.as_bytes());
    // The call is about the token's command, and proves nothing about another.
    let body = json!({"kind": "paid", "about": "3C1", "command": "order-2"}).to_string();
    assert_eq!(site.send("POST", &path_with_token(TOKEN_KEY), &[], body).await.status, 200);
    assert!(!site.queues.kept.lock().unwrap().pop().unwrap().is_verified);
}

#[tokio::test]
async fn beyond_what_a_provider_may_have_calls_that_nothing_proves_are_refused_and_those_that_a_token_proves_are_not()
 {
    let site = site();
    let body = json!({"kind": "paid", "about": "3C1"}).to_string();
    // However slowly they are made, some come faster than the allowance grows again.
    let mut taken = 0;
    let refused = loop {
        let answer = site.send("POST", PATH, &[], body.clone()).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 10_000, "none is refused");
    };
    assert!(taken >= 250, "{taken}");
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (429, "5"));
    assert_eq!(site.send("POST", &path_with_token(TOKEN_KEY), &[], body).await.status, 200);
}

#[test]
fn one_address_uses_up_its_own_share_and_not_the_providers() {
    let clock = FakeRelativeClock::default();
    let limits = UnverifiedLimits::with_clock(&clock);
    let provider: Name = "paypal".parse().unwrap();
    let taken = |address: &str, of: usize| {
        (0..of).filter(|_| limits.check(&provider, Some(address.parse().unwrap())).is_ok()).count()
    };
    assert_eq!(taken("192.0.2.1", 10_000), 50);
    assert_eq!((taken("2001:db8::1", 10_000), taken("2001:db8::2", 10_000)), (50, 0));
    assert_eq!(taken("198.51.100.1", 10), 10);
    clock.advance(Duration::from_secs(1));
    assert_eq!(taken("192.0.2.1", 10_000), 5);
    // Many addresses together have the provider's allowance: the calls beyond it are answered with
    // a retry time.
    let together: usize = (0..50).map(|number| taken(&format!("203.0.113.{number}"), 50)).sum();
    assert!((100..=250).contains(&together), "{together}");
    let other = limits.check(&"other".parse().unwrap(), Some("192.0.2.99".parse().unwrap()));
    assert!(other.is_ok());
}
