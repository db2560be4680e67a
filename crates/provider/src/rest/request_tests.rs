use serde_json::json;

use super::*;
use crate::fixture::{acting, request, request_under};

fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_request_is_rendered_whole() {
    let provider = acting(
        r#"headers = { X-Tenant = "{{ metadata.tenant }}", X-Gone = "{{ payload.gone }}", X-Kind = "provider" }
        [operations.act]
        request = { method = "POST", path = "/v1/{{ payload.id }}", query = { a = "{{ payload.n }}", b = ["x", "y"], c = "{{ payload.gone }}" }, headers = { x-kind = "operation" } }
        idempotency = { header = "Idempotency-Key", retention = "24h" }
        timeout = "45s"
        body = { n = "{{ payload.n }}", who = "{{ command.id }}/{{ command.generation }}/{{ command.attempt }} of {{ command.provider }} {{ account.name }} {{ key }}", ref = "{{ command.reference }}" }"#,
    );
    let request = request_under(
        &provider,
        "act",
        &json!({"id": "a/b", "n": 9_007_199_254_740_993_i64}),
        Some("k1"),
    )
    .unwrap();
    let url = "https://api.example.com/base/v1/a%2Fb?a=9007199254740993&b%5B0%5D=x&b%5B1%5D=y";
    assert_eq!((request.method, request.url.as_str()), (HttpMethod::Post, url));
    assert_eq!(request.timeout, Duration::from_secs(45));
    let body = r#"{"n":9007199254740993,"who":"c1/0/1 of test default k1","ref":"order-7"}"#;
    assert_eq!(request.body, body);
    let expected = [
        ("authorization", "Bearer tok_secret_1"),
        ("content-type", "application/json"),
        ("idempotency-key", "k1"),
        ("x-kind", "operation"),
        ("x-tenant", "eu-1"),
    ];
    assert_eq!(request.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(!format!("{request:?}").contains("tok_secret_1"));
}

#[test]
fn a_header_that_depends_on_the_account_or_the_command_is_part_of_the_input() {
    let digest = |headers: &str, payload: &str| {
        let provider = acting(&format!(
            "headers = {{ {headers} }}\n[operations.act]\nrequest = {{ method = \"POST\", path = \"/act\" }}"
        ));
        request(&provider, "act", &json!({ "to": payload })).unwrap().digest()
    };
    let none = digest("", "a");
    for (headers, is_part) in [
        (r#"X-To = "{{ payload.to }}""#, true),
        (r#"X-To = "to {{ payload.to }}""#, true),
        (r#"X-Account = "{{ account.name }}""#, true),
        (r#"X-Version = "2026-11-01""#, false),
        (r#"X-Attempt = "{{ command.attempt }}""#, false),
        (r#"X-Signed = "{{ payload.to }}{{ secrets.token }}""#, false),
        (r#"X-Gone = "{{ payload.gone }}""#, false),
    ] {
        assert_eq!(digest(headers, "a") != none, is_part, "{headers}");
    }
    let to = r#"X-To = "{{ payload.to }}""#;
    assert_ne!(digest(to, "a"), digest(to, "b"));
}

#[test]
fn a_get_has_neither_body_nor_content_type() {
    let provider = acting("[operations.act]\nrequest = { method = \"GET\", path = \"/x\" }");
    let request = request(&provider, "act", &json!({})).unwrap();
    assert!(request.body.is_empty());
    assert_eq!(header(&request, "content-type"), None);
    assert_eq!(request.url.as_str(), "https://api.example.com/base/x");
    assert_eq!(request.timeout, Duration::from_secs(30));
}

#[test]
fn a_key_may_be_a_field_of_the_body() {
    let provider = acting(
        r#"[operations.act]
        request = { method = "POST", path = "/x", encoding = "form" }
        idempotency = { field = "idempotency_key", retention = "24h", max_length = 45 }
        body = { a = 1 }"#,
    );
    assert_eq!(
        request_under(&provider, "act", &json!({}), Some("k 1")).unwrap().body,
        "a=1&idempotency_key=k+1"
    );
    let idempotency = provider.operations[&"act".parse().unwrap()].idempotency.unwrap();
    assert_eq!(
        (idempotency.retention, idempotency.max_length),
        (Duration::from_hours(24), Some(45))
    );
}

#[test]
fn a_whole_payload_can_be_the_body() {
    let provider = acting(
        "[operations.act]\nrequest = { method = \"PUT\", path = \"/x\" }\nbody = \"{{ payload }}\"",
    );
    assert_eq!(
        request(&provider, "act", &json!({"b": [1.0, null], "a": {}})).unwrap().body,
        r#"{"b":[1.0,null],"a":{}}"#
    );
}

#[test]
fn a_raw_body_is_a_text_as_it_is() {
    let acting = |more: &str| {
        acting(&format!(
            "[operations.act]\nrequest = {{ method = \"POST\", path = \"/x\", encoding = \"raw\"{more} }}\n\
             body = \"ORD+{{{{ payload.order }}}}'\""
        ))
    };
    let payload = json!({"order": "a \"b\" ü"});
    let sent = request(&acting(""), "act", &payload).unwrap();
    assert_eq!(&sent.body[..], "ORD+a \"b\" ü'".as_bytes());
    assert_eq!(header(&sent, "content-type"), Some("text/plain; charset=utf-8"));
    let typed = acting(", headers = { Content-Type = \"application/edifact\" }");
    let sent = request(&typed, "act", &payload).unwrap();
    assert_eq!(header(&sent, "content-type"), Some("application/edifact"));
}

#[test]
fn auth_is_a_header_of_its_scheme() {
    let table = [
        (
            r#"{ scheme = "basic", username = "{{ secrets.token }}", password = "" }"#,
            "authorization",
            "Basic dG9rX3NlY3JldF8xOg==",
        ),
        (
            r#"{ scheme = "basic", username = "u", password = "{{ secrets.short }}" }"#,
            "authorization",
            "Basic dTphYmM=",
        ),
        (
            r#"{ scheme = "header", name = "X-Api-Key", value = "k {{ secrets.token }}" }"#,
            "x-api-key",
            "k tok_secret_1",
        ),
    ];
    for (auth, name, value) in table {
        let text = format!(
            "name = \"t\"\ntype = \"t\"\nprotocol = \"rest\"\nbase_url = \"https://h\"\nauth = {auth}\n\
             [secrets]\ntoken = \"tok_secret_1\"\nshort = \"abc\"\n[operations.act]\nrequest = {{ method = \"GET\", path = \"/\" }}"
        );
        let provider =
            crate::fixture::parse(&text).map_err(|errors| errors[0].to_string()).unwrap();
        let request = request(&provider, "act", &json!({})).unwrap();
        assert_eq!(header(&request, name), Some(value), "{auth}");
    }
}

#[test]
fn a_command_from_which_no_request_can_be_made_is_refused_with_the_place_and_without_secrets() {
    let table = [
        (r#"path = "/{{ payload.gone }}""#, "", "request.path: `payload.gone` has no value"),
        (r#"path = "/{{ payload.dots }}""#, "", "request.path: a segment is empty"),
        (
            r#"path = "/", headers = { X-A = "{{ payload.line }}" }"#,
            "",
            "header x-a: the value has characters",
        ),
        (
            r#"path = "/", query = { a = "x{{ payload.gone }}" }"#,
            "",
            "query.a: `payload.gone` has no value",
        ),
        (
            r#"path = "/""#,
            r#"body = { a = { b = "{{ payload.gone | lower }}" } }"#,
            "body.a.b: `payload.gone | lower` cannot",
        ),
        (
            r#"path = "/""#,
            r#"body = { a = "{{ secrets.token | int }}" }"#,
            "body.a: `secrets.token | int` cannot",
        ),
        (r#"path = "/", encoding = "form""#, r#"body = "{{ payload.line }}""#, "body: is no map"),
        (r#"path = "/", encoding = "raw""#, r#"body = "{{ payload }}""#, "body: is no text"),
    ];
    for (request_keys, body, expected) in table {
        let provider = acting(&format!(
            "[operations.act]\nrequest = {{ method = \"POST\", {request_keys} }}\n{body}"
        ));
        let failure =
            request(&provider, "act", &json!({"line": "a\r\nX: y", "dots": ".."})).unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("invalid_request"));
        assert!(failure.message.starts_with(expected), "{}", failure.message);
        assert!(!failure.message.contains("tok_secret_1"), "{}", failure.message);
    }
}

#[test]
fn what_cannot_authorise_is_not_sent() {
    let auths = [
        r#"{ scheme = "bearer", token = "{{ payload.gone }}" }"#,
        r#"{ scheme = "bearer", token = "{{ payload.empty }}" }"#,
        r#"{ scheme = "basic", username = "{{ payload.empty }}", password = "{{ payload.x }}" }"#,
        r#"{ scheme = "basic", username = "x", password = "{{ payload.empty }}" }"#,
        r#"{ scheme = "header", name = "X-Key", value = "{{ payload.empty }}" }"#,
        r#"{ scheme = "basic", username = "a:b", password = "{{ payload.x }}" }"#,
        r#"{ scheme = "bearer", token = "{{ payload.lines }}" }"#,
    ];
    for auth in auths {
        let text = format!(
            "name = \"t\"\ntype = \"t\"\nprotocol = \"rest\"\nbase_url = \"https://h\"\nauth = {auth}\n\
             [operations.act]\nrequest = {{ method = \"GET\", path = \"/\" }}"
        );
        let provider =
            crate::fixture::parse(&text).map_err(|errors| errors[0].to_string()).unwrap();
        let failure =
            request(&provider, "act", &json!({"empty": "", "x": "x", "lines": "two\nlines"}))
                .unwrap_err();
        assert!(failure.message.starts_with("auth: "), "{auth}: {}", failure.message);
    }
}

#[test]
fn a_credential_that_stands_in_the_file_itself_is_refused_and_not_shown() {
    for (auth, key) in [
        (r#"{ scheme = "bearer", token = "sk_live_1" }"#, "token"),
        (r#"{ scheme = "basic", username = "x", password = "sk_live_1" }"#, "password"),
        (r#"{ scheme = "header", name = "X-Key", value = "sk_live_1" }"#, "value"),
        (
            r#"{ scheme = "oauth2", grant = "client_credentials", token_url = "/t", client_id = "x", client_secret = "sk_live_1" }"#,
            "client_secret",
        ),
    ] {
        let text = format!(
            "name = \"t\"\ntype = \"t\"\nprotocol = \"rest\"\nbase_url = \"https://h\"\nauth = {auth}\n\
             [operations.act]\nrequest = {{ method = \"GET\", path = \"/\" }}"
        );
        let errors = crate::fixture::parse(&text).map(drop).unwrap_err();
        let [error] = &errors[..] else { panic!("{key}: {errors:?}") };
        let message = error.to_string();
        assert!(
            message.contains(&format!("auth.{key}: is the secret itself"))
                && !message.contains("sk_live"),
            "{message}"
        );
    }
}
