//! Tests that no message, record or log line about a call of a hostile provider shows a secret, in
//! any spelling.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::incoming_message::tests::{at, build_message};
use super::log::log_decision;
use super::messages::MessageFactory;
use crate::captured_text::CapturedText;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::echo_token;
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::http_call::{CallResult, HttpReply};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{
    DecidedBy, FinishedRecord, Record, RecordBody, RecordId, ReplyTarget,
};
use ferryd_domain::lifecycle::{self, AttemptLimits, FailureKind, LifecycleState};
use ferryd_domain::name::Name;
use ferryd_domain::progress::AttemptSummary;
use ferryd_domain::retry::RetryPolicy;
use ferryd_domain::webhook::{NoticeMeaning, RawWebhook};
use ferryd_domain::webhook_token::{TokenKey, TokenScope};
use ferryd_provider::registry::ProviderDefaults;
use ferryd_provider::{CallContext, Provider};
use ferryd_redact::Mask;
use ferryd_transport::call_log::{HttpCall, StepLabel};

const IBAN: &str = "DE02120300000000202051";

/// A text like an access token.
const ACCESS_TOKEN: &str = "A21AAL/fresh+token==93";

const FILE: &str = r#"
name = "bank"
type = "payment"
protocol = "rest"
base_url = "https://bank.example"
[secrets]
password = SECRET
[operations.pay]
request = { method = "POST", path = "/pay", query = { key = "{{ secrets.password }}" } }
body = { note = "{{ payload.iban }}" }
[operations.pay.payload]
properties = { iban = { x-sensitive = true } }
[operations.pay.response]
reference = "{{ body.id }}"
result = { whole = "{{ body }}", text = "{{ text }}", hint = "{{ headers['x-hint'] }}", bad = "{{ body.message | int }}" }
warnings = ["{{ body.warnings }}"]
success = "status == 200"
accepted = "status == 202"
error = { code = "{{ body.code }}", message = "{{ body.message | default(text) }}", details = "{{ body.data }}" }
[[classify]]
when = "status == 402"
as = "declined"
[webhook]
verify = "none"
event = "{{ body.code }}"
id = "{{ body.code }}"
reference = "{{ body.id }}"
token = "{{ body.proof }}"
command = "{{ body.command }}"
[[webhook.on]]
when = "query.as == 'completed'"
as = "completed"
result = { whole = "{{ body }}" }
[[webhook.on]]
when = "query.as == 'declined'"
as = "declined"
code = "{{ body.code }}"
message = "{{ body.message }}"
[[webhook.on]]
when = "query.as == 'progress'"
as = "progress"
result = "{{ body }}"
"#;

/// A provider and a call of it, with all values that must stay hidden.
struct HostileSite {
    provider: Provider,
    command: Command,
    hidden: Vec<String>,
    webhook_url: String,
    echo_token: String,
    mask: Mask,
}

impl HostileSite {
    fn new(secret: &str) -> Self {
        let text = FILE.replace("SECRET", &Value::from(secret).to_string());
        let retry = RetryPolicy::default();
        let defaults =
            ProviderDefaults { retry, max_in_flight: 1, max_bytes_in_flight: 1, links: None };
        let provider = Provider::parse(&text, "bank.toml", &defaults)
            .unwrap_or_else(|errors| panic!("{}", errors[0]));
        let body = json!({"id": "order-1", "type": "payment", "operation": "pay", "payload": {"iban": IBAN}});
        let command =
            Command::decode(body.to_string().as_bytes(), CommandEnvelope::default()).unwrap();
        let (key, account) = (TokenKey::new("a key"), Name::default_account());
        let scope = TokenScope { provider: &provider.name, account: &account };
        let webhook_token = key.make_token(scope, &command.id, 0, at(0));
        let echo_token = echo_token::make_token(&key, scope, &command.id, 0, at(0));
        let hidden =
            [secret, &webhook_token, &echo_token, ACCESS_TOKEN, IBAN].map(str::to_owned).to_vec();
        let mask = provider.mask_of(provider.default_account().unwrap());
        let mask = mask
            .with_tokens(&[&webhook_token, &echo_token, ACCESS_TOKEN])
            .with_values(&[IBAN.to_owned()]);
        let webhook_url = format!("https://hooks.example/webhooks/bank?ferry={webhook_token}");
        Self { provider, command, hidden, webhook_url, echo_token, mask }
    }

    fn call(&self) -> CallContext<'_> {
        CallContext {
            command: &self.command,
            key: None,
            generation: 0,
            attempt: 1,
            provider_reference: None,
            webhook_url: Some(&self.webhook_url),
            command_token: &self.echo_token,
            in_doubt: false,
        }
    }

    /// Writes every value that must stay hidden, in one spelling.
    fn write_hidden(&self, spelling: SecretSpelling) -> String {
        let is_encoded = matches!(
            spelling,
            SecretSpelling::Basic | SecretSpelling::UrlSafeBase64 | SecretSpelling::Hex
        );
        let spelled = self.hidden.iter().map(|hidden| match hidden.as_str() {
            // Sensitive values are not looked for in what was encoded.
            IBAN if is_encoded => IBAN.to_owned(),
            hidden => spelling.write(hidden),
        });
        let spelled: Vec<String> = spelled.collect();
        format!("{} {}", spelled.join(", "), spelling.write(&self.webhook_url))
    }
}

