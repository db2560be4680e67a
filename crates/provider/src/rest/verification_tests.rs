//! Tests which requests may verify credentials, and the reading of their answers.

use serde_json::{Value, json};

use super::*;
use crate::Provider;
use crate::fixture::{lines, opened, parse, reply};
use ferryd_redact::UnmaskedValue;

const FILE: &str = r#"
name = "shop"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com/v1"
auth = { scheme = "bearer", token = "{{ secrets.token }}" }
headers = { X-Trace = "ferryd-{{ command.id }}", X-Shop = "{{ account.shop }}" }
secrets = { token = "tok_secret_1" }
account = { shop = "eu" }
response = { error = { code = "{{ body.code }}", message = "{{ body.text }}" } }
[operations.pay]
request = { method = "POST", path = "/payments/{{ payload.id }}" }
[operations.quote]
request = { method = "POST", path = "/quotes" }
repeatable = true
"#;

fn provider(verification: &str) -> Provider {
    parse(&format!("{FILE}\n[verification]\n{verification}"))
        .unwrap_or_else(|errors| panic!("{}", lines(&errors)))
}

fn request(provider: &Provider) -> HttpRequest {
    let account = provider.default_account().unwrap();
    let request = account.adapter.verification_request().unwrap();
    request
        .map_err(|failure: UnmaskedValue<Failure>| failure.masked(&provider.mask_of(account)))
        .unwrap()
}

fn read(provider: &Provider, status: u16, body: &Value) -> CredentialCheck {
    opened(provider, |adapter| {
        adapter.interpret_credential_check(&CallResult::Reply(reply(status, body)))
    })
}

#[test]
fn the_request_is_authorised_as_every_other_and_needs_no_command() {
    let shop = provider(
        "request = { method = \"GET\", path = \"/me/{{ account.shop }}\", query = { limit = 1 } }",
    );
    let check = request(&shop);
    assert_eq!(
        (check.method, check.url.as_str()),
        (HttpMethod::Get, "https://api.example.com/v1/me/eu?limit=1")
    );
    let header = |name: &str| {
        check.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("authorization"), Some("Bearer tok_secret_1"));
    assert_eq!(
        (header("x-trace"), header("x-shop")),
        (Some("ferryd-credentials-check"), Some("eu"))
    );
    assert_eq!(check.timeout, Duration::from_secs(30));
    assert_eq!(shop.verification.as_deref(), Some("GET /me/{{ account.shop }}"));
    let slow = parse(&format!(
        "timeout = \"9m\"\nconnect_timeout = \"3s\"\n{FILE}\n[verification]\nrequest = {{ method = \"GET\", path = \"/me\" }}"
    ));
    assert_eq!(
        request(&slow.unwrap()).timeout,
        Duration::from_secs(23),
        "bounded, whatever calls may take"
    );
    assert!(
        parse(FILE).unwrap().default_account().unwrap().adapter.verification_request().is_none()
    );
}

#[test]
fn what_could_do_something_is_refused_when_the_file_is_read() {
    let table = [
        ("request = { method = \"GET\", path = \"/me\" }", None),
        (
            "request = { method = \"POST\", path = \"/methods\" }\nrepeatable = true\nbody = { shop = \"{{ account.shop }}\" }",
            None,
        ),
        ("request = { method = \"POST\", path = \"/quotes\" }\nrepeatable = true", None),
        (
            "request = { method = \"POST\", path = \"/methods\" }",
            Some("verification.request.method: `POST` may do something"),
        ),
        (
            "request = { method = \"PUT\", path = \"/me\" }\nrepeatable = true",
            Some("`PUT` changes something"),
        ),
        (
            "request = { method = \"DELETE\", path = \"/me\" }\nrepeatable = true",
            Some("`DELETE` changes something"),
        ),
        (
            "request = { method = \"POST\", path = \"/payments/{{ secrets.token }}\" }\nrepeatable = true",
            Some("verification.request.path: is that of `operations.pay`, which acts"),
        ),
        (
            "request = { method = \"GET\", path = \"/me/{{ payload.id }}\" }",
            Some("`payload` is not a variable here"),
        ),
        (
            "request = { method = \"GET\", path = \"/me/{{ command.id }}\" }",
            Some("`command` is not a variable here"),
        ),
        (
            "request = { method = \"GET\", path = \"/me\" }\nsuccess = \"payload.id\"",
            Some("`payload` is not a variable"),
        ),
        (
            "request = { method = \"GET\", path = \"/me\" }\nbody = { a = 1 }",
            Some("a GET has no body"),
        ),
        (
            "request = { method = \"GET\", path = \"/me\", headers = { Authorization = \"x\" } }",
            Some("`authorization` is set by `auth`"),
        ),
        ("repeatable = true", Some("verification.request: is missing; write one that only reads")),
        ("colour = \"red\"", Some("verification.colour: unknown key")),
    ];
    for (verification, fault) in table {
        let found = parse(&format!("{FILE}\n[verification]\n{verification}"))
            .err()
            .map(|errors| lines(&errors));
        assert_eq!(found.is_some(), fault.is_some(), "{verification}: {found:?}");
        assert!(
            found.iter().zip(fault).all(|(found, fault)| found.contains(fault)),
            "{verification}: {found:?}"
        );
    }
}

