//! Compiles the table of one operation.

use std::path::Path;
use std::time::Duration;

use super::amount::{AmountSource, AmountTemplate};
use super::answer::{AnswerReader, AnswerRule, ErrorMapping};
use super::answer_meaning::AnswerMeaning;
use super::compiled_operation::{CallTemplate, RestOperation};
use super::expression::{Condition, KnownVariables};
use super::file::{
    ErrorFile, IdempotencyFile, MessageFile, OperationFile, ProviderProtocol, ResponseFile,
    RetryFile, RuleFile,
};
use super::inherited::{InheritedSettings, duration};
use super::message::{MessageSource, MessageTemplate};
use super::query;
use super::request::{KeySlot, RequestSource, RequestTemplate, SharedRequestParts, key_slot};
use super::text::TextTemplate;
use super::tree::TreeTemplate;
use crate::payload::PayloadSchema;
use crate::{IdempotencyPolicy, Operation};
use ferryd_domain::http_call::HttpMethod;
use ferryd_domain::key::SHORTENED_LENGTH;
use ferryd_domain::retry::{RetryPolicy, Rung};
use ferryd_settings::findings::SettingsCursor;

/// The longest time that one call may take.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(10);

/// The time in which a provider has to finish an accepted command, where its file does not state
/// one.
const DEADLINE: Duration = Duration::from_hours(7 * 24);

/// Compiles an operation.
pub(super) fn compile(
    file: &OperationFile,
    shared: Option<&SharedRequestParts>,
    from: &InheritedSettings<'_>,
    place: &SettingsCursor<'_>,
) -> Option<(Operation, RestOperation)> {
    let (idempotency, key) = match (&file.idempotency, &file.message) {
        (Some(table), _) => idempotency(table, &place.key("idempotency")).unzip(),
        (None, Some(message)) => (deduplication(message, &place.key("message")), None),
        (None, None) => (None, None),
    };
    let timeout =
        timeout(file.timeout.as_deref(), from.timeout, from.connect_timeout, &place.key("timeout"));
    let retry = retry(file.retry.as_ref(), &from.retry, &place.key("retry"));
    let call = match from.protocol {
        ProviderProtocol::Rest => {
            let source = RequestSource { request: file.request.as_ref(), body: file.body.as_ref() };
            let request =
                RequestTemplate::compile(source, key.clone(), timeout, &from.in_request, place);
            if let (Some(request), Some(shared)) = (&request, shared) {
                refuse_rivals(request, key.as_ref(), shared, place);
            }
            request.map(CallTemplate::Http)
        }
        ProviderProtocol::Amqp | ProviderProtocol::Nats => {
            message(file, timeout, from, place).map(CallTemplate::Message)
        }
    };
    let reading = reading(file, from, place);
    let deadline = file.deadline.as_ref().and_then(|text| duration(text, &place.key("deadline")));
    let (poll, asking_end) = query::poll(file, from, timeout, place).unzip();
    let (lookup, asking_act) =
        query::lookup(file, asking_end.as_ref(), from, timeout, place).unzip();
    let affects = file.affects.as_ref();
    let affects = affects
        .and_then(|text| place.key("affects").check(TextTemplate::compile(text, &from.in_request)));
    if file.lookup.is_none() {
        refuse_lookups(file, place);
    }
    let payload = payload(file, from.folder, place);
    if file.repeatable && file.idempotency.is_some() {
        let text = "is for operations that may act again; one with `idempotency` acts once under its key: leave one of them out";
        place.key("repeatable").refuse(text);
    }
    let reads =
        file.request.as_ref().is_some_and(|request| request.method == Some(HttpMethod::Get));
    let operation = Operation {
        idempotency,
        timeout,
        retry,
        deadline: deadline.unwrap_or(DEADLINE),
        poll,
        lookup,
        payload: payload?,
        repeatable: reads || file.repeatable,
    };
    Some((
        operation,
        RestOperation { call: call?, reading, poll: asking_end, lookup: asking_act, affects },
    ))
}

fn message(
    file: &OperationFile,
    timeout: Duration,
    from: &InheritedSettings<'_>,
    place: &SettingsCursor<'_>,
) -> Option<MessageTemplate> {
    let Some(message) = &file.message else {
        place.key("message").refuse(match from.protocol {
            ProviderProtocol::Nats => r#"is missing; write message = { subject = "…" }"#,
            ProviderProtocol::Amqp | ProviderProtocol::Rest => {
                r#"is missing; write message = { exchange = "…", routing_key = "…" }"#
            }
        });
        return None;
    };
    let source = MessageSource { message, body: file.body.as_ref(), protocol: from.protocol };
    let variables = (&from.in_request, &from.in_address);
    MessageTemplate::compile(&source, timeout, variables, place)
}

