use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn compile(source: &str) -> Result<PathTemplate, PathError> {
    PathTemplate::compile(source, &KnownVariables::in_request(&BTreeSet::new()))
}

fn render(source: &str, value: &serde_json::Value) -> Result<String, PathValueError> {
    let payload = json!({ "x": value });
    compile(source).unwrap().render(&ExpressionScope::new([("payload", (&payload).into())]))
}

#[test]
fn only_https_is_an_address() {
    let table = [
        ("https://api.example.com", false, true),
        ("https://api.example.com:8443/base/", false, true),
        ("HTTPS://API.example.com", false, true),
        ("http://api.example.com", false, false),
        ("http://api.example.com", true, false),
        ("http://127.0.0.1:80", false, false),
        ("http://127.0.0.1:80", true, true),
        ("http://127.9.9.9", true, true),
        ("http://[::1]:80/x", true, true),
        ("http://localhost:1", true, true),
        ("http://localhost.example.com", true, false),
        ("http://127.0.0.1.example.com", true, false),
        ("http://10.0.0.1", true, false),
        ("http://user@127.0.0.1", true, false),
        ("ftp://example.com", true, false),
        ("file:///etc/passwd", true, false),
        ("api.example.com", true, false),
        ("https://", true, false),
        ("https://user@example.com", false, false),
        ("https://user:pass@example.com", false, false),
        ("https://example.com?x=1", false, false),
        ("https://example.com/#x", false, false),
        ("https://{{ payload.host }}", false, false),
        ("https://example.com/{{ secrets.path }}", false, false),
    ];
    for (text, loopback, expected) in table {
        let parsed = BaseUrl::parse(text, loopback);
        assert_eq!(parsed.is_ok(), expected, "{text} {loopback}: {parsed:?}");
    }
}

#[test]
fn a_value_stays_within_its_segment() {
    let table = [
        (json!("pi_1"), "/v1/pi_1/x"),
        (json!("a/b"), "/v1/a%2Fb/x"),
        (json!("a\\b"), "/v1/a%5Cb/x"),
        (json!("../admin"), "/v1/..%2Fadmin/x"),
        (json!("a?b#c"), "/v1/a%3Fb%23c/x"),
        (json!("%2e%2e"), "/v1/%252e%252e/x"),
        (json!("%2F"), "/v1/%252F/x"),
        (json!("a b\r\n\0"), "/v1/a%20b%0D%0A%00/x"),
        (json!("ü"), "/v1/%C3%BC/x"),
        (json!("..."), "/v1/.../x"),
        (json!(7), "/v1/7/x"),
        (json!(true), "/v1/true/x"),
    ];
    for (value, expected) in table {
        assert_eq!(render("/v1/{{ payload.x }}/x", &value).as_deref(), Ok(expected), "{value}");
    }
}

#[test]
fn a_segment_that_would_lead_elsewhere_is_refused() {
    for value in [json!(""), json!("."), json!(".."), json!(null), json!([1]), json!({"a": 1})] {
        assert!(render("/v1/{{ payload.x }}", &value).is_err(), "{value}");
    }
    assert!(render("/v1/.{{ payload.x }}", &json!(".")).is_err());
    assert_eq!(render("/v1/a{{ payload.x }}", &json!("..")).as_deref(), Ok("/v1/a.."));
    assert!(render("/v1/{{ payload.missing }}.json", &json!("")).is_err());
}

#[test]
fn a_path_in_a_file_is_a_plain_one() {
    for good in ["/", "/v1", "/v1/", "/v1/a:send", "/a b", "/ü", "/{{ payload.x }}{{ key }}.json"]
    {
        assert!(compile(good).is_ok(), "{good}: {:?}", compile(good));
    }
    for bad in [
        "",
        "v1",
        "{{ payload.x }}",
        "//x",
        "/a//b",
        "/./b",
        "/a/..",
        "/a?b",
        "/a#b",
        "/a\\b",
        "/%2e%2e",
        "/{{ x }}",
    ] {
        assert!(compile(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_value_changes_host_or_number_of_segments(value in "\\PC{1,20}|[./%\\\\?#:@]{1,8}") {
        let base = BaseUrl::parse("https://api.example.com/base", false).unwrap();
        if let Ok(path) = render("/v1/{{ payload.x }}/end", &json!(value)) {
            let url = base.join(&path).unwrap();
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 4);
            let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, value);
            prop_assert!(url.query().is_none() && url.fragment().is_none());
        }
    }
}
