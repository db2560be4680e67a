//! Tests that a caller does not learn which accounts exist.

use axum::body::Body;
use jiff::Timestamp;

use super::counts::WebhookTotals;
use super::fake::{FakeSite, SinkBehaviour, provider, settings};
use super::sink::SinkError;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::RawWebhook;
use ferryd_provider::Provider;

const HMAC: &str = r#"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
signature = { header = "X-Signature", encoding = "hex" }
signed = "{{ body }}"
"#;

const HANDSHAKE: &str = r#"
[webhook.challenge]
method = "GET"
when = "query.challenge"
reply = "{{ query.challenge }}"
"#;

const HANDSHAKE_WITH_TOKEN: &str = r#"
[webhook.challenge]
method = "GET"
when = "query.challenge"
token = { given = "{{ query.token }}", expected = "{{ secrets.word }}" }
reply = "{{ query.challenge }}"
"#;

const SIGNED_CHALLENGE: &str = r#"
[webhook.challenge]
method = "POST"
when = "body.challenge"
reply = "{{ body.challenge }}"
"#;

const ADYEN: &str = r#"
[webhook.verify]
scheme = "adyen_payments"
keys = [{ secret = "{{ secrets.webhook }}" }]
"#;

const TOKEN: &str = r#"
[webhook]
verify = "token"
[operations.act]
request = { method = "POST", path = "/" }
body = { notify = "{{ webhook_url }}" }
"#;

const NONE: &str = "[webhook]\nverify = \"none\"\n";

/// Lists every verification scheme that a provider file can have.
fn schemes() -> Vec<String> {
    let handshakes = [HANDSHAKE, HANDSHAKE_WITH_TOKEN, SIGNED_CHALLENGE]
        .map(|challenge| format!("{HMAC}{challenge}"));
    let others = [HMAC, ADYEN, TOKEN, NONE].map(str::to_owned);
    let open =
        [HANDSHAKE_WITH_TOKEN, SIGNED_CHALLENGE].map(|challenge| format!("{NONE}{challenge}"));
    handshakes.into_iter().chain(others).chain(open).collect()
}

/// Makes the provider `acme` with the accounts `default` and `eu`, each with secrets of its own.
fn two_accounts(scheme: &str) -> Provider {
    let with = |digit: &str, word: &str| {
        let secret = digit.repeat(64);
        provider(
            "acme",
            &format!("{scheme}\n[secrets]\nwebhook = \"{secret}\"\nword = \"{word}\"\n"),
        )
    };
    let (mut provider, other) = (with("1", "first"), with("2", "second"));
    let eu = other.default_account().unwrap().clone();
    provider.accounts.insert("eu".parse().unwrap(), eu);
    provider
}

/// Returns the headers and the body of a call as the provider would make it to the account
/// `default`.
fn signed(provider: &Provider, body: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let url = "https://hooks.example.com/ferry/webhooks/acme".parse().unwrap();
    let body = body.to_owned().into();
    let call =
        RawWebhook { method: "POST".to_owned(), url, headers: Vec::new(), body, certificate: None };
    let webhook = provider.webhook(&Name::default_account()).unwrap();
    let call = webhook.sign(&call, Timestamp::now(), None).unwrap_or(call);
    (call.headers, call.body.to_vec())
}

/// A call: method, query, headers and body.
type CallParts = (&'static str, &'static str, Vec<(String, String)>, Vec<u8>);

