use super::*;
use crate::webhook::fixture::call;

const URL: &str = "https://hooks.example.com/x?id=A1&empty=&two=1&two=2";

fn signed(source: &str) -> Result<Vec<String>, MissingComponent> {
    contents(&SignedPayload::whole(source).unwrap())
}

fn contents(signed: &SignedPayload) -> Result<Vec<String>, MissingComponent> {
    let call =
        call(URL, &[("X-Id", " i1 "), ("X-Empty", ""), ("Content-Type", "text/plain")], b"body");
    let contents = signed.signed_contents(&call, Some("17"))?;
    Ok(contents.into_iter().map(|content| String::from_utf8(content).unwrap()).collect())
}

#[test]
fn pieces_of_a_call_stand_where_the_text_says() {
    let with_port = URL.replace(".com", ".com:443");
    let table = [
        ("", vec![""]),
        ("v0:{{ timestamp }}:{{body}}", vec!["v0:17:body"]),
        ("{{ url }}", vec![URL, &with_port]),
        ("{{ form }}.", vec!["."]),
        ("{{ headers['X-ID'] }}.{{ query[\"id\"] }}", vec!["i1.A1"]),
        ("{{ query['id'] | lower }}", vec!["a1"]),
        ("<{{ query['id'] | any_case }}>", vec!["<A1>", "<a1>"]),
        ("{{ headers['x-id']|any_case }}", vec!["i1"]),
    ];
    for (source, expected) in table {
        assert_eq!(signed(source).unwrap(), expected, "{source}");
    }
}

#[test]
fn missing_empty_and_doubtful_parts_are_reported() {
    let table = [
        ("{{ headers['x-other'] }}", "the header `x-other` is not there"),
        ("{{ headers['x-empty'] }}", "the header `x-empty` is not there"),
        ("{{ query['empty'] }}", "the parameter `empty` of the query is not there"),
        ("{{ query['two'] }}", "the parameter `two` of the query is there more than once"),
    ];
    for (source, expected) in table {
        assert_eq!(signed(source).unwrap_err().to_string(), expected, "{source}");
    }
}

#[test]
fn a_part_whose_value_is_missing_is_left_out_unless_it_is_doubtful() {
    let parts = |sources: &[&str]| {
        let mut signed = SignedPayload::nothing();
        for source in sources {
            signed.push_optional(source).unwrap();
        }
        contents(&signed)
    };
    assert_eq!(
        parts(&["id:{{ query['id'] }};", "x:{{ query['x'] }};", "t:{{ timestamp }};"]).unwrap(),
        ["id:A1;t:17;"]
    );
    assert!(parts(&["id:{{ query['two'] }};", "t:{{ timestamp }};"]).is_err());
}

#[test]
fn a_url_with_a_port_of_its_own_is_signed_as_it_is() {
    let signed = SignedPayload::whole("{{ url }}").unwrap();
    for (url, count) in
        [("https://a.example:8443/x", 1), ("https://a.example:443/x", 2), ("http://a.example/x", 2)]
    {
        assert_eq!(
            signed.signed_contents(&call(url, &[], b""), None).unwrap().len(),
            count,
            "{url}"
        );
    }
    let written = signed.signed_contents(&call("https://[::1]/x?y", &[], b""), None).unwrap();
    assert_eq!(written.last().map(Vec::as_slice), Some(&b"https://[::1]:443/x?y"[..]));
}

#[test]
fn what_a_call_does_not_have_is_refused() {
    for source in [
        "{{ bdoy }}",
        "{{ headers }}",
        "{{ headers.x }}",
        "{{ headers[x] }}",
        "{{ headers[''] }}",
        "{{ headers['a'b'] }}",
        "{{ cookies['a'] }}",
        "{{ body | lower }}",
        "{{ query['a'] | upper }}",
        "{{ query['a'] | lower | lower }}",
        "{{ body }",
        "{{ }}",
    ] {
        assert!(SignedPayload::whole(source).is_err(), "{source}");
    }
}