/// The receiver's guarantee to drop a message that it has seen.
fn deduplication(file: &MessageFile, place: &SettingsCursor<'_>) -> Option<IdempotencyPolicy> {
    let retention = duration(file.deduplicates.as_ref()?, &place.key("deduplicates"))?;
    Some(IdempotencyPolicy { retention, max_length: None })
}

/// Refuses rules that ask for a lookup where there is none.
fn refuse_lookups(file: &OperationFile, place: &SettingsCursor<'_>) {
    for (n, rule) in file.classify.iter().enumerate() {
        if rule.r#as == AnswerMeaning::Lookup {
            let text = "there is no lookup; write a table `lookup` for the operation, or `as = \"unknown\"`";
            place.key("classify").item(n).key("as").refuse(text);
        }
    }
}

/// Refuses headers that two parts of the file would set.
fn refuse_rivals(
    request: &RequestTemplate,
    key: Option<&KeySlot>,
    shared: &SharedRequestParts,
    place: &SettingsCursor<'_>,
) {
    request.refuse_header_of_auth(shared, place);
    let auth = shared.auth.as_ref().map(super::header::RequestAuth::header);
    let key = match key {
        Some(KeySlot::Header(name)) => Some(name.as_str()),
        _ => None,
    };
    for name in request.header_names().chain(shared.headers.keys().map(String::as_str)) {
        if Some(name) == key {
            place
                .key("idempotency")
                .key("header")
                .refuse(format!("`{name}` is also among `headers`; leave it out there"));
        }
    }
    if key.is_some() && key == auth {
        place
            .key("idempotency")
            .key("header")
            .refuse("is the header of `auth`; write the provider's header for keys");
    }
}

fn idempotency(
    file: &IdempotencyFile,
    place: &SettingsCursor<'_>,
) -> Option<(IdempotencyPolicy, KeySlot)> {
    let slot = key_slot(file, place);
    let retention = duration(&file.retention, &place.key("retention"));
    if file.max_length.is_some_and(|length| length < SHORTENED_LENGTH) {
        place.key("max_length").refuse(format!(
            "a shortened key has {SHORTENED_LENGTH} characters; write at least {SHORTENED_LENGTH}, or leave `idempotency` out"
        ));
    }
    Some((IdempotencyPolicy { retention: retention?, max_length: file.max_length }, slot?))
}

/// The timeout of a call: stated or inherited, longer than the connect timeout, at most ten
/// minutes.
pub(super) fn timeout(
    given: Option<&str>,
    inherited: Duration,
    connect: Duration,
    place: &SettingsCursor<'_>,
) -> Duration {
    let Some(timeout) = given.and_then(|text| duration(text, place)) else { return inherited };
    if timeout > LONGEST_TIMEOUT {
        place.refuse("is longer than a call may take; write at most `10m`");
    }
    if timeout <= connect {
        let connect = humantime::format_duration(connect);
        place.refuse(format!(
            "is not above `connect_timeout` ({connect}); write more, or lower `connect_timeout`"
        ));
    }
    timeout
}

/// The retry policy: the stated keys override the inherited ones.
pub(super) fn retry(
    file: Option<&RetryFile>,
    inherited: &RetryPolicy,
    place: &SettingsCursor<'_>,
) -> RetryPolicy {
    let mut policy = inherited.clone();
    let Some(file) = file else { return policy };
    if let Some(schedule) = &file.schedule {
        let at = place.key("schedule");
        let longest = Rung::LONGEST;
        let delay = |(n, text): (usize, &String)| {
            let delay = duration(text, &at.item(n))?;
            if delay > longest.duration() {
                at.item(n).refuse(format!(
                    "is longer than a delay can be; write at most `{}`",
                    longest.name()
                ));
            }
            Some(delay)
        };
        policy.schedule = schedule.iter().enumerate().filter_map(delay).collect();
    }
    if let Some(limit) =
        file.give_up_after.as_ref().and_then(|text| duration(text, &place.key("give_up_after")))
    {
        policy.give_up_after = limit;
    }
    policy.jitter = file.jitter.unwrap_or(policy.jitter);
    policy
}

