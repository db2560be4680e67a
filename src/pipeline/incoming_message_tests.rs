use std::sync::OnceLock;

use super::*;
use ferryd_domain::command::CommandEnvelope;
use ferryd_domain::ledger::record::{Record, RecordBody, RecordId, StartedRecord};
use ferryd_domain::query::{ProviderQuery, QueryPurpose};

pub(in crate::pipeline) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Builds a message whose only call ended unknown.
pub(in crate::pipeline) fn build_message(query: Option<ProviderQuery>) -> IncomingMessage {
    let mut state = MessageState::fresh(at(0));
    state.progress.mark_unknown(at(0));
    state.progress.query = query;
    IncomingMessage {
        body: Vec::new(),
        properties: BasicProperties::default(),
        identity: EchoedIdentity::glean_identity(
            &serde_json::json!({ "id": "order-1" }),
            b"",
            CommandEnvelope::default(),
        )
        .into(),
        state,
        source: ProgressSource::Headers,
        trace: TraceContext::default(),
        expires_at: None,
        fresh: false,
        redelivered: false,
        reply_target: None,
        command_identity: OnceLock::new(),
    }
}

/// Builds the recorded state of a command whose call was begun.
fn begun(guard: CallGuard) -> CommandState {
    let message = build_message(None);
    let started = StartedRecord {
        step: message.step(),
        identity: Some(message.command_identity().clone()),
        fresh: true,
        recorded: false,
        guard,
        redelivered: false,
        expired_claim: None,
        unknown: true,
        key: None,
        request_digest: "d".to_owned(),
        token: String::new(),
        money: None,
        first_sent: None,
    };
    let (mut slot, id) = (None, RecordId { writer: uuid::Uuid::nil(), number: 1 });
    let record = Record {
        at: at(0),
        command: message.identity.id.clone(),
        fact: RecordBody::Started(Box::new(started)),
    };
    CommandState::apply_record(&mut slot, id, &record);
    slot.unwrap()
}

#[test]
fn how_long_nothing_is_proved_does_not_count_from_before_a_call_that_nobody_answers_for() {
    for (guard, since) in [
        (CallGuard::Key(9), None),
        (CallGuard::Claim(9), Some(at(0))),
        (CallGuard::ReadOnly, Some(at(0))),
    ] {
        let mut message = build_message(None);
        message.merge_recorded(&begun(guard));
        assert!(message.state.progress.unknown);
        assert_eq!(message.state.progress.unknown_since, since, "{guard:?}");
    }
}

#[test]
fn a_message_that_asks_is_at_a_step_of_its_own() {
    let query = ProviderQuery::new(3, QueryPurpose::Lookup, at(0));
    assert_eq!(build_message(Some(query)).step(), Step { generation: 0, attempt: 1, query: 3 });
    assert_eq!(build_message(None).step(), Step::call(0, 1));
}

/// Builds an operation whose keys have so many characters at most; with 0, one without keys.
fn operation(longest_key: usize) -> Operation {
    let retention = std::time::Duration::from_hours(24);
    Operation {
        idempotency: (longest_key > 0)
            .then_some(IdempotencyPolicy { retention, max_length: Some(longest_key) }),
        timeout: std::time::Duration::from_secs(30),
        retry: ferryd_domain::retry::RetryPolicy::default(),
        deadline: std::time::Duration::from_hours(1),
        poll: None,
        lookup: None,
        payload: ferryd_provider::PayloadSchema::any(),
        repeatable: false,
    }
}

#[test]
fn a_message_without_a_key_has_that_of_its_generation_and_none_is_changed_once_it_was_sent() {
    let (keyed, short, none) = (255, 36, 0);
    let long = format!("{}~1", "x".repeat(36));
    let uuid = "b4392a3b-7d39-5e9b-96ad-1960c08ea059";
    for (generation, named, is_sent, takes, expected) in [
        (0, None, false, keyed, Some("order-1")),
        (0, None, true, keyed, Some("order-1")),
        (1, None, false, keyed, Some("order-1~1")),
        (2, None, true, keyed, Some("order-1~2")),
        (1, Some("order-1~1"), false, keyed, Some("order-1~1")),
        (2, Some("order-1~1"), true, keyed, Some("order-1~1")),
        (1, Some("order-1"), true, keyed, Some("order-1")),
        (1, Some(long.as_str()), false, short, Some(uuid)),
        (1, Some(long.as_str()), true, short, Some(long.as_str())),
        (1, Some("order-1~1"), false, none, None),
        (1, Some("order-1~1"), true, none, Some("order-1~1")),
        (1, None, false, none, None),
        (1, None, true, none, None),
    ] {
        let mut message = build_message(None);
        message.state.progress.generation = generation;
        message.state.progress.key = named.map(IdempotencyKey::from_header);
        message.state.progress.first_sent = is_sent.then(|| at(0));
        message.settle_key(&operation(takes));
        let settled = message.state.progress.key.as_ref().map(IdempotencyKey::as_str);
        assert_eq!(settled, expected, "{generation} {named:?} {is_sent} {takes}");
        message.settle_key(&operation(takes));
        assert_eq!(
            message.state.progress.key.as_ref().map(IdempotencyKey::as_str),
            expected,
            "settled twice"
        );
    }
}
