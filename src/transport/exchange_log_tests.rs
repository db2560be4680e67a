use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::domain::exchange::Method;

type Record = BTreeMap<String, String>;

#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

struct Fields<'a>(&'a mut Record);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut record = Record::from([("target".to_owned(), event.metadata().target().to_owned())]);
        event.record(&mut Fields(&mut record));
        self.0.lock().unwrap().push(record);
    }
}

fn request() -> Request {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Request {
        method: Method::Post,
        url: "https://api.example/v1/charges?token=secret-1".parse().unwrap(),
        headers: vec![
            header("authorization", "Bearer secret-1"),
            header("content-type", "application/json"),
            header("idempotency-key", "order-1"),
        ],
        body: r#"{"pan":"4242 4242 4242 4242","iban":"DE02","pin":"12","key":"secret-1"}"#.into(),
        timeout: Duration::from_secs(1),
    }
}

fn reply() -> Answer {
    let headers = vec![("set-cookie".to_owned(), "a=b".to_owned())];
    Answer::Reply(Reply { status: 201, headers, body: r#"{"id":"ch_1","pin":"12"}"#.into() })
}

fn label<'a>(command: &'a CommandId, [provider, operation]: &'a [Name; 2]) -> StepLabel<'a> {
    let at = "2026-11-25T18:49:14.123Z".parse().unwrap();
    StepLabel { at, command, provider, operation, generation: 0, attempt: 2 }
}

fn recorded(answers: &[Answer], bodies: bool, level: LevelFilter) -> Vec<Record> {
    let records = Records::default();
    let mask = Mask::new(&[SecretString::from("secret-1")], &["pin".to_owned()]).with_values(&["DE02".to_owned()]);
    let names: [Name; 2] = ["stripe".parse().unwrap(), "charge".parse().unwrap()];
    let command = "order-1".parse().unwrap();
    let step = label(&command, &names);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(level).with(records.clone()), || {
        for answer in answers {
            if is_heard() {
                Exchange::new(&step, &request(), answer, Duration::from_millis(7), &mask, bodies).log(&mask);
            }
        }
    });
    records.0.lock().unwrap().clone()
}

#[test]
fn an_exchange_is_one_record_with_everything_secret_masked() {
    let records = recorded(&[reply()], true, LevelFilter::INFO);
    insta::assert_json_snapshot!(records);
}

#[test]
fn an_exchange_without_an_answer_says_what_may_have_been_sent_and_why_there_is_none() {
    let late = Failure { http_status: Some(200), ..Failure::new("truncated", "it ended with secret-1") };
    let answers = [Answer::NotSent(Failure::new("dns", "no such host")), Answer::Incomplete(late)];
    let records = recorded(&answers, true, LevelFilter::INFO);
    assert_eq!(records.len(), 2);
    for (record, [sent, code, message]) in
        records.iter().zip([["no", "dns", "no such host"], ["maybe", "truncated", "it ended with ***"]])
    {
        assert_eq!([&record["sent"], &record["error.code"], &record["error.message"]], [sent, code, message]);
        assert!(!record.contains_key("response.body"), "{record:?}");
    }
    assert_eq!(records[1]["response.status"], "200");
}

#[test]
fn bodies_can_be_left_out() {
    let records = recorded(&[reply()], false, LevelFilter::INFO);
    assert!(!records[0].contains_key("request.body") && !records[0].contains_key("response.body"));
    assert_eq!(records[0]["response.status"], "201");
}

#[test]
fn nothing_is_recorded_where_nobody_listens() {
    assert!(recorded(&[reply()], true, LevelFilter::WARN).is_empty());
}
