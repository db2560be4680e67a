//! Commands: a decoded command encodes to the same, and its digest covers content alone.

use serde_json::{Map, Number, Value};

use ferryd_domain::command::{
    ANY, Command, CommandBody, CommandEnvelope, EchoedIdentity, InvalidCommand, MAX_BODY,
};
use ferryd_domain::ledger::command_identity::content_digest;
use ferryd_domain::ledger::record::CommandIdentity;
use ferryd_domain::name::Name;

/// Every code under which a message is refused.
const CODES: [&str; 5] = ["too_large", "not_json", "invalid_field", "missing_id", "key_mismatch"];

pub(super) fn check(body: &[u8]) {
    let envelope = CommandEnvelope {
        routing_key: None,
        message_id: Some("message-1"),
        correlation_id: Some("reference-1"),
    };
    match Command::decode(body, envelope) {
        Ok(command) => taken(body, envelope, &command),
        Err(invalid) => refused(body, envelope, &invalid),
    }
}

fn refused(body: &[u8], envelope: CommandEnvelope<'_>, invalid: &InvalidCommand) {
    let code = invalid.failure.code.as_deref().unwrap_or_default();
    assert!(CODES.contains(&code), "{code}");
    assert_eq!(
        Command::decode(body, envelope).err().as_ref(),
        Some(invalid),
        "copies of a message are refused alike"
    );
    assert_survives(
        &CommandIdentity::for_refused(&(*invalid.identity).clone().into(), body).command,
    );
}

fn taken(body: &[u8], envelope: CommandEnvelope<'_>, command: &Command) {
    let provider = command.provider.clone().unwrap_or_else(|| command.kind.clone());
    let known = content_digest(command, &provider);
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    assert_eq!(
        EchoedIdentity::glean_identity(&value, body, envelope).id,
        command.id,
        "an id is read in one way"
    );
    assert_survives(&command.identity(&provider));

    let written = serde_json::to_value(body_of(command)).unwrap_or_default();
    let again = decoded(&written, envelope);
    assert_eq!(again.as_ref().unwrap_or(command), command, "what is decoded encodes to the same");
    assert!(
        again.is_some() || written.to_string().len() > MAX_BODY,
        "what is decoded encodes to a command"
    );

    if let Some(turned) = decoded(&reversed(&written), envelope) {
        assert_eq!(
            content_digest(&turned, &provider),
            known,
            "the order of keys and white space are no content"
        );
    }
    let mut labelled = command.clone();
    labelled.metadata.insert("label".to_owned(), "x".to_owned());
    labelled.reference = None;
    assert_eq!(
        content_digest(&labelled, &provider),
        known,
        "what no provider gets to see is no content"
    );

    let mut other = command.clone();
    altered(&mut other.payload);
    assert_ne!(content_digest(&other, &provider), known, "another payload is other content");
    under_its_key(body, envelope, command);
}

/// Checks that the routing key agrees with the body.
fn under_its_key(body: &[u8], envelope: CommandEnvelope<'_>, command: &Command) {
    let provider = command.provider.as_ref().map_or(ANY, Name::as_str);
    let key = format!("{}.{provider}.{}", command.kind, command.operation);
    let under = |key| Command::decode(body, CommandEnvelope { routing_key: Some(key), ..envelope });
    assert_eq!(under(&key).as_ref(), Ok(command));
    let code = under(&format!("{key}x")).err().and_then(|invalid| invalid.failure.code);
    assert_eq!(code.as_deref(), Some("key_mismatch"));
}

fn assert_survives(identity: &EchoedIdentity) {
    let written = serde_json::to_vec(identity).unwrap_or_default();
    let read: Option<EchoedIdentity> = serde_json::from_slice(&written).ok();
    assert_eq!(read.as_ref(), Some(identity), "an identity is read as it was written");
}

fn decoded(value: &Value, envelope: CommandEnvelope<'_>) -> Option<Command> {
    let text = serde_json::to_vec_pretty(value).unwrap_or_default();
    Command::decode(&text, envelope).ok()
}

/// Returns the command as a publisher would write it.
fn body_of(command: &Command) -> CommandBody {
    let Command { id, kind, provider, account, operation, reference, .. } = command.clone();
    CommandBody {
        id: id.as_str().parse().ok(),
        r#type: kind,
        provider,
        account: Some(account),
        operation,
        reference,
        not_before: command.not_before,
        expires_at: command.expires_at,
        payload: command.payload.clone(),
        metadata: command.metadata.clone(),
    }
}

/// Returns the same value, with the keys of its objects in the opposite order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
        other => other.clone(),
    }
}

/// Changes the first value of a payload.
fn altered(payload: &mut Map<String, Value>) {
    match payload.iter_mut().next() {
        Some((_, value)) => alter(value),
        None => {
            payload.insert("more".to_owned(), Value::Null);
        }
    }
}

fn alter(value: &mut Value) {
    match value {
        Value::Null => *value = Value::Bool(false),
        Value::Bool(truth) => *truth = !*truth,
        Value::Number(number) => *value = Value::Number(neighbour(number)),
        Value::String(text) => text.push('\0'),
        Value::Array(items) => match items.last_mut() {
            Some(item) => alter(item),
            None => items.push(Value::Null),
        },
        Value::Object(fields) => altered(fields),
    }
}

fn neighbour(number: &Number) -> Number {
    if let Some(whole) = number.as_i64() {
        return (whole ^ 1).into();
    }
    if let Some(whole) = number.as_u64() {
        return (whole ^ 1).into();
    }
    let next = number.as_f64().map(|fraction| f64::from_bits(fraction.to_bits() ^ 1));
    next.and_then(Number::from_f64).unwrap_or_else(|| 7.into())
}