/// The ways in which a provider quotes what it was sent.
#[derive(Debug, Clone, Copy)]
enum SecretSpelling {
    Plain,
    Basic,
    UrlSafeBase64,
    Percent,
    Json,
    Hex,
}

impl SecretSpelling {
    fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Basic => {
                format!("Authorization: Basic {}", STANDARD.encode(format!("shop:{text}")))
            }
            Self::UrlSafeBase64 => URL_SAFE_NO_PAD.encode(format!("a={text}&b")),
            Self::Percent => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
            Self::Json => Value::from(Value::from(text).to_string()).to_string(),
            Self::Hex => hex::encode(text),
        }
    }
}

/// An answer, or the body of a webhook, with a text wherever one may stand.
fn body(text: &str, reference: &Value) -> Value {
    json!({
        "id": reference, "code": text, "message": text, "warnings": [text, text],
        "data": {"deep": [{text: text}], "json": json!({"inner": text}).to_string(), "list": [[text]]},
    })
}

/// Returns the lines that are logged meanwhile.
fn logged(log: impl FnOnce()) -> String {
    let written = CapturedText::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, log);
    written.text()
}

/// Collects every text that leaves ferryd about an answer.
fn exits_of_answer(site: &HostileSite, reply: HttpReply) -> Vec<String> {
    let answer = CallResult::Reply(reply);
    let adapter = &site.provider.default_account().unwrap().adapter;
    let request = adapter.build_request(&site.call()).unwrap().into_http().unwrap();
    let names = [site.provider.name.clone(), site.command.operation.clone()];
    let step = StepLabel {
        at: at(0),
        command: &site.command.id,
        provider: &names[0],
        operation: &names[1],
        generation: 0,
        attempt: 1,
    };
    let http_call = HttpCall::new(&step, &request, &answer, Duration::ZERO, &site.mask, true);
    let mut exits =
        vec![serde_json::to_string(&http_call).unwrap(), logged(|| http_call.log(&site.mask))];

    let outcome = adapter.interpret_reply(&site.call(), &answer).masked(&site.mask);
    let mut incoming = build_message(None);
    incoming.identity = site.command.identity(&site.provider.name);
    let progress = &mut incoming.state.progress;
    progress.record_attempt(AttemptSummary::new(1, at(0), Duration::ZERO, &outcome));
    lifecycle::note_outcome(progress, &outcome, at(0));
    let limits = AttemptLimits {
        policy: RetryPolicy::default(),
        key_retention: None,
        not_before: None,
        expires_at: None,
        deadline: Duration::from_hours(1),
        poll: None,
        lookup: None,
    };
    let decision = lifecycle::decide_after_call(outcome, progress, &limits, at(0), 0.5);
    exits.push(logged(|| log_decision(&incoming, &decision)));
    let messages = MessageFactory::new(
        TopologyNames::new("ferry".parse().unwrap()),
        LifecycleState::ALL,
        "host".to_owned(),
    );
    let effects = messages.recorded_effects(&incoming, 1, decision, None, at(0));
    let target = ReplyTarget { reply_to: "answers".to_owned(), correlation_id: None };
    let published = messages.decision_effects(&incoming, &effects, &[target]);
    for message in published.messages.iter().chain(&published.replies) {
        exits.push(format!("{:?} {}", message.properties, String::from_utf8_lossy(&message.body)));
    }
    let conflict = ConflictEvent::of_answer(&effects.event, &effects.event);
    exits.push(serde_json::to_string(&conflict).unwrap());

    let finished = FinishedRecord {
        query: None,
        step: incoming.step(),
        identity: Some(incoming.command_identity().clone()),
        fresh: false,
        call: incoming.state.progress.history.last().cloned(),
        unknown: false,
        not_found: false,
        retained_message: None,
        decided_by: DecidedBy::Holder,
        effects,
    };
    let record = Record {
        at: at(0),
        command: site.command.id.clone(),
        fact: RecordBody::Finished(Box::new(finished)),
    };
    exits.push(String::from_utf8(record.encode()).unwrap());
    // The index holds this case, and the API answers from the index.
    let mut state: Option<CommandState> = None;
    CommandState::apply_record(
        &mut state,
        RecordId { writer: uuid::Uuid::nil(), number: 1 },
        &record,
    );
    exits.push(format!("{state:?}"));
    exits
}

