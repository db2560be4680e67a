use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "sk_live_4eC39/Hq+\"x\\é";

fn mask_of(secret: &str) -> Mask {
    Mask::new(&[SecretString::from(secret)], &["cvc".to_owned(), "Password".to_owned()])
}

fn mask() -> Mask {
    mask_of(SECRET)
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_secret_is_masked_however_it_is_written() {
    let json = json!(SECRET).to_string();
    let inner = &json[1..json.len() - 1];
    let twice = json!(inner).to_string();
    let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
    let escaped =
        SECRET.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
    for written in [
        SECRET.to_owned(),
        inner.to_owned(),
        inner.replace('/', "\\/"),
        twice[1..twice.len() - 1].to_owned(),
        escaped,
        percent
            .to_lowercase()
            .replace("_ec39", "_eC39")
            .replace("%2fhq", "%2FHq")
            .replace("ec39", "eC39"),
        percent.replace('%', "%25"),
        percent,
        SECRET.replace('"', "&quot;"),
    ] {
        assert_eq!(mask().text(&format!("before {written} after")), "before *** after");
    }
}

#[test]
fn a_secret_inside_base64_takes_all_of_it_along_at_every_alignment() {
    for user in ["", "a", "ab", "abc", "shop:"] {
        for alphabet in [
            STANDARD.encode(format!("{user}{SECRET}:x")),
            URL_SAFE_NO_PAD.encode(format!("{user}{SECRET}")),
        ] {
            assert_eq!(
                mask().text(&format!("Basic {alphabet}, next")),
                "Basic ***, next",
                "{user}"
            );
        }
    }
}

#[test]
fn a_secret_that_is_escaped_in_something_that_is_encoded_as_a_whole_is_masked() {
    let json = json!({ "key": SECRET }).to_string();
    let form = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
    let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string().replace("%5F", "_");
    for inner in [&json, &json.replace('/', "\\/"), &form, &percent] {
        for before in ["", "a", "ab", "shop:"] {
            let base64 = STANDARD.encode(format!("{before}{inner}"));
            assert_eq!(
                mask().text(&format!("Basic {base64}, next")),
                "Basic ***, next",
                "{before}{inner}"
            );
        }
        for digits in [hex::encode(inner), hex::encode_upper(inner)] {
            let shown = mask().text(&digits);
            assert!(
                shown.contains("***") && shown.len() <= digits.len() - 2 * SECRET.len(),
                "{shown}"
            );
        }
    }
}

#[test]
fn a_short_secret_is_masked_as_a_whole_value_only() {
    let body = mask_of("abc")
        .body(Some("application/json"), br#"{"pin":"abc","word":"abcd","on":true}"#)
        .to_string();
    assert_eq!(body, r#"{"pin":"***","word":"abcd","on":true}"#);
}

#[test]
fn headers_with_credentials_or_secrets_are_masked_whole() {
    for (name, value, expected) in [
        ("authorization", "Bearer abc", "***"),
        ("Proxy-Authorization", "x", "***"),
        ("cookie", "a=b", "***"),
        ("set-cookie", "a=b", "***"),
        ("x-api-key", "key sk_live_4eC39/Hq+\"x\\é", "***"),
        ("password", "x", "***"),
        ("content-type", "application/json", "application/json"),
        ("idempotency-key", "order-4242424242424242", "order-4242424242424242"),
        ("x-note", "card 4242424242424242", "card ***"),
    ] {
        let shown: Value = serde_json::to_value(mask().headers(&pairs(&[(name, value)]))).unwrap();
        assert_eq!(shown[name], expected, "{name}");
    }
    assert_eq!(
        mask().headers(&pairs(&[("a", "1"), ("b", "2"), ("a", "3")])).json().into_string(),
        r#"{"a":"1, 3","b":"2"}"#
    );
}

#[test]
fn named_fields_are_masked_at_any_depth_of_json_forms_and_queries() {
    let form = "application/x-www-form-urlencoded";
    for (kind, body, expected) in [
        (
            "application/json",
            r#"{"CVC":123,"a":[{"password":{"x":1}}]}"#,
            r#"{"CVC":"***","a":[{"password":"***"}]}"#,
        ),
        ("application/vnd.api+json", r#" [{"cvc": null}]"#, r#"[{"cvc":"***"}]"#),
        ("", r#"{"note":"{\"cvc\":\"1\",\"b\":2}"}"#, r#"{"note":"{\"cvc\":\"***\",\"b\":2}"}"#),
        (form, "card[cvc]=123&card%5Bcvc%5D=9&b=x+y", "card[cvc]=***&card[cvc]=***&b=x y"),
        (form, "items[0][cvc]=1&card.cvc=2&cvcx=3", "items[0][cvc]=***&card.cvc=***&cvcx=3"),
        (form, "meta=%7B%22cvc%22%3A1%7D", r#"meta={"cvc":"***"}"#),
        ("application/json; charset=utf-8", r#"{"cvc":"12"#, "[10 bytes that are no valid JSON]"),
        ("application/json", "<h1>Bad gateway</h1>", "<h1>Bad gateway</h1>"),
    ] {
        assert_eq!(mask().body(Some(kind), body.as_bytes()).to_string(), expected, "{body}");
    }
    let url =
        Url::parse("https://user:pw@api.example:8443/v1/a%20b?cvc=1&b=2&q[password]=3#f").unwrap();
    assert_eq!(mask().url(&url), "https://api.example:8443/v1/a%20b?cvc=***&b=2&q[password]=***");
}

#[test]
fn sensitive_values_are_masked_whole_at_any_length_and_within_text_from_six_bytes() {
    let mask = mask().with_values(&["7".to_owned(), "Jane Roe".to_owned(), "3.5".to_owned()]);
    let body = r#"{"n":7,"f":3.50,"s":"7","t":"17","name":"to Jane Roe","big":3.51}"#;
    let expected = r#"{"n":"***","f":"***","s":"***","t":"17","name":"to ***","big":3.51}"#;
    assert_eq!(mask.body(None, body.as_bytes()).to_string(), expected);
    let url = Url::parse("https://a.example/people/7/Jane%20Roe?id=7&who=Jane+Roe").unwrap();
    assert_eq!(mask.url(&url), "https://a.example/people/***/***?id=***&who=***");
}

#[test]
fn a_number_too_long_for_its_type_does_not_leak_its_first_digits() {
    let masked = mask_of("1234567890123456789012345")
        .body(None, br#"{"a":1234567890123456789012345}"#)
        .to_string();
    assert_eq!(masked, r#"{"a":"***"}"#);
}

#[test]
fn card_like_numbers_are_masked_anywhere() {
    for (text, expected) in [
        ("4242424242424242", "***"),
        ("pay 4242 4242 4242 4242 now", "pay *** now"),
        ("4242-4242-4242-4242", "***"),
        ("12 4242 4242 4242 4242 7", "***"),
        ("a=4242+4242+4242+4242&b", "a=***&b"),
        ("card%204242424242424242", "card***"),
        ("100%4242424242424242", "100%***"),
        ("378282246310005 and 6011111111111117", "*** and ***"),
        ("4242424242424241", "4242424242424241"),
        ("42424242424242424242424242424242", "42424242424242424242424242424242"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("+49 170 1234567", "+49 170 1234567"),
    ] {
        let masked = mask().text(text);
        // A neighbouring group may be masked with the number; the number itself may not stay.
        assert!(
            masked == expected || !masked.contains("4242") && masked.contains("***"),
            "{text}: {masked}"
        );
    }
    assert_eq!(mask().body(None, br#"{"n":4242424242424242}"#).to_string(), r#"{"n":"***"}"#);
}

#[test]
fn long_secrets_and_hostile_answers_cost_neither_stack_nor_minutes() {
    let start = std::time::Instant::now();
    let secret = (0..5_000).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(mask_of(&secret).text(&json!(secret).to_string()), "\"***\"");
    let mask = mask_of("\\a\\b\\");
    for hostile in ["\\", "%25", "%5c", "1 ", "\\u005c"] {
        let _ = mask.text(&hostile.repeat(10_000));
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn what_is_not_text_is_measured() {
    for (kind, body) in [
        ("image/png", &b"\x89PNG\r\n"[..]),
        ("", b"a\0b"),
        ("multipart/form-data; boundary=x", b"--x.."),
    ] {
        assert_eq!(mask().body(Some(kind), body).to_string(), format!("[{} bytes]", body.len()));
    }
    assert_eq!(mask().body(None, b"").to_string(), "");
}

#[test]
fn a_body_is_cut_after_masking_and_between_characters() {
    let mask = mask().capped_at(11);
    assert_eq!(mask.body(None, format!("12345678{SECRET}").as_bytes()).to_string(), "12345678***");
    assert_eq!(mask.body(None, "éééééééé".as_bytes()).to_string(), "ééééé… [6 more bytes]");
}

/// Every way to put a secret into a call, and the text that the log would show of each.
fn shown(mask: &Mask, secret: &str, around: (&str, &str)) -> Vec<String> {
    let (before, after) = around;
    let text = format!("{before}{secret}{after}");
    let encoded = STANDARD.encode(&text);
    let percent = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
    let form = form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let kind = Some("application/x-www-form-urlencoded");
    let of_json = STANDARD.encode(json!({ "a": text }).to_string());
    let of_form = STANDARD.encode(format!("a={form}"));
    let nested = json!({ "inner": json!({ "deep": [text] }).to_string() }).to_string();
    let mut url = Url::parse("https://api.example/").unwrap();
    url.path_segments_mut().unwrap().push(&text);
    url.query_pairs_mut().append_pair("q", &text);
    vec![
        mask.text(&text),
        mask.text(&encoded),
        mask.text(&of_json),
        mask.text(&of_form),
        mask.text(&percent),
        mask.url(&url),
        mask.headers(&pairs(&[("x-any", &text), ("idempotency-key", &text)])).json().into_string(),
        mask.body(None, text.as_bytes()).to_string(),
        mask.body(None, json!({ "a": [text, encoded] }).to_string().as_bytes()).to_string(),
        mask.body(None, json!({ &text: 1 }).to_string().as_bytes()).to_string(),
        mask.body(None, nested.as_bytes()).to_string(),
        mask.body(kind, format!("a={form}").as_bytes()).to_string(),
        mask.body(kind, format!("{form}=1").as_bytes()).to_string(),
        mask.body(Some("application/json"), format!("{{\"a\":\"{text}").as_bytes()).to_string(),
    ]
}

/// All the texts that a reader could decode from a shown text.
fn readings(shown: &str) -> Vec<String> {
    let decoded = percent_decode_str(shown).decode_utf8_lossy().into_owned();
    let runs = shown.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
    let decode = |run: &str| {
        STANDARD.decode(run).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut readings: Vec<String> = runs.filter_map(decode).collect();
    let percent = |text: &String| percent_decode_str(text).decode_utf8_lossy().replace('+', " ");
    let inner: Vec<_> =
        readings.iter().flat_map(|text| [text.replace('\\', ""), percent(text)]).collect();
    readings.extend(inner);
    readings.extend([shown.to_owned(), decoded, shown.replace('\\', ""), shown.replace('+', " ")]);
    readings
}

proptest! {
    #[test]
    fn no_secret_survives_in_any_position(
        secret in r#"[A-Z][A-Z0-9"\\/+ é&<=%-]{2,24}[A-Z]"#, before in r#"[a-z0-9 "\\&=%]{0,6}"#, after in "[a-z0-9 é]{0,6}",
    ) {
        for shown in shown(&mask_of(&secret), &secret, (&before, &after)) {
            for reading in readings(&shown) {
                prop_assert!(!reading.contains(&secret), "{} in {}", secret, shown);
            }
        }
    }

    #[test]
    fn any_text_can_be_masked(text in any::<String>(), bytes in any::<Vec<u8>>(), cap in 0_usize..64) {
        let mask = mask().with_values(std::slice::from_ref(&text)).capped_at(cap);
        let _ = mask.text(&text);
        let _ = mask.body(None, &bytes);
        let _ = mask.body(Some("application/json"), text.as_bytes());
        let _ = mask.body(Some("application/x-www-form-urlencoded"), &bytes);
        let _ = mask.headers(&[(text.clone(), text)]);
    }

    #[test]
    fn what_is_let_through_at_a_glance_is_what_taking_it_apart_would_show(
        // Fractions are short enough to be printed exactly as they are written.
        text in r#"\{"[a-c]{1,3}": ?("[A-C0-9e ]{0,8}"|"\[[A-C0-9e,]{0,8}\]"|[1-9][0-9]{0,16}|[1-9][0-9]{0,11}(\.[0-9]?[1-9])?(e[0-9])?|true|false|null)\}"#,
        hidden in "([A-C0-9e]{1,4}|true|4242424242424242|[0-9]{1,3}\\.0)",
        fields in prop::collection::vec("[a-cA-C]{1,3}", 0..3),
    ) {
        let mask = Mask::new(&[], &fields).with_values(&[hidden]);
        if mask.nothing_to_hide(&text) {
            let apart: Value = serde_json::from_str(&mask.json(&text).unwrap()).unwrap();
            prop_assert_eq!(apart, serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn text_without_anything_to_hide_stays_as_it_is(text in "[a-z \\\\%&+é]{0,40}") {
        prop_assert_eq!(mask().text(&text), text);
    }
}

#[test]
fn the_tokens_of_webhook_urls_are_masked_wherever_they_are() {
    let token = "A-_9".repeat(13);
    let webhook = format!("https://hooks.example.com/webhooks/acme?ferry={token}");
    let mut url: Url = "https://api.example.com/calls".parse().unwrap();
    url.query_pairs_mut().append_pair("to", &webhook);
    let form = url.query().unwrap().to_owned();
    let json =
        serde_json::json!({ "notify": webhook, "escaped": 1 }).to_string().replace('=', "\\u003d");
    let mask = Mask::new(&[], &[]);
    let texts = [
        mask.url(&url),
        mask.text(&format!("failed to call {webhook}: timeout")),
        mask.body(Some("application/x-www-form-urlencoded"), form.as_bytes()).to_string(),
        mask.body(Some("application/json"), json.as_bytes()).to_string(),
        mask.body(None, format!("to: {webhook}").as_bytes()).to_string(),
        mask.value(serde_json::json!({ "notify": webhook })).to_string(),
    ];
    for text in texts {
        assert!(text.contains("/webhooks/acme?ferry=***") && !text.contains(&token), "{text}");
    }
    assert_eq!(
        mask.headers(&[("x-webhook".to_owned(), webhook)])
            .json()
            .into_string()
            .matches(&token)
            .count(),
        0
    );
}
