//! `Retry-After`: the parsed value is the header's, and no provider makes a command wait longer
//! than its schedule or come back earlier than the header requests.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::provider_file::{call, parse};
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::http_call::{CallResult, HttpReply};
use ferryd_domain::lifecycle::{AttemptLimits, Decision, decide_after_call};
use ferryd_domain::outcome::{Outcome, RetryAfter};
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::retry::{RetryPolicy, Rung};
use ferryd_provider::Provider;
use ferryd_redact::Mask;

const FILE: &str = r#"
name = "acme"
type = "shipping"
protocol = "rest"
base_url = "https://api.example.com"
[operations.act]
request = { method = "POST", path = "/" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
"#;
const COMMAND: &[u8] = br#"{"id":"c-1","type":"shipping","operation":"act"}"#;

static ACME: LazyLock<Provider> = LazyLock::new(|| parse(FILE).ok().unwrap());
static ACT: LazyLock<Command> =
    LazyLock::new(|| Command::decode(COMMAND, CommandEnvelope::default()).unwrap());

pub(super) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for status in [429, 503] {
        let headers = vec![("retry-after".to_owned(), text.clone().into_owned())];
        let answer = CallResult::Reply(HttpReply { status, headers, body: Vec::new().into() });
        let outcome = ACME
            .default_account()
            .unwrap()
            .adapter
            .interpret_reply(&call(&ACT), &answer)
            .masked(&Mask::default());
        let hint = if let Outcome::Transient(_, hint) = &outcome { *hint } else { None };
        assert_is_what_it_says(text.trim(), hint);
        assert_is_waited_for(&outcome, hint);
    }
}

fn assert_is_what_it_says(text: &str, hint: Option<RetryAfter>) {
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<u64>().ok()
    } else {
        None
    };
    match hint {
        Some(RetryAfter::Seconds(read)) => assert_eq!(Some(read), seconds),
        Some(RetryAfter::At(time)) => {
            let imf = httpdate::fmt_http_date(SystemTime::from(time));
            let again = httpdate::parse_http_date(&imf)
                .ok()
                .and_then(|time| Timestamp::try_from(time).ok());
            assert_eq!(again, Some(time), "{imf}");
        }
        None => assert_eq!(seconds, None, "seconds are read"),
    }
}

fn assert_is_waited_for(outcome: &Outcome, hint: Option<RetryAfter>) {
    let policy = RetryPolicy::default();
    let cap = policy.schedule.iter().max().copied().unwrap_or_default();
    let limits = AttemptLimits {
        policy,
        key_retention: Some(Duration::from_hours(24)),
        not_before: None,
        expires_at: None,
        deadline: Duration::from_hours(24),
        poll: None,
        lookup: None,
    };
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        for random in [0.0, 0.5, 0.99] {
            let decision = decide_after_call(
                outcome.clone(),
                &GenerationProgress::first_generation(now),
                &limits,
                now,
                random,
            );
            let Decision::Retry { rung, .. } = decision else { continue };
            let requested = hint.map_or(0, |hint| hint.seconds_from(now));
            assert!(
                rung.duration() >= Duration::from_secs(requested).min(cap),
                "never earlier than was requested"
            );
            assert!(rung <= Rung::at_least(cap), "never later than the schedule's longest");
        }
    }
}
