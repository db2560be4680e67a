use proptest::prelude::*;

use super::*;
use crate::command::{Command, CommandEnvelope};

fn identity() -> EncodedIdentity {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","reference":"r-1"}"#;
    let command = Command::decode(body, CommandEnvelope::default()).unwrap();
    command.identity(&"stripe".parse().unwrap())
}

fn moment(attempt: u32) -> EventMoment {
    EventMoment { generation: 0, attempt, at: Timestamp::from_second(1_800_000_000).unwrap() }
}

fn event(attempt: u32, kind: EventKind) -> Event {
    let trace = TraceContext {
        parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        state: None,
    };
    Event::new(identity(), moment(attempt), kind, trace)
}

#[test]
fn a_completed_event_is_final_and_carries_the_result() {
    let success = Success {
        result: Some(serde_json::json!({"id": "pi_1"})),
        provider_reference: Some("pi_1".to_owned()),
        warnings: vec!["result.card: no such field".to_owned()],
        http_status: Some(200),
    };
    insta::assert_json_snapshot!(
        serde_json::to_value(event(1, EventKind::Completed(success))).unwrap()
    );
}

#[test]
fn a_failed_event_says_why_and_whether_an_operator_can_help() {
    let failure = Failure { http_status: Some(401), ..Failure::new("unauthorized", "bad key") };
    insta::assert_json_snapshot!(
        serde_json::to_value(event(2, EventKind::Failed(FailureKind::Rejected, failure))).unwrap()
    );
}

#[test]
fn a_failure_is_final_exactly_when_it_leaves_no_dead_letter() {
    for kind in FailureKind::ALL {
        let data = event(1, EventKind::Failed(kind, Failure::default())).data;
        assert_eq!(data.r#final, !kind.dead_letters(), "{kind:?}");
        assert_eq!(data.error.unwrap().dead_lettered, kind.dead_letters(), "{kind:?}");
    }
}

#[test]
fn a_query_is_noted_under_the_state_that_the_command_stays_in() {
    let due = Timestamp::from_second(1_800_000_060).unwrap();
    for (accepted, failure, state) in [
        (true, None, LifecycleState::Waiting),
        (true, Some(Failure::new("http_500", "trouble")), LifecycleState::Waiting),
        (false, Some(Failure::new("timeout", "no answer")), LifecycleState::Processing),
    ] {
        let data = event(1, EventKind::Querying { accepted, due, failure: failure.clone() }).data;
        assert_eq!((data.state, data.next_attempt_at, data.r#final), (state, Some(due), false));
        let reported = data.error.map(|error| (error.kind, error.code, error.dead_lettered));
        assert_eq!(reported, failure.map(|failure| (None, failure.code, false)));
    }
}

#[test]
fn routing_key_and_id_name_the_step() {
    let event = event(3, EventKind::Processing);
    assert_eq!(event.routing_key(), "payment.stripe.charge.processing");
    assert_eq!(event.id, "order-1/0/3/processing");
}

#[test]
fn a_refused_message_is_published_under_its_own_id_and_below_every_event_of_the_command() {
    let refuse = |known: &mut EchoedIdentity| known.id = known.id.for_refused(&[b"{}"]);
    let refused = identity().with_changes(refuse);
    let failed = |kind, attempt| {
        Event::new(
            refused.clone(),
            moment(attempt),
            EventKind::Failed(kind, Failure::default()),
            TraceContext::default(),
        )
    };
    let event = failed(FailureKind::Invalid, 1);
    assert_eq!(event.id, refused.id.as_str());
    assert_eq!((event.subject.as_str(), &event.data.command), ("order-1", &identity()));
    assert_eq!(event.routing_key(), "payment.stripe.charge.failed");
    assert!(
        event.data.sequence < sequence(0, 1, LifecycleState::Pending),
        "the lowest of a command"
    );
    let discarded = failed(FailureKind::Discarded, 2);
    assert_eq!(discarded.id, format!("{}/discarded", refused.id));
    assert_eq!(discarded.data.sequence, event.data.sequence);
}

#[test]
fn a_message_without_names_is_published_under_the_word_unknown() {
    let identity = EchoedIdentity::glean_identity(&Value::Null, b"?", CommandEnvelope::default());
    let event = Event::new(
        identity,
        moment(0),
        EventKind::Failed(FailureKind::Invalid, Failure::default()),
        TraceContext::default(),
    );
    assert_eq!(event.routing_key(), "unknown.unknown.unknown.failed");
    assert_eq!(event.source, "/ferryd/unknown");
}

proptest! {
    #[test]
    fn the_sequence_grows_by_generation_then_attempt_then_state(
        a in (0_u32..1 << 20, 0_u32..1 << 19, 0_usize..5), b in (0_u32..1 << 20, 0_u32..1 << 19, 0_usize..5),
    ) {
        let number = |(generation, attempt, state): (u32, u32, usize)| sequence(generation, attempt, LifecycleState::ALL[state]);
        prop_assert_eq!(a.cmp(&b), number(a).cmp(&number(b)));
        prop_assert!(number(a) < 1 << 53);
    }
}

#[test]
fn a_trace_context_is_passed_on_up_to_the_sizes_of_the_standard_and_left_out_beyond() {
    let long = |bytes: usize| "x".repeat(bytes);
    for (parent, state, kept) in [
        (55, 512, (true, true)),
        (55, 513, (true, false)),
        (55, 130_000, (true, false)),
        (56, 512, (false, false)),
        (130_000, 1, (false, false)),
    ] {
        let (parent, state) = (long(parent), long(state));
        let trace = TraceContext::from_headers(Some(&parent), Some(&state));
        assert_eq!(
            (trace.parent.is_some(), trace.state.is_some()),
            kept,
            "{} {}",
            parent.len(),
            state.len()
        );
    }
    assert_eq!(
        TraceContext::from_headers(None, Some("a=b")),
        TraceContext::default(),
        "a state without its parent means nothing"
    );
}
