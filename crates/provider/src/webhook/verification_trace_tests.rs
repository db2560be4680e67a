//! Tests the steps of a verification as people read them, and the answers to challenges.

use std::fmt::Write as _;

use super::fixture::{at, call, endpoint, endpoint_of, fragment};
use super::{WebhookReception, receive_webhook};
use crate::WebhookReceiver;
use ferryd_domain::webhook::{RawWebhook, VerificationError};

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://hooks.example.com/x";

fn explain(endpoint: &dyn WebhookReceiver, call: &RawWebhook, now: i64) -> String {
    let mut text = String::new();
    for step in endpoint.explain_verification(call, at(now)) {
        writeln!(text, "{:?}: {}: {}", step.result, step.looked_for, step.found).unwrap();
    }
    text
}

#[test]
fn a_verification_is_explained_step_by_step_without_a_secret() {
    let secret = "whsec_hush_hush_hush";
    let stripe = endpoint("stripe", secret);
    let good = stripe.sign(&call(URL, &[], b"{}"), at(NOW), None).unwrap();
    let header = |value: &str| call(URL, &[("Stripe-Signature", value)], b"{}");
    let table = [
        ("good", good.clone(), NOW),
        ("stale", good.clone(), NOW + 3_600),
        ("early", good.clone(), NOW - 3_600),
        ("another body", RawWebhook { body: "[]".into(), ..good.clone() }, NOW),
        ("a line break more", RawWebhook { body: "{}\n".into(), ..good }, NOW),
        ("no header", call(URL, &[], b"{}"), NOW),
        ("no field", header("t=1800000000"), NOW),
        ("no time", header("v1=00"), NOW),
        ("unreadable", header("t=1,v1=xyz"), NOW),
        ("unreadable time", header("t=soon,v1=00"), NOW),
    ];
    let mut text = String::new();
    for (name, call, now) in table {
        writeln!(text, "# {name}\n{}", explain(stripe.as_ref(), &call, now)).unwrap();
    }
    assert!(!text.contains("hush"));
    insta::assert_snapshot!(text);
}

#[test]
fn verification_of_other_schemes_is_explained() {
    let mut text = String::new();
    let twilio = endpoint("twilio", "12345");
    let json = [("content-type", "application/json")];
    let good = twilio.sign(&call(URL, &json, b"{}"), at(NOW), None).unwrap();
    let adyen = endpoint("adyen-payments", &"11".repeat(32));
    let batch = call(URL, &[], b"{\"notificationItems\":[{\"NotificationRequestItem\":{}}]}");
    let batch = adyen.sign(&batch, at(NOW), None).unwrap();
    let none = endpoint_of("[webhook]\nverify = \"none\"\n", "x");
    for (name, endpoint, call) in [
        ("JSON from Twilio", &twilio, good.clone()),
        ("another JSON", &twilio, RawWebhook { body: "[]".into(), ..good.clone() }),
        ("no digest", &twilio, RawWebhook { url: URL.parse().unwrap(), ..good }),
        ("a batch", &adyen, batch.clone()),
        ("no batch", &adyen, call(URL, &[], b"{}")),
        ("unsigned", &none, call(URL, &[], b"{}")),
    ] {
        writeln!(text, "# {name}\n{}", explain(endpoint.as_ref(), &call, NOW)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_challenge_in_a_post_is_answered_after_it_is_verified_only() {
    let slack = endpoint("slack", "hush-hush");
    let body = b"{\"type\":\"url_verification\",\"challenge\":\"3eZbrw1aB\",\"token\":\"x\"}";
    let good = slack.sign(&call(URL, &[], body), at(NOW), None).unwrap();
    let Ok(WebhookReception::Challenge(reply)) = receive_webhook(slack.as_ref(), &good, at(NOW))
    else {
        panic!("no challenge")
    };
    assert_eq!((reply.content_type.as_str(), &reply.body[..]), ("text/plain", &b"3eZbrw1aB"[..]));
    let forged = RawWebhook { body: body.to_ascii_uppercase().into(), ..good };
    assert_eq!(receive_webhook(slack.as_ref(), &forged, at(NOW)), Err(VerificationError::Forged));
    assert_eq!(
        receive_webhook(slack.as_ref(), &call(URL, &[], body), at(NOW)),
        Err(VerificationError::Unsigned)
    );
    let event =
        slack.sign(&call(URL, &[], b"{\"type\":\"event_callback\"}"), at(NOW), None).unwrap();
    assert_eq!(receive_webhook(slack.as_ref(), &event, at(NOW)), Ok(WebhookReception::Accepted));
}

#[test]
fn a_handshake_is_answered_to_who_knows_the_token() {
    let meta = endpoint("meta", "hush-hush");
    let get = |query: &str| RawWebhook {
        method: "GET".to_owned(),
        ..call(&format!("{URL}?{query}"), &[], b"")
    };
    let right = "hub.mode=subscribe&hub.verify_token=word-of-mine&hub.challenge=1158201444";
    let Ok(WebhookReception::Challenge(reply)) =
        receive_webhook(meta.as_ref(), &get(right), at(NOW))
    else {
        panic!("no challenge")
    };
    assert_eq!(&reply.body[..], b"1158201444");
    for wrong in [
        right.replace("mine", "his"),
        right.replace("subscribe", "unsubscribe"),
        right.replace("hub.verify_token", "token"),
        right.replace("hub.challenge", "challenge"),
        String::new(),
    ] {
        assert_eq!(
            receive_webhook(meta.as_ref(), &get(&wrong), at(NOW)),
            Err(VerificationError::Unsigned),
            "{wrong}"
        );
    }
    let posted = RawWebhook { method: "POST".to_owned(), ..get(right) };
    assert_eq!(receive_webhook(meta.as_ref(), &posted, at(NOW)), Err(VerificationError::Unsigned));
}

#[test]
fn an_endpoint_that_verifies_little_says_so() {
    for (endpoint, word) in [
        (endpoint_of("[webhook]\nverify = \"none\"\n", "x"), Some("calls are not verified")),
        (endpoint_of(&fragment("mercado-pago"), "x"), Some("nothing of the body")),
        (endpoint("stripe", "x"), None),
    ] {
        let cautions = endpoint.list_cautions(at(NOW));
        assert_eq!(cautions.len(), usize::from(word.is_some()), "{cautions:?}");
        assert!(
            cautions.iter().zip(word).all(|(caution, word)| caution.contains(word)),
            "{cautions:?}"
        );
    }
}
