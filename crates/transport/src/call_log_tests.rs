use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use secrecy::SecretString;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use ferryd_domain::http_call::HttpMethod;

type LogEntry = BTreeMap<String, String>;

#[derive(Clone, Default)]
struct LogEntries(Arc<Mutex<Vec<LogEntry>>>);

struct FieldVisitor<'a>(&'a mut LogEntry);

impl Visit for FieldVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for LogEntries {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut record =
            LogEntry::from([("target".to_owned(), event.metadata().target().to_owned())]);
        event.record(&mut FieldVisitor(&mut record));
        self.0.lock().unwrap().push(record);
    }
}

fn request() -> HttpRequest {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    HttpRequest {
        method: HttpMethod::Post,
        url: "https://api.example/v1/charges?token=secret-1".parse().unwrap(),
        headers: vec![
            header("authorization", "Bearer secret-1"),
            header("content-type", "application/json"),
            header("idempotency-key", "order-1"),
        ],
        input_headers: Vec::new(),
        body: r#"{"pan":"4242 4242 4242 4242","iban":"DE02","pin":"12","key":"secret-1"}"#.into(),
        timeout: Duration::from_secs(1),
    }
}

fn reply() -> CallResult {
    let headers = vec![("set-cookie".to_owned(), "a=b".to_owned())];
    CallResult::Reply(HttpReply {
        status: 201,
        headers,
        body: r#"{"id":"ch_1","pin":"12"}"#.into(),
    })
}

fn label<'a>(command: &'a CommandId, [provider, operation]: &'a [Name; 2]) -> StepLabel<'a> {
    let at = "2026-11-25T18:49:14.123Z".parse().unwrap();
    StepLabel { at, command, provider, operation, generation: 0, attempt: 2 }
}

fn recorded(answers: &[CallResult], bodies: bool, level: LevelFilter) -> Vec<LogEntry> {
    let records = LogEntries::default();
    let mask = Mask::new(&[SecretString::from("secret-1")], &["pin".to_owned()])
        .with_values(&["DE02".to_owned()]);
    let names: [Name; 2] = ["stripe".parse().unwrap(), "charge".parse().unwrap()];
    let command = "order-1".parse().unwrap();
    let step = label(&command, &names);
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(level).with(records.clone()),
        || {
            for answer in answers {
                if is_heard() {
                    HttpCall::new(
                        &step,
                        &request(),
                        answer,
                        Duration::from_millis(7),
                        &mask,
                        bodies,
                    )
                    .log(&mask);
                }
            }
        },
    );
    records.0.lock().unwrap().clone()
}

#[test]
fn a_call_is_one_record_with_everything_secret_masked() {
    let records = recorded(&[reply()], true, LevelFilter::INFO);
    insta::assert_json_snapshot!(records);
}

#[test]
fn a_call_without_an_answer_says_what_may_have_been_sent_and_why_there_is_none() {
    let late =
        Failure { http_status: Some(200), ..Failure::new("truncated", "it ended with secret-1") };
    let answers =
        [CallResult::NotSent(Failure::new("dns", "no such host")), CallResult::Incomplete(late)];
    let records = recorded(&answers, true, LevelFilter::INFO);
    assert_eq!(records.len(), 2);
    for (record, [sent, code, message]) in records
        .iter()
        .zip([["no", "dns", "no such host"], ["maybe", "truncated", "it ended with ***"]])
    {
        assert_eq!(
            [&record["sent"], &record["error.type"], &record["error.message"]],
            [sent, code, message]
        );
        assert!(!record.contains_key("response.body"), "{record:?}");
    }
    assert_eq!(records[1]["http.response.status_code"], "200");
}

#[test]
fn bodies_can_be_left_out() {
    let records = recorded(&[reply()], false, LevelFilter::INFO);
    assert!(!records[0].contains_key("request.body") && !records[0].contains_key("response.body"));
    assert_eq!(records[0]["http.response.status_code"], "201");
}

