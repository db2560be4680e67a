//! Tests the catalog's requests that verify credentials: the requests, and the meaning of the
//! providers' documented answers.

use serde_json::{Value, json};

use super::catalog;
use super::catalog_tests::provider;
use super::fixture::{opened, reply};
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpMethod};

/// The name of a result.
fn word(check: &CredentialCheck) -> &'static str {
    match check {
        CredentialCheck::Accepted => "accepted",
        CredentialCheck::Refused(_) => "refused",
        CredentialCheck::Unreachable(_) => "unreachable",
        CredentialCheck::Unclear(_) => "unclear",
    }
}

#[test]
fn every_file_of_the_catalog_tries_credentials_by_a_request_that_does_nothing() {
    for name in catalog::names() {
        let provider = provider(name);
        let account = provider.default_account().unwrap();
        let request = account.adapter.verification_request().unwrap();
        let request =
            request.map_err(|failure| failure.masked(&provider.mask_of(account))).unwrap();
        let is_harmless =
            request.method == HttpMethod::Get || request.url.path() == "/v72/paymentMethods";
        assert!(is_harmless, "{name}: {} {}", request.method.as_str(), request.url);
    }
}

#[test]
fn the_documented_answers_of_each_provider_are_read_as_what_they_mean() {
    let table: [(&str, u16, Value, &str); 17] = [
        ("adyen", 200, json!({"paymentMethods": []}), "accepted"),
        (
            "adyen",
            401,
            json!({"status": 401, "errorCode": "000", "message": "HTTP Status Response - Unauthorized"}),
            "refused",
        ),
        (
            "adyen",
            403,
            json!({"status": 403, "errorCode": "901", "message": "Invalid Merchant Account"}),
            "refused",
        ),
        ("easypost", 200, json!({"trackers": [], "has_more": false}), "accepted"),
        (
            "easypost",
            401,
            json!({"error": {"code": "APIKEY.INACTIVE", "message": "This API key is no longer active."}}),
            "refused",
        ),
        ("paypal", 200, json!({"webhooks": []}), "accepted"),
        (
            "paypal",
            403,
            json!({"name": "NOT_AUTHORIZED", "message": "Authorization failed"}),
            "refused",
        ),
        ("sendgrid", 200, json!({"scopes": ["mail.send", "alerts.read"]}), "accepted"),
        ("sendgrid", 200, json!({"scopes": ["alerts.read"]}), "unclear"),
        (
            "sendgrid",
            401,
            json!({"errors": [{"field": null, "message": "authorization required"}]}),
            "refused",
        ),
        ("slack", 200, json!({"ok": true, "team": "T", "user": "ferryd"}), "accepted"),
        ("slack", 200, json!({"ok": false, "error": "invalid_auth"}), "refused"),
        ("slack", 200, json!({"ok": false, "error": "request_timeout"}), "unclear"),
        (
            "stripe",
            401,
            json!({"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}),
            "refused",
        ),
        ("twilio", 200, json!({"sid": "AC1", "status": "active"}), "accepted"),
        ("twilio", 200, json!({"sid": "AC1", "status": "suspended"}), "unclear"),
        ("twilio", 401, json!({"code": 20003, "message": "Authenticate"}), "refused"),
    ];
    for (name, status, body, expected) in table {
        let provider = provider(name);
        let found = opened(&provider, |adapter| {
            adapter.interpret_credential_check(&CallResult::Reply(reply(status, &body)))
        });
        assert_eq!(word(&found), expected, "{name} {status} {body}: {found:?}");
    }
}
