use std::sync::OnceLock;

use super::*;
use crate::domain::command::Envelope;
use crate::domain::inquiry::{Inquiry, Purpose};
use crate::domain::ledger::record::{Fact, Record, RecordId, Started};

pub(in crate::pipeline) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A message whose only call ended unknown.
pub(in crate::pipeline) fn parcel(inquiry: Option<Inquiry>) -> Parcel {
    let mut travel = Travel::fresh(at(0));
    travel.progress.suspect(at(0));
    travel.progress.inquiry = inquiry;
    Parcel {
        body: Vec::new(),
        properties: BasicProperties::default(),
        identity: Identity::glean(&serde_json::json!({ "id": "order-1" }), b"", Envelope::default()),
        travel,
        trace: Trace::default(),
        expires_at: None,
        fresh: false,
        redelivered: false,
        asked: None,
        opening: OnceLock::new(),
    }
}

/// A command whose call was begun.
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
    let question = Inquiry { number: 3, purpose: Purpose::Lookup, due: at(0), tried: 0 };
    assert_eq!(parcel(Some(question)).step(), Step { generation: 0, attempt: 1, inquiry: 3 });
    assert_eq!(parcel(None).step(), Step::call(0, 1));
}
