use std::fmt::Write as _;

use super::*;
use crate::fixture::{lines, parse, reply, request};
use ferryd_domain::outcome::Failure;
use ferryd_domain::outcome::RetryAfter;
use ferryd_redact::{Mask, MaskableValue as _};
use secrecy::ExposeSecret as _;
use serde_json::json;

const OPERATION: &str = "[operations.act]\nrequest = { method = \"POST\", path = \"/act\" }\n";

fn file(auth: &str) -> String {
    format!(
        "name = \"test\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com/base\"\n\
         secrets = {{ id = \"my id\", secret = \"hush:/+%\" }}\nauth = {{ scheme = \"oauth2\", {auth} }}\n{OPERATION}"
    )
}

const CREDENTIALS: &str =
    r#"client_id = "{{ secrets.id }}", client_secret = "{{ secrets.secret }}""#;

/// The token request as text: URL, headers, body.
fn token_request(auth: &str) -> String {
    let provider = parse(&file(&format!("grant = \"client_credentials\", {CREDENTIALS}, {auth}")));
    let provider = provider.unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    let act = request(&provider, "act", &json!({})).unwrap();
    assert!(act.headers.iter().all(|(name, _)| name != "authorization"), "it has no token yet");
    let request = provider
        .default_account()
        .unwrap()
        .adapter
        .build_token_request(Duration::from_secs(3))
        .unwrap();
    assert_eq!((request.method, request.timeout.as_secs()), (HttpMethod::Post, 3));
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}\n{}\n\n{}", request.url, headers.join("\n"), String::from_utf8_lossy(&request.body))
}

#[test]
fn a_token_is_requested_with_the_credentials_where_the_provider_wants_them() {
    let head = "accept: application/json\n";
    let form = "content-type: application/x-www-form-urlencoded\n\ngrant_type=client_credentials";
    // The id and the secret, encoded as in a form, then joined: `my+id:hush%3A%2F%2B%25`.
    let basic = "authorization: Basic bXkraWQ6aHVzaCUzQSUyRiUyQiUyNQ==\n";
    let table = [
        (
            "token_url = \"/oauth/token\"",
            format!("https://api.example.com/base/oauth/token\n{head}{basic}{form}"),
        ),
        (
            "token_url = \"https://id.example.com/token\", scope = \"a b\", parameters = { audience = \"https://x\" }",
            format!(
                "https://id.example.com/token\n{head}{basic}{form}&scope=a+b&audience=https%3A%2F%2Fx"
            ),
        ),
        (
            "token_url = \"/t\", client_auth = \"body\"",
            format!(
                "https://api.example.com/base/t\n{head}{form}&client_id=my+id&client_secret=hush%3A%2F%2B%25"
            ),
        ),
    ];
    for (auth, expected) in table {
        assert_eq!(token_request(auth), expected, "{auth}");
    }
}

#[test]
fn a_wrong_grant_is_refused_with_key_and_remedy() {
    let good = format!("grant = \"client_credentials\", token_url = \"/token\", {CREDENTIALS}");
    assert!(parse(&file(&good)).is_ok());
    let table = [
        ("client_credentials", "password"),
        ("grant = \"client_credentials\", ", ""),
        ("\"/token\"", "\"http://id.example.com/token\""),
        ("\"/token\"", "\"http://127.0.0.1/token\""),
        ("\"/token\"", "\"https://id.example.com/token?a=b\""),
        ("\"/token\"", "\"/../token\""),
        ("\"/token\"", "\"/token/{{ payload.id }}\""),
        ("secrets.id", "payload.id"),
        ("secrets.id", "secrets.ide"),
        ("secrets.secret", "none"),
        ("grant =", "parameters = { scope = \"a\" }, grant ="),
        ("grant =", "client_auth = \"header\", grant ="),
    ];
    let mut text = String::new();
    for (from, to) in table {
        let errors = parse(&file(&good.replacen(from, to, 1))).map(|_| ()).unwrap_err();
        writeln!(text, "# {to}\n{}", lines(&errors)).unwrap();
    }
    insta::assert_snapshot!(text);
}

fn read_reply(reply: HttpReply) -> Result<AccessToken, TokenUnavailable> {
    let mask = Mask::new(&["hush-hush".into()], &[]);
    TokenRequest::read(&CallResult::Reply(reply)).map_err(|none| none.masked(&mask))
}

#[test]
fn a_granted_token_is_read_with_its_lifetime() {
    let hour = Some(Duration::from_hours(1));
    let table = [
        (json!({"access_token": "t1", "token_type": "Bearer", "expires_in": 3600}), hour),
        (json!({"access_token": "t1", "token_type": "bearer", "expires_in": "3600"}), hour),
        (json!({"access_token": "t1", "token_type": "BearerToken"}), None),
        (json!({"access_token": "t1", "expires_in": -5}), Some(Duration::ZERO)),
        (json!({"access_token": "t1", "expires_in": 1e300}), Some(Duration::from_hours(365 * 24))),
        (json!({"access_token": "t1", "expires_in": "soon"}), None),
    ];
    for (body, lifetime) in table {
        let token = read_reply(reply(200, &body)).unwrap();
        assert_eq!((token.secret().expose_secret(), token.lifetime), ("t1", lifetime), "{body}");
    }
}

#[test]
fn an_answer_without_a_token_says_whether_the_credentials_are_wrong() {
    let table = [
        (
            401,
            json!({"error": "invalid_client", "error_description": "no hush-hush"}),
            "token_refused",
        ),
        (400, json!({"error": "invalid_scope"}), "token_refused"),
        (403, json!({}), "token_refused"),
        (302, json!({}), "token_refused"),
        (200, json!({"error": "invalid_client"}), "token_refused"),
        (200, json!({"access_token": "t1", "token_type": "mac"}), "token_unreadable"),
        (200, json!({"access_token": "a b"}), "token_unreadable"),
        (200, json!({"access_token": ""}), "token_unreadable"),
        (200, json!("<html>"), "token_unreadable"),
        (429, json!({}), "token_unavailable"),
        (500, json!({"error": "server_error"}), "token_unavailable"),
        (503, json!({}), "token_unavailable"),
    ];
    for (status, body, code) in table {
        let TokenUnavailable { failure, .. } = read_reply(reply(status, &body)).unwrap_err();
        assert_eq!(failure.code.as_deref(), Some(code), "{status} {body}");
        assert!(!failure.message.contains("hush-hush"), "{failure:?}");
    }
    let mut busy = reply(503, &json!({}));
    busy.headers.push(("retry-after".to_owned(), "7".to_owned()));
    assert_eq!(read_reply(busy).unwrap_err().retry_after, Some(RetryAfter::Seconds(7)));
    for answer in [
        CallResult::NotSent(Failure::new("dns", "no such host")),
        CallResult::Incomplete(Failure::new("x", "late")),
    ] {
        let none = TokenRequest::read(&answer).unwrap_err();
        assert_eq!(none.failure.code.as_deref(), Some("token_unavailable"));
    }
}
