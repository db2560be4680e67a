use std::time::Duration;

use lapin::types::LongString;
use proptest::prelude::*;

use super::*;
use crate::copied_properties::LARGEST_HEADERS;
use crate::message::put_text;
use ferryd_domain::outcome::{Failure, Outcome};
use ferryd_domain::progress::AttemptSummary;

fn travel(unknown: bool, key: Option<&str>) -> MessageState {
    let mut progress =
        GenerationProgress::of_generation(2, Timestamp::from_second(1_800_000_000).unwrap());
    progress.attempt = 3;
    progress.unknown = unknown;
    progress.key = key.map(IdempotencyKey::from_header);
    progress.first_sent = key.map(|_| Timestamp::from_millisecond(1_800_000_000_123).unwrap());
    progress.record_attempt(AttemptSummary::new(
        2,
        progress.since,
        Duration::from_millis(12),
        &Outcome::Unknown(Failure::new("timeout", "no answer")),
    ));
    let routing_key = Some("payment.stripe.charge".to_owned());
    let expired_claim = key.map(|_| "6f3c9f2e-7d0b-4c55-9a31-f0e25d7a61c4.12".parse().unwrap());
    let publisher = key.map(|_| "shop".to_owned());
    MessageState {
        progress,
        hop: 7,
        routing_key,
        extended_to: None,
        recorded: unknown,
        expired_claim,
        publisher,
        unchecked: !unknown,
    }
}

fn written(state: &MessageState) -> FieldTable {
    add_own_headers(BasicProperties::default(), &state.headers(ContinuationKind::Retry))
        .headers()
        .clone()
        .unwrap()
}

fn time(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap()
}

/// Builds the state of a command that waits for a query.
fn waiting_for_query(purpose: QueryPurpose) -> MessageState {
    let mut state = travel(true, Some("k"));
    state.progress.unknown_since = Some(time(1_800_000_001_001));
    state.progress.deadline = Some(time(1_800_000_900_000));
    state.progress.provider_reference = Some("pi_1 ü".to_owned());
    state.progress.query =
        Some(ProviderQuery { tried: 2, ..ProviderQuery::new(4, purpose, time(1_800_000_060_500)) });
    state
}

#[test]
fn progress_survives_the_way_through_a_queue() {
    let waiting = [QueryPurpose::Poll, QueryPurpose::Lookup].map(waiting_for_query);
    for state in [travel(true, Some("k")), travel(false, None)].into_iter().chain(waiting) {
        assert_eq!(MessageState::read(Some(&written(&state))).unwrap(), state);
    }
}

#[test]
fn a_query_that_cannot_be_read_is_not_taken_for_a_call() {
    let broken = [
        (PURPOSE, AMQPValue::LongString("refund".into())),
        (PURPOSE, AMQPValue::LongString("".into())),
        (PURPOSE, AMQPValue::LongLongInt(1)),
        (QUERY, AMQPValue::LongLongInt(-1)),
        (QUERY, AMQPValue::Void),
        (NOT_BEFORE, AMQPValue::LongString("soon".into())),
        (NOT_BEFORE, AMQPValue::Void),
        (DEADLINE, AMQPValue::LongString("never".into())),
        (UNKNOWN_SINCE, AMQPValue::LongString("once".into())),
        (PLANNED_PURPOSE, AMQPValue::LongString("refund".into())),
        (PLANNED_PURPOSE, AMQPValue::LongString("poll".into())),
    ];
    for (name, value) in broken {
        let mut headers = written(&waiting_for_query(QueryPurpose::Lookup));
        headers.insert(name.into(), value.clone());
        assert_eq!(MessageState::read(Some(&headers)), None, "{name} {value:?}");
    }
}