#[test]
fn where_a_verification_needs_only_an_access_token_nothing_else_is_sent() {
    let auth = "auth = { scheme = \"oauth2\", grant = \"client_credentials\", token_url = \"/token\", client_id = \"a\", \
                client_secret = \"{{ secrets.token }}\" }";
    let file =
        FILE.replace("auth = { scheme = \"bearer\", token = \"{{ secrets.token }}\" }", auth);
    let provider = parse(&format!("{file}\n[verification]\n"))
        .unwrap_or_else(|errors| panic!("{}", lines(&errors)));
    assert!(provider.default_account().unwrap().adapter.verification_request().is_none());
    assert_eq!(provider.verification.as_deref(), Some("the request for an access token"));
    let errors =
        lines(&parse(&format!("{file}\n[verification]\nsuccess = \"body.ok\"")).err().unwrap());
    assert!(errors.contains("verification.success: has no effect without a `request`"), "{errors}");
}

#[test]
fn an_answer_says_that_credentials_are_taken_or_refused_or_nothing_about_them() {
    let plain = provider("request = { method = \"GET\", path = \"/me\" }");
    assert_eq!(read(&plain, 200, &json!({})), CredentialCheck::Accepted);
    for status in [401, 403] {
        let body = json!({"code": "invalid_key", "text": "No such key: tok_secret_1"});
        let CredentialCheck::Refused(failure) = read(&plain, status, &body) else {
            panic!("{status}")
        };
        assert_eq!(
            (failure.http_status, failure.code.as_deref()),
            (Some(status), Some("invalid_key"))
        );
        assert_eq!(failure.message, "No such key: ***");
    }
    for status in [302, 404, 422, 429, 500, 503] {
        assert!(
            matches!(read(&plain, status, &json!({})), CredentialCheck::Unclear(_)),
            "{status}"
        );
    }
    let own = provider(
        "request = { method = \"GET\", path = \"/me\" }\nsuccess = \"body.ok\"\ndeclined = \"body.error == 'bad_key'\"",
    );
    assert_eq!(read(&own, 200, &json!({"ok": true})), CredentialCheck::Accepted);
    assert!(matches!(read(&own, 200, &json!({"error": "bad_key"})), CredentialCheck::Refused(_)));
    assert!(
        matches!(read(&own, 401, &json!({})), CredentialCheck::Unclear(_)),
        "the file says what refuses"
    );
    let CredentialCheck::Unclear(failure) = read(&own, 200, &json!({"ok": false, "code": "busy"}))
    else {
        panic!()
    };
    assert_eq!(failure.message, "the answer (busy) does not meet `verification.success`: body.ok");
}

#[test]
fn without_a_complete_answer_the_provider_was_not_reached() {
    let provider = provider("request = { method = \"GET\", path = \"/me\" }");
    let failure = || Failure::new("connect", "refused");
    let read = |answer: CallResult| {
        opened(&provider, |adapter| adapter.interpret_credential_check(&answer))
    };
    assert_eq!(read(CallResult::NotSent(failure())), CredentialCheck::Unreachable(failure()));
    assert_eq!(read(CallResult::Incomplete(failure())), CredentialCheck::Unreachable(failure()));
    let cut = Failure { http_status: Some(200), ..failure() };
    assert_eq!(read(CallResult::Incomplete(cut.clone())), CredentialCheck::Unclear(cut));
}
