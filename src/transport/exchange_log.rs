//! One record of every exchange with a provider: what was asked, what came back, how long it took; masked.

use std::time::Duration;

use tracing::Level;

use super::mask::Mask;
use crate::domain::command_id::CommandId;
use crate::domain::exchange::{Answer, Reply, Request};
use crate::domain::name::Name;
use crate::domain::outcome::Failure;

/// The target of these records, for filters such as `ferryd::exchange=off`.
pub const TARGET: &str = "ferryd::exchange";

/// Whose call an exchange was.
#[derive(Debug, Clone, Copy)]
pub struct StepLabel<'a> {
    /// The command.
    pub command: &'a CommandId,
    /// The provider that was called.
    pub provider: &'a Name,
    /// What it was asked to do.
    pub operation: &'a Name,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
}

/// Writes the record of one exchange; bodies only where `bodies` says so.
///
/// Nothing is masked, or otherwise paid for, where nobody listens to [`TARGET`].
pub fn record(step: &StepLabel<'_>, request: &Request, answer: &Answer, elapsed: Duration, mask: &Mask, bodies: bool) {
    if !tracing::enabled!(target: TARGET, Level::INFO) {
        return;
    }
    let (sent, reply, failure) = parts(answer);
    let body = |headers: &[(String, String)], body: &[u8]| bodies.then(|| mask.body(content_type(headers), body));
    let request_body = body(&request.headers, &request.body);
    let response_body = reply.and_then(|reply| body(&reply.headers, &reply.body));
    let response_headers = reply.map(|reply| mask.headers(&reply.headers));
    let message = failure.map(|failure| mask.text(&failure.message));
    tracing::info!(
        target: TARGET,
        {
        command.id = step.command.as_str(),
        provider = step.provider.as_str(),
        operation = step.operation.as_str(),
        generation = step.generation,
        attempt = step.attempt,
        http.request.method = request.method.as_str(),
        url = mask.url(&request.url),
        request.headers = mask.headers(&request.headers),
        request.body = request_body,
        sent,
        response.status = reply.map(|reply| reply.status).or(failure.and_then(|failure| failure.http_status)),
        response.headers = response_headers,
        response.body = response_body,
        duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        error.code = failure.and_then(|failure| failure.code.as_deref()),
        error.message = message,
        },
        "exchange"
    );
}

/// Whether the request was sent, and what came back: an answer, or the reason for none.
fn parts(answer: &Answer) -> (&'static str, Option<&Reply>, Option<&Failure>) {
    match answer {
        Answer::NotSent(failure) => ("no", None, Some(failure)),
        Answer::Incomplete(failure) => ("maybe", None, Some(failure)),
        Answer::Reply(reply) => ("yes", Some(reply), None),
    }
}

fn content_type(headers: &[(String, String)]) -> Option<&str> {
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
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

    fn recorded(answers: &[Answer], bodies: bool, level: LevelFilter) -> Vec<Record> {
        let records = Records::default();
        let mask = Mask::new(&[SecretString::from("secret-1")], &["pin".to_owned()]).with_values(&["DE02".to_owned()]);
        let names: [Name; 2] = ["stripe".parse().unwrap(), "charge".parse().unwrap()];
        let command = "order-1".parse().unwrap();
        let step =
            StepLabel { command: &command, provider: &names[0], operation: &names[1], generation: 0, attempt: 2 };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(level).with(records.clone()), || {
            for answer in answers {
                record(&step, &request(), answer, Duration::from_millis(7), &mask, bodies);
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
}