/// Collects every text that leaves ferryd about a webhook.
fn exits_of_notice(site: &HostileSite, meaning: &str, body: &Value) -> Vec<String> {
    let webhook_token = site.webhook_url.rsplit_once('=').unwrap().1;
    let call = RawWebhook {
        method: "POST".to_owned(),
        url: format!("https://hooks.example/webhooks/bank?as={meaning}&ferry={webhook_token}")
            .parse()
            .unwrap(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into(),
        certificate: None,
    };
    let webhook = site.provider.default_account().unwrap().webhook.clone().unwrap();
    let mut exits = Vec::new();
    for notice in webhook.read_notices(&call).masked(&site.mask).unwrap() {
        let shown = (&notice.event, &notice.id, &notice.reference, &notice.amount);
        exits.push(format!("{shown:?} {}", site.mask.value(notice.body.clone())));
        let identity = site.command.identity(&site.provider.name);
        if let Some(reference) = &notice.reference {
            let conflict = ConflictEvent::of_reference(
                identity.clone(),
                reference,
                Some(reference),
                None,
                at(0),
            );
            exits.push(serde_json::to_string(&conflict).unwrap());
        }
        let kind = match notice.meaning {
            NoticeMeaning::Completed(success) => EventKind::Completed(success),
            NoticeMeaning::Declined(failure) => EventKind::Failed(FailureKind::Declined, failure),
            NoticeMeaning::Progress(result) => {
                exits.push(format!("{}", result.unwrap_or_default()));
                continue;
            }
            other => panic!("{other:?}"),
        };
        let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        exits.push(
            serde_json::to_string(&Event::new(identity, moment, kind, TraceContext::default()))
                .unwrap(),
        );
    }
    exits
}

/// Decodes a text in every way that a reader may try.
fn readings(text: &str) -> Vec<String> {
    let plain = text.replace('\\', "");
    let runs = plain.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=_-".contains(c));
    let mut readings: Vec<String> = Vec::new();
    for run in runs.filter(|run| run.len() >= 12) {
        let run = run.trim_end_matches('=');
        let standard = run.replace('-', "+").replace('_', "/");
        let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(&standard).ok();
        readings.extend(
            decoded
                .into_iter()
                .chain(hex::decode(run).ok())
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        );
    }
    readings.push(percent_decode_str(&plain).decode_utf8_lossy().into_owned());
    readings.push(plain);
    readings
}

/// Fails where a text shows a hidden value, or so much of its beginning that a cut must have left
/// it.
fn assert_hidden(hidden: &[String], exit: &str) -> Result<(), TestCaseError> {
    for reading in readings(exit) {
        for hidden in hidden {
            let hidden = hidden.replace('\\', "");
            let beginning: String = hidden.chars().take(12).collect();
            prop_assert!(
                !reading.contains(&beginning),
                "{} of {} in {}",
                beginning,
                hidden,
                reading
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_exit_shows_a_secret_that_a_provider_echoes(
        // Backslashes in a row are found through fewer layers of escaping than there are here.
        secret in r#"[A-Z]([A-Z0-9"/+é&<=%:-]|\\[A-Z]){18,30}[A-Z]"#,
        spelling in prop::sample::select(vec![
            SecretSpelling::Plain,
            SecretSpelling::Basic,
            SecretSpelling::UrlSafeBase64,
            SecretSpelling::Percent,
            SecretSpelling::Json,
            SecretSpelling::Hex,
        ]),
        before in prop_oneof![0_usize..4, 40_usize..90, 400_usize..520, 1_900_usize..2_010],
        status in prop::sample::select(vec![200_u16, 202, 400, 402, 429, 500]),
        meaning in prop::sample::select(vec!["completed", "declined", "progress"]),
        is_json: bool,
        has_reference: bool,
    ) {
        let site = HostileSite::new(&secret);
        let text = format!("{} {}", "-".repeat(before), site.write_hidden(spelling));
        let reference = if has_reference { json!("4242424242424242") } else { json!(text) };
        let content = body(&text, &reference);
        let headers = [("content-type", "application/json"), ("x-hint", &text), ("retry-after", "7")];
        let reply = HttpReply {
            status,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: if is_json { content.to_string() } else { text.clone() }.into(),
        };
        for exit in exits_of_answer(&site, reply).iter().chain(&exits_of_notice(&site, meaning, &content)) {
            assert_hidden(&site.hidden, exit)?;
        }
    }
}

#[test]
fn an_id_that_looks_like_a_card_reaches_the_event_and_the_next_query() {
    let site = HostileSite::new("a secret of the account");
    let content = json!({"id": "4242424242424242", "checkout_url": "https://pay.example/4242424242424242?key=pk_1_secret_2"});
    let reply = HttpReply { status: 202, headers: Vec::new(), body: content.to_string().into() };
    let exits = exits_of_answer(&site, reply);
    let event = exits.iter().find(|exit| exit.contains("ferry.command.waiting")).unwrap();
    assert!(event.contains("\"provider_reference\":\"4242424242424242\""), "{event}");
    assert!(event.contains("https://pay.example/4242424242424242?key=pk_1_secret_2"), "{event}");
    assert!(
        exits
            .iter()
            .any(|exit| exit.contains("ferry-provider-reference")
                && exit.contains("4242424242424242"))
    );
    assert!(
        exits[1].contains("ferryd::call") && !exits[1].contains("4242424242424242"),
        "{}",
        exits[1]
    );
}