fn payload(
    file: &OperationFile,
    folder: &Path,
    place: &SettingsCursor<'_>,
) -> Option<PayloadSchema> {
    match (&file.payload, &file.payload_file) {
        (None, None) => Some(PayloadSchema::any()),
        (Some(schema), None) => {
            let schema = serde_json::Value::Object(schema.clone());
            place.key("payload").check(PayloadSchema::compile(schema))
        }
        (None, Some(path)) => {
            place.key("payload_file").check(PayloadSchema::read(&folder.join(path)))
        }
        (Some(_), Some(_)) => {
            place.key("payload_file").refuse("stands beside `payload`; keep one of them");
            None
        }
    }
}

fn reading(
    file: &OperationFile,
    from: &InheritedSettings<'_>,
    place: &SettingsCursor<'_>,
) -> AnswerReader {
    let at = place.key("response");
    let none = ResponseFile::default();
    let response = file.response.as_ref().unwrap_or(&none);
    let known = &from.in_answer;
    let text = |key: &str, source: Option<&String>| {
        at.key(key).check(TextTemplate::compile(source?, known))
    };
    let condition =
        |key: &str, source: Option<&String>| at.key(key).check(Condition::compile(source?, known));
    let in_progress = file.idempotency.as_ref().and_then(|table| {
        let place = place.key("idempotency").key("in_progress");
        place.check(Condition::compile(table.in_progress.as_ref()?, known))
    });
    let mut rules = compiled_rules(&file.classify, known, &place.key("classify"));
    rules.extend(compiled_rules(from.rules, known, &from.root.key("classify")));
    let of_operation =
        response.error.as_ref().map(|error| error_mapping(error, known, &at.key("error")));
    let root = from.root.key("response").key("error");
    let of_provider = from.error.map(|error| error_mapping(error, known, &root));
    let warnings = response.warnings.iter().enumerate();
    let requested = AmountSource {
        amount: file.amount.as_ref(),
        currency: file.currency.as_ref(),
        partial: None,
    };
    let requested = AmountTemplate::compile(requested, &from.in_request, place);
    let ResponseFile { amount, currency, partial, .. } = response;
    let stated = AmountSource {
        amount: amount.as_ref(),
        currency: currency.as_ref(),
        partial: partial.as_ref(),
    };
    if amount.is_some() && file.amount.is_none() {
        at.key("amount").refuse(
            "has nothing to agree with; write `amount` for the operation as well, or leave it out",
        );
    }
    AnswerReader {
        rules,
        in_progress,
        accepted: condition("accepted", response.accepted.as_ref()),
        success: condition("success", response.success.as_ref()),
        reference: text("reference", response.reference.as_ref()),
        result: response
            .result
            .as_ref()
            .and_then(|tree| TreeTemplate::compile(tree, known, &at.key("result"))),
        requested,
        stated: AmountTemplate::compile(stated, known, &at),
        warnings: warnings
            .filter_map(|(n, source)| {
                at.key("warnings").item(n).check(TextTemplate::compile(source, known))
            })
            .collect(),
        waiting_for: waiting_for(response.waiting_for.as_ref(), known, &at.key("waiting_for")),
        errors: of_operation.into_iter().chain(of_provider).collect(),
    }
}

fn waiting_for(
    source: Option<&String>,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> Option<TextTemplate> {
    let text = place.check(TextTemplate::compile(source?, known))?;
    match &text {
        TextTemplate::Constant(word) if word != "provider" && word != "customer" => {
            place.refuse(format!(
                "`{word}` is not known; write `provider`, `customer` or an expression"
            ));
            None
        }
        _ => Some(text),
    }
}

fn compiled_rules(
    rules: &[RuleFile],
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> Vec<AnswerRule> {
    let compile = |(n, rule): (usize, &RuleFile)| {
        let place = place.item(n);
        let when = place.key("when").check(Condition::compile(&rule.when, known));
        let code = rule
            .code
            .as_ref()
            .and_then(|code| place.key("code").check(TextTemplate::compile(code, known)));
        Some(AnswerRule { when: when?, outcome: rule.r#as.into(), code })
    };
    rules.iter().enumerate().filter_map(compile).collect()
}

/// Compiles the places of errors in an answer.
pub(super) fn error_mapping(
    file: &ErrorFile,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> ErrorMapping {
    let text = |key: &str, source: Option<&String>| {
        place.key(key).check(TextTemplate::compile(source?, known))
    };
    ErrorMapping {
        code: text("code", file.code.as_ref()),
        message: text("message", file.message.as_ref()),
        details: file
            .details
            .as_ref()
            .and_then(|tree| TreeTemplate::compile(tree, known, &place.key("details"))),
    }
}