#[test]
fn nothing_is_recorded_where_nobody_listens() {
    assert!(recorded(&[reply()], true, LevelFilter::WARN).is_empty());
}

#[test]
fn a_call_is_a_json_object_that_can_be_read_back() {
    let mask = Mask::new(&[SecretString::from("secret-1")], &["pin".to_owned()])
        .with_values(&["DE02".to_owned()]);
    let names: [Name; 2] = ["stripe".parse().unwrap(), "charge".parse().unwrap()];
    let command = "order-1".parse().unwrap();
    let late =
        Failure { http_status: Some(200), ..Failure::new("truncated", "it ended with secret-1") };
    let (request, mask) = (request(), mask.capped_at(30));
    let read_back = [
        reply(),
        CallResult::Incomplete(late),
        CallResult::NotSent(Failure::new("dns", "no such host")),
    ]
    .map(|answer| {
        let step = label(&command, &names);
        let mut call =
            HttpCall::new(&step, &request, &answer, Duration::from_millis(7), &mask, true);
        call.host = "host-a".into();
        let json = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<HttpCall<'static>>(&json).unwrap(), call);
        serde_json::from_str::<serde_json::Value>(&json).unwrap()
    });
    insta::assert_json_snapshot!(read_back);
}

#[test]
fn a_call_of_a_later_version_can_be_read() {
    let json = r#"{"at":"2026-11-25T18:49:14Z","command":"order-1","provider":"stripe","operation":"charge","generation":0,
        "attempt":1,"host":"a","request":{"method":"GET","url":"https://a.example/","headers":{},"new":1},"sent":"no",
        "duration_ms":1,"new":{}}"#;
    assert_eq!(serde_json::from_str::<HttpCall<'static>>(json).unwrap().attempt, 1);
}

proptest! {
    #[test]
    fn no_secret_survives_in_a_call(
        secret in r#"[A-Z][A-Z0-9"\\/+ é&<=%-]{2,24}[A-Z]"#, before in r#"[a-z0-9 "\\&=%]{0,6}"#, kind in 0_usize..4,
    ) {
        let mask = Mask::new(&[SecretString::from(secret.as_str())], &[]);
        let text = format!("{before}{secret}");
        let kinds = ["application/json", "application/x-www-form-urlencoded", "text/plain", "application/xml"];
        let form = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let bodies = [serde_json::json!({ "a": [text] }).to_string(), format!("a={form}"), text.clone(), text.clone()];
        let headers = vec![("content-type".to_owned(), kinds[kind].to_owned()), ("x-any".to_owned(), text.clone())];
        let mut url = url::Url::parse("https://user:pass@api.example/").unwrap();
        url.path_segments_mut().unwrap().push(&text);
        url.query_pairs_mut().append_pair("q", &text);
        let body = bytes::Bytes::from(bodies[kind].clone());
        let request = HttpRequest { url, headers: headers.clone(), body: body.clone(), ..request() };
        let names: [Name; 2] = ["stripe".parse().unwrap(), "charge".parse().unwrap()];
        let command = "order-1".parse().unwrap();
        let failure = CallResult::Incomplete(Failure::new("truncated", text.clone()));
        for answer in [CallResult::Reply(HttpReply { status: 200, headers, body }), failure] {
            let call = HttpCall::new(&label(&command, &names), &request, &answer, Duration::ZERO, &mask, true);
            let line: serde_json::Value = serde_json::to_value(&call).unwrap();
            for shown in texts(&line) {
                let decoded = percent_encoding::percent_decode_str(&shown).decode_utf8_lossy().into_owned();
                for reading in [shown.replace('\\', ""), shown.replace('+', " "), decoded, shown] {
                    prop_assert!(!reading.contains(&secret), "{} in {}", secret, line);
                }
            }
        }
    }
}

/// Every text of a JSON value, names included.
fn texts(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| std::iter::once(name.clone()).chain(texts(value)))
            .collect(),
        _ => Vec::new(),
    }
}