fn calls(provider: &Provider) -> Vec<CallParts> {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let item = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","additionalData":{"hmacSignature":"AAAA"}}}]}"#;
    let mut calls: Vec<CallParts> = vec![
        ("POST", "", Vec::new(), b"{}".to_vec()),
        ("POST", "", header("x-signature", "00"), b"{}".to_vec()),
        ("POST", "", header("x-signature", "no hexadecimal"), b"{}".to_vec()),
        ("POST", "", Vec::new(), b"no JSON".to_vec()),
        ("POST", "", Vec::new(), Vec::new()),
        ("POST", "", Vec::new(), item.as_bytes().to_vec()),
        ("POST", "", Vec::new(), br#"{"challenge":"a"}"#.to_vec()),
        ("POST", "?ferry=forged", Vec::new(), b"{}".to_vec()),
        ("POST", "", header("content-type", "image/png"), b"{}".to_vec()),
        ("POST", "", header("content-encoding", "gzip"), b"{}".to_vec()),
        ("POST", "", header("content-length", "9999999"), b"{}".to_vec()),
        ("POST", "", Vec::new(), vec![b' '; 10_000]),
        ("POST", "", Vec::new(), vec![b' '; 2 << 20]),
        ("GET", "", Vec::new(), Vec::new()),
        ("GET", "?challenge=a", Vec::new(), Vec::new()),
        ("GET", "?challenge=a&token=wrong", Vec::new(), Vec::new()),
        // The challenge token and the signature of another account.
        ("GET", "?challenge=a&token=first", Vec::new(), Vec::new()),
        ("GET", "?challenge=a&token=webhook", Vec::new(), Vec::new()),
        ("HEAD", "", Vec::new(), Vec::new()),
        ("PUT", "", Vec::new(), b"{}".to_vec()),
        ("DELETE", "", Vec::new(), Vec::new()),
        ("OPTIONS", "", Vec::new(), Vec::new()),
    ];
    for body in ["{}", r#"{"challenge":"a"}"#, item] {
        let (headers, body) = signed(provider, body);
        calls.push(("POST", "", headers.clone(), body.clone()));
        calls.push(("GET", "?challenge=a", headers, body));
    }
    calls
}

#[tokio::test]
async fn a_call_to_an_unknown_account_is_answered_as_one_to_a_known_account_is() {
    for scheme in schemes() {
        let provider = two_accounts(&scheme);
        let calls = calls(&provider);
        let site = FakeSite::of([provider], settings());
        for (number, (method, query, headers, body)) in calls.into_iter().enumerate() {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut answers = Vec::new();
            for account in ["eu", "nosuch"] {
                let path = format!("/webhooks/acme/{account}{query}");
                let answer = site.send(method, &path, &headers, Body::from(body.clone())).await;
                answers.push((answer.status, answer.headers, answer.body));
            }
            let unknown = answers.pop().unwrap();
            assert_eq!(
                unknown,
                answers.pop().unwrap(),
                "{scheme} {number}: {method} {query} {headers:?}"
            );
            assert_ne!(unknown.0, 404, "{scheme} {number}");
        }
    }
}

#[tokio::test]
async fn an_unknown_account_is_answered_as_a_known_one_also_while_the_broker_is_away() {
    let site = FakeSite::of([two_accounts(NONE)], settings());
    site.queues.behaviour.send_replace(SinkBehaviour::Refuse(SinkError::BrokerAway));
    for account in ["eu", "nosuch"] {
        let answer = site.send("POST", &format!("/webhooks/acme/{account}"), &[], "{}").await;
        assert_eq!(answer.status, 503, "{account}");
    }
}

#[tokio::test]
async fn what_is_signed_for_one_account_is_not_kept_for_another() {
    let provider = two_accounts(HMAC);
    let (headers, body) = signed(&provider, "{}");
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let site = FakeSite::of([provider], settings());
    for (account, status) in [("default", 200), ("eu", 401), ("nosuch", 401)] {
        let answer =
            site.send("POST", &format!("/webhooks/acme/{account}"), &headers, body.clone()).await;
        assert_eq!(answer.status, status, "{account}");
    }
    let kept = site.queues.kept.lock().unwrap().len();
    assert_eq!(kept, 1);
    assert_eq!(
        site.endpoint.counts().now(),
        WebhookTotals { kept: 1, unverified: 1, nowhere: 1, ..WebhookTotals::default() }
    );
}
