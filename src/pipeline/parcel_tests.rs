use std::sync::OnceLock;

use super::*;
use ferryd_domain::command::Envelope;
use ferryd_domain::inquiry::{Inquiry, Purpose};
use ferryd_domain::ledger::record::{Fact, Record, RecordId, Started};

pub(in crate::pipeline) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Builds a message whose only call ended unknown.
pub(in crate::pipeline) fn parcel(inquiry: Option<Inquiry>) -> Parcel {
    let mut travel = Travel::fresh(at(0));
    travel.progress.suspect(at(0));
    travel.progress.inquiry = inquiry;
    Parcel {
        body: Vec::new(),
        properties: BasicProperties::default(),
        identity: Identity::glean(&serde_json::json!({ "id": "order-1" }), b"", Envelope::default()),
        travel,
        source: ProgressSource::Headers,
        trace: Trace::default(),
        expires_at: None,
        fresh: false,
        redelivered: false,
        asked: None,
        opening: OnceLock::new(),
    }
}

/// Builds the recorded state of a command whose call was begun.
fn begun(guard: Guard) -> Case {
    let parcel = parcel(None);
    let started = Started {
        step: parcel.step(),
        opening: Some(parcel.opening().clone()),
        fresh: true,
        recorded: false,
        guard,
        redelivered: false,
        waited_out: None,
        unknown: true,
        key: None,
        digest: "d".to_owned(),
        token: None,
        money: None,
        first_sent: None,
    };
    let (mut slot, id) = (None, RecordId { writer: uuid::Uuid::nil(), number: 1 });
    let record = Record { at: at(0), command: parcel.identity.id, fact: Fact::Started(Box::new(started)) };
    Case::rule(&mut slot, id, &record);
    slot.unwrap()
}

#[test]
fn how_long_nothing_is_proved_does_not_count_from_before_a_call_that_nobody_answers_for() {
    for (guard, since) in [(Guard::Key(9), None), (Guard::Claim(9), Some(at(0))), (Guard::Harmless, Some(at(0)))] {
        let mut parcel = parcel(None);
        parcel.recall(&begun(guard));
        assert!(parcel.travel.progress.unknown);
        assert_eq!(parcel.travel.progress.unknown_since, since, "{guard:?}");
    }
}

#[test]
fn a_message_that_asks_is_at_a_step_of_its_own() {
    let question = Inquiry::new(3, Purpose::Lookup, at(0));
    assert_eq!(parcel(Some(question)).step(), Step { generation: 0, attempt: 1, inquiry: 3 });
    assert_eq!(parcel(None).step(), Step::call(0, 1));
}

/// Builds an operation whose keys have so many characters at most; with 0, one without keys.
fn operation(longest_key: usize) -> Operation {
    let retention = std::time::Duration::from_hours(24);
    Operation {
        idempotency: (longest_key > 0).then_some(Idempotency { retention, max_length: Some(longest_key) }),
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
fn a_message_without_a_key_has_the_one_of_before_and_none_is_changed_once_it_was_sent() {
    let (keyed, short, none) = (255, 36, 0);
    let long = format!("{}~1", "x".repeat(36));
    let uuid = "b4392a3b-7d39-5e9b-96ad-1960c08ea059";
    for (generation, named, is_sent, takes, expected) in [
        (0, None, false, keyed, Some("order-1")),
        (0, None, true, keyed, Some("order-1")),
        (1, None, false, keyed, Some("order-1.g1")),
        (2, None, true, keyed, Some("order-1.g2")),
        (1, Some("order-1~1"), false, keyed, Some("order-1~1")),
        (1, Some("order-1.g1"), true, keyed, Some("order-1.g1")),
        (1, Some("order-1"), true, keyed, Some("order-1")),
        (1, Some(long.as_str()), false, short, Some(uuid)),
        (1, Some(long.as_str()), true, short, Some(long.as_str())),
        (1, Some("order-1~1"), false, none, None),
        (1, Some("order-1~1"), true, none, Some("order-1~1")),
        (1, None, false, none, None),
        (1, None, true, none, None),
    ] {
        let mut parcel = parcel(None);
        parcel.travel.progress.generation = generation;
        parcel.travel.progress.key = named.map(IdempotencyKey::from_header);
        parcel.travel.progress.first_sent = is_sent.then(|| at(0));
        parcel.settle_key(&operation(takes));
        let settled = parcel.travel.progress.key.as_ref().map(IdempotencyKey::as_str);
        assert_eq!(settled, expected, "{generation} {named:?} {is_sent} {takes}");
        parcel.settle_key(&operation(takes));
        assert_eq!(parcel.travel.progress.key.as_ref().map(IdempotencyKey::as_str), expected, "settled twice");
    }
}