#[test]
fn headers_without_a_query_lead_to_the_next_call() {
    let state = travel(true, Some("k"));
    let headers = written(&state);
    for name in [PURPOSE, QUERY, NOT_BEFORE, TRIED, DEADLINE, REFERENCE, UNKNOWN_SINCE] {
        assert!(!headers.contains_key(name), "{name}");
    }
    let mut incomplete = written(&waiting_for_query(QueryPurpose::Poll));
    incomplete.insert(TRIED.into(), AMQPValue::Void);
    assert_eq!(MessageState::read(Some(&incomplete)).unwrap().progress.query.unwrap().tried, 0);
}

#[test]
fn an_early_query_keeps_the_planned_query_however_often_one_is_requested() {
    for purpose in [QueryPurpose::Poll, QueryPurpose::Lookup] {
        let waits = waiting_for_query(purpose);
        let query = waits.progress.query.unwrap();
        let planned = PlannedQuery { purpose, due: query.due, tried: query.tried };
        let mut headers = waits.headers(purpose.into());
        for (second, wanted) in [(1_800_000_000, Some(QueryPurpose::Lookup)), (1_800_000_007, None)]
        {
            let now = Timestamp::new(second, 400_000_000).unwrap();
            let together = Timestamp::new(second, 999_999_999).unwrap();
            assert_eq!(
                early_query_headers(&headers, wanted, now),
                early_query_headers(&headers, wanted, together),
                "they are one"
            );
            headers = early_query_headers(&headers, wanted, now);
            let table =
                add_own_headers(BasicProperties::default(), &headers).headers().clone().unwrap();
            let read = MessageState::read(Some(&table)).unwrap().progress.query.unwrap();
            let due = Timestamp::from_second(second + 1).unwrap();
            let fresh = ProviderQuery::new(query.number, wanted.unwrap_or(purpose), due);
            assert_eq!(read, ProviderQuery { planned: Some(planned), ..fresh });
        }
    }
}

#[test]
fn the_kind_of_a_message_with_a_query_is_its_purpose() {
    for purpose in [QueryPurpose::Poll, QueryPurpose::Lookup] {
        assert_eq!(ContinuationKind::from(purpose).as_str(), purpose.as_str());
    }
}

#[test]
fn a_header_that_is_missing_or_broken_where_money_depends_on_it_makes_the_whole_unreadable() {
    for name in [GENERATION, ATTEMPT, SINCE, UNKNOWN] {
        let headers = written(&travel(true, Some("k")));
        let without: FieldTable = headers
            .inner()
            .iter()
            .filter(|(key, _)| key.as_str() != name)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into();
        assert_eq!(MessageState::read(Some(&without)), None, "{name}");
    }
    let mut headers = written(&travel(true, Some("k")));
    put_text(&mut headers, FIRST_SENT, "yesterday");
    assert_eq!(MessageState::read(Some(&headers)), None);
    for name in [
        UNKNOWN,
        RECORDED,
        KEY,
        DIGEST,
        FIRST_SENT,
        UNKNOWN_SINCE,
        DEADLINE,
        REFERENCE,
        PURPOSE,
        EXTENDED_TO,
    ] {
        let mut headers = written(&travel(true, Some("k")));
        headers.insert(name.into(), AMQPValue::ByteArray(b"true"[..].into()));
        assert_eq!(MessageState::read(Some(&headers)), None, "{name} of another type");
    }
    assert_eq!(MessageState::read(None), None);
}

#[test]
fn a_copy_keeps_what_is_the_publishers_and_loses_what_would_misroute_or_expire_it() {
    let mut headers = FieldTable::default();
    let long = |text: &str| AMQPValue::LongString(LongString::from(text));
    for name in ["traceparent", "tenant", "x-mine"] {
        headers.insert(name.into(), long("kept"));
    }
    for name in [
        "CC",
        "BCC",
        "x-death",
        "x-first-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "ferry-key",
    ] {
        headers.insert(name.into(), long("stripped"));
    }
    let original = BasicProperties::default()
        .with_message_id("m".into())
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_content_type("application/json".into())
        .with_expiration("1000".into())
        .with_user_id("shop".into())
        .with_delivery_mode(1)
        .with_headers(headers);
    let copy = carried_properties(&original);
    let kept: Vec<_> =
        copy.headers().as_ref().unwrap().inner().keys().map(ToString::to_string).collect();
    assert_eq!(kept, ["tenant", "traceparent", "x-mine"]);
    assert_eq!((copy.expiration(), copy.user_id(), *copy.delivery_mode()), (&None, &None, Some(2)));
    assert_eq!(copy.message_id().as_ref().unwrap().as_str(), "m");
    assert_eq!(copy.reply_to().as_ref().unwrap().as_str(), "r");
    assert_eq!(copy.correlation_id().as_ref().unwrap().as_str(), "c");
}

