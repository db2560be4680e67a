use std::time::Duration;

use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::outcome::Failure;
use ferryd_redact::Mask;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::call_log::StepLabel;

const SECRET: &str = "sk_live_4eC39/Hq\"x\\é";

fn request(note: &str) -> HttpRequest {
    HttpRequest {
        method: HttpMethod::Post,
        url: "https://api.example/v1/charges?note=a%20b".parse().unwrap(),
        headers: vec![
            ("authorization".to_owned(), "Bearer x".to_owned()),
            ("x-note".to_owned(), note.to_owned()),
        ],
        input_headers: Vec::new(),
        body: json!({ "note": note, "secret": SECRET }).to_string().into(),
        timeout: Duration::from_secs(1),
    }
}

/// Encodes a call, and returns its line of the stream and its fields of the log, both parsed.
fn lines(request: &HttpRequest, answer: &CallResult, mask: &Mask, cap: usize) -> [Value; 2] {
    let (command, provider, operation) =
        ("order-1".parse().unwrap(), "stripe".parse().unwrap(), "charge".parse().unwrap());
    let step = StepLabel {
        at: "2026-11-25T18:49:14.123Z".parse().unwrap(),
        command: &command,
        provider: &provider,
        operation: &operation,
        generation: 1,
        attempt: 2,
    };
    let mask = mask.clone().capped_at(cap);
    let call = HttpCall::new(&step, request, answer, Duration::from_millis(7), &mask, true);
    let encoded = EncodedCall::new(&call);
    let line: Value = serde_json::from_str(encoded.line()).unwrap();
    assert_eq!(line, serde_json::to_value(&call).unwrap());
    assert_eq!(serde_json::from_value::<HttpCall<'_>>(line.clone()).unwrap(), call);
    assert!(encoded.line().ends_with("}\n") && encoded.line().lines().count() == 1);
    let mut fields = String::from("{\"level\":1");
    encoded.push_log_fields(&mut fields, cap);
    fields.push('}');
    for text in [encoded.line().trim_end(), &fields] {
        assert!(!text.contains(ferryd_redact::escape::is_escaped), "{text}");
    }
    [line, serde_json::from_str(&fields).unwrap()]
}

fn mask() -> Mask {
    Mask::new(&[SecretString::from(SECRET)], &[])
}

fn answers(note: &str) -> [CallResult; 3] {
    let headers = vec![("set-cookie".to_owned(), note.to_owned())];
    let body = json!({ "sent": [note, SECRET] }).to_string().into();
    let late = Failure { http_status: Some(200), ..Failure::new("truncated", note) };
    [
        CallResult::Reply(HttpReply { status: 201, headers, body }),
        CallResult::Incomplete(late),
        CallResult::NotSent(Failure { code: None, ..Failure::new("", note) }),
    ]
}

/// The part of a line of the stream that the log's line repeats, as the log names it.
fn repeated(line: &Value) -> Vec<(&'static str, &Value)> {
    [
        ("command.id", "/command"),
        ("generation", "/generation"),
        ("attempt", "/attempt"),
        ("url.full", "/request/url"),
        ("request.body", "/request/body"),
        ("sent", "/sent"),
        ("http.response.status_code", "/response/status"),
        ("response.body", "/response/body"),
        ("duration_ms", "/duration_ms"),
        ("error.type", "/error/code"),
        ("error.message", "/error/message"),
    ]
    .into_iter()
    .filter_map(|(name, place)| Some((name, line.pointer(place)?)))
    .collect()
}

proptest! {
    #[test]
    fn the_lines_of_the_log_and_of_the_stream_hold_the_same_masked_texts(
        note in r#"([a-z ]{0,9}["\\/\n\x01\x7f é\u{200b}🦀]?){0,6}"#,
    ) {
        for answer in answers(&note) {
            let [line, log] = lines(&request(&note), &answer, &mask(), 4096);
            for (name, value) in repeated(&line) {
                prop_assert_eq!(&log[name], value, "{}", name);
            }
            for (name, place) in [("request.headers", "/request/headers"), ("response.headers", "/response/headers")] {
                let headers = log.get(name).map(|text| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap());
                prop_assert_eq!(headers.as_ref(), line.pointer(place), "{}", name);
            }
            for text in [line.to_string(), log.to_string()] {
                prop_assert!(text.contains("***") && !text.contains("sk_live"), "{}", text);
            }
        }
    }
}

#[test]
fn the_log_says_how_much_was_cut_and_the_stream_counts_it() {
    let [line, log] = lines(&request("é\"é"), &answers("")[0], &mask(), 12);
    let cut = line["request"]["body_cut"].as_u64().unwrap();
    let (body, note) = (line["request"]["body"].as_str().unwrap(), format!("… [{cut} more bytes]"));
    assert_eq!(log["request.body"], format!("{body}{note}"));
    let headers = log["request.headers"].as_str().unwrap();
    assert!(
        headers.starts_with("{\"authorizat… [") && headers.ends_with(" more bytes]"),
        "{headers}"
    );
    assert!(line["request"]["headers"].is_object());
}
