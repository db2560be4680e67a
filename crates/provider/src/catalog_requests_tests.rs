//! Tests requests of the catalog's providers with access tokens, minor units and documented webhook
//! tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::catalog;
use super::catalog_tests::{assert_rendered, decoded, provider, recording};
use super::fixture::request_under;

#[test]
fn requests_of_paypal_adyen_and_sendgrid_equal_those_of_their_own_sdks() {
    let table = [
        (
            "paypal-token-and-create-order",
            "create_order",
            Some("cmd-1"),
            json!({
                "amount": 1099, "currency": "eur", "reference_id": "r1", "custom_id": "cmd-1", "invoice_id": "inv-1"
            }),
        ),
        ("paypal-capture", "capture", Some("cmd-2"), json!({"order_id": "5O1"})),
        (
            "adyen-payments",
            "charge",
            Some("cmd-1"),
            json!({
                "amount": 1099, "currency": "EUR", "reference": "order-1", "return_url": "https://x.test/r",
                "payment_method": {
                    "type": "scheme", "encryptedCardNumber": "test_4111111111111111", "encryptedExpiryMonth": "test_03",
                    "encryptedExpiryYear": "test_2030", "encryptedSecurityCode": "test_737"
                },
                "metadata": {"ferryd": "c1"}
            }),
        ),
        (
            "sendgrid-send",
            "send_mail",
            None,
            json!({
                "from": {"email": "a@x.test"}, "subject": "s", "personalizations": [{"to": [{"email": "b@x.test"}]}],
                "content": [{"type": "text/plain", "value": "hi"}]
            }),
        ),
    ];
    for (name, operation, key, payload) in table {
        assert_rendered(name, operation, key, &payload);
    }
}

#[test]
fn the_token_request_equals_that_of_the_providers_own_sdk() {
    let request = provider("paypal")
        .default_account()
        .unwrap()
        .adapter
        .build_token_request(Duration::from_secs(1))
        .unwrap();
    let (expected, headers) = recording("paypal-token-and-create-order", 0);
    let ours: BTreeMap<_, _> = request.headers.iter().cloned().collect();
    assert_eq!(decoded("POST", &request.url, &ours["content-type"], &request.body), expected);
    for (name, value) in headers {
        assert_eq!(ours.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn currencies_that_paypal_takes_without_a_fraction_have_none() {
    for (currency, amount, value) in
        [("huf", 120_000, "1200"), ("TWD", 4550, "45.50"), ("JPY", 7, "7"), ("eur", 7, "0.07")]
    {
        let payload = json!({"amount": amount, "currency": currency});
        let request = request_under(&provider("paypal"), "create_order", &payload, None).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["purchase_units"][0]["amount"]["value"], value, "{currency}");
    }
}

#[test]
fn webhook_tables_of_the_catalog_are_those_of_the_document() {
    let document = std::fs::read_to_string(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("docs/WEBHOOKS.md"),
    )
    .unwrap();
    for (name, fragment) in
        [("adyen", "adyen-payments"), ("sendgrid", "sendgrid"), ("slack", "slack")]
    {
        let (_, rest) = document.split_once(&format!("```toml webhook {fragment}\n")).unwrap();
        let printed: toml::Table = toml::from_str(rest.split("```").next().unwrap()).unwrap();
        let ours: toml::Table = toml::from_str(catalog::source(name).unwrap()).unwrap();
        for part in ["verify", "challenge"] {
            assert_eq!(ours["webhook"].get(part), printed["webhook"].get(part), "{name} {part}");
        }
    }
}