#[test]
fn headers_too_large_to_travel_beside_ferryds_own_are_left_out_but_for_the_trace() {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(LongString::from("00-a-b-01")));
    headers.insert(
        "large".into(),
        AMQPValue::LongString(LongString::from("x".repeat(LARGEST_HEADERS))),
    );
    let copy = carried_properties(&BasicProperties::default().with_headers(headers));
    let kept: Vec<_> =
        copy.headers().as_ref().unwrap().inner().keys().map(ToString::to_string).collect();
    assert_eq!(kept, ["traceparent"]);
}

#[test]
fn the_brokers_stamp_wins_over_the_publishers() {
    let publisher = BasicProperties::default().with_timestamp(1_700_000_000);
    assert_eq!(stamped_at(&publisher).unwrap().as_second(), 1_700_000_000);
    let mut headers = FieldTable::default();
    headers.insert("timestamp_in_ms".into(), AMQPValue::LongLongInt(1_800_000_000_000));
    assert_eq!(stamped_at(&publisher.with_headers(headers)).unwrap().as_second(), 1_800_000_000);
    assert_eq!(stamped_at(&BasicProperties::default()), None);
}

proptest! {
    #[test]
    fn reading_any_header_values_never_panics(value in ".{0,40}", integer in any::<i64>()) {
        let mut headers = written(&travel(true, Some("k")));
        for name in [SINCE, HISTORY, FIRST_SENT, EXTENDED_TO] {
            put_text(&mut headers, name, &value);
        }
        headers.insert(GENERATION.into(), AMQPValue::LongLongInt(integer));
        let _ = MessageState::read(Some(&headers));
    }

    #[test]
    fn every_query_survives_the_way_through_a_queue(
        (number, tried, early, poll, is_early) in any::<(u32, u32, u32, bool, bool)>(),
        due in 0_i64..4_000_000_000_000, reference in ".{0,40}",
    ) {
        let mut state = waiting_for_query(if poll { QueryPurpose::Poll } else { QueryPurpose::Lookup });
        let purpose = state.progress.query.unwrap().purpose;
        let planned = is_early.then(|| PlannedQuery { purpose, due: time(due / 2), tried: early });
        state.progress.query = Some(ProviderQuery { number, purpose, due: time(due), tried, early, planned });
        state.progress.deadline = poll.then(|| time(due));
        state.progress.provider_reference = Some(reference);
        prop_assert_eq!(MessageState::read(Some(&written(&state))), Some(state));
    }
}

#[test]
fn only_the_latest_death_says_whether_a_message_died_of_age() {
    let death = |reason: &str| {
        let mut entry = FieldTable::default();
        put_text(&mut entry, "reason", reason);
        AMQPValue::FieldTable(entry)
    };
    for (reasons, aged) in [
        (["expired", "delivery_limit"].as_slice(), true),
        (&["delivery_limit", "expired"], false),
        (&["rejected"], false),
        (&[], false),
    ] {
        let deaths: Vec<_> = reasons.iter().map(|reason| death(reason)).collect();
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        assert_eq!(
            died_of_age(&BasicProperties::default().with_headers(headers)),
            aged,
            "{reasons:?}"
        );
    }
    assert!(!died_of_age(&BasicProperties::default()));
}
