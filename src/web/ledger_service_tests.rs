use lapin::types::ShortString;

use ferryd_broker::message::get_text;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{RecordId, Step};
use ferryd_domain::ledger::ruling::{DecidedCommand, Ruling, RulingGrant, TooLate};
use ferryd_domain::ledger::transition::StateTransition;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::outcome::{Failure, Success};

use super::super::command_submission::{follow, is_taken_up, message};
use super::*;

fn submission(provider: &str) -> CommandSubmission {
    let body = format!(
        r#"{{"id":"order-1","type":"payment","provider":"{provider}","operation":"charge"}}"#
    );
    let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
    let trace =
        TraceContext { parent: Some("00-a-b-01".to_owned()), state: Some("x=y".to_owned()) };
    CommandSubmission {
        command,
        provider: "stripe".parse().unwrap(),
        body: body.into(),
        trace,
        by: "api:shop".to_owned(),
    }
}

fn event(kind: EventKind) -> Event {
    let submission = submission("stripe");
    let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
    Event::new(
        submission.command.identity(&submission.provider),
        moment,
        kind,
        TraceContext::default(),
    )
}

#[test]
fn a_submitted_command_is_a_message_like_any_other() {
    let names = TopologyNames::new("ferry".parse().unwrap());
    for (provider, key) in [("stripe", "payment.stripe.charge"), ("any", "payment.any.charge")] {
        let submission = submission(provider);
        let body = submission.body.clone();
        let message = message(&names, Some("ferryd"), submission).unwrap();
        assert_eq!(
            (message.exchange.as_str(), message.routing_key.as_str()),
            ("ferry.commands", key)
        );
        assert_eq!(message.body, body);
        assert_eq!(message.properties.user_id().as_ref().map(ShortString::as_str), Some("ferryd"));
        let headers = message.properties.headers().as_ref();
        assert_eq!(
            (get_text(headers, "traceparent"), get_text(headers, "tracestate")),
            (Some("00-a-b-01"), Some("x=y"))
        );
        let envelope = CommandEnvelope { routing_key: Some(key), ..CommandEnvelope::default() };
        assert!(Command::decode(&message.body, envelope).is_ok(), "its lane takes it");
        assert_eq!(*message.properties.delivery_mode(), Some(2));
        assert_eq!(
            message.properties.message_id().as_ref().map(ShortString::as_str),
            Some("order-1")
        );
    }
}

#[test]
fn the_ledger_decides_what_becomes_of_a_command() {
    let by = RecordId { writer: uuid::Uuid::nil(), number: 1 };
    let completed = || event(EventKind::Completed(Success::default()));
    let unsettled = |event: Event| {
        let effects = RecordedEffects { event: event.into(), publish_event: true, message: None };
        Ruling::Unsettled(Box::new(DecidedCommand { by, effects, replies: Vec::new() }))
    };
    let ended = || Some(SubmitResult::Ended(completed().into()));
    let retry = event(EventKind::Pending {
        due: Timestamp::UNIX_EPOCH,
        failure: Failure::new("timeout", "no answer"),
    });
    assert_eq!(retry.data.state, LifecycleState::Pending);
    for (ruling, expected) in [
        (Ruling::Counts(RulingGrant::default()), None),
        (Ruling::Cancelled(Actor { by: "ann".to_owned(), reason: None }), None),
        (Ruling::Ended(completed().into()), ended()),
        (unsettled(completed()), ended()),
        (unsettled(retry), Some(SubmitResult::UnderWay)),
        (Ruling::Superseded, Some(SubmitResult::UnderWay)),
        (Ruling::Claimed { claim: by, ttl_ms: 1 }, Some(SubmitResult::UnderWay)),
        (Ruling::ContentConflict, Some(SubmitResult::OtherContent)),
        (Ruling::Blocked("frozen".to_owned()), Some(SubmitResult::Blocked("frozen".to_owned()))),
        (Ruling::TooLate(TooLate::Failed), Some(SubmitResult::UnderWay)),
    ] {
        assert_eq!(follow(ruling.clone()), expected, "{ruling:?}");
    }
}

fn case(history: &[(&str, i64)]) -> CommandState {
    let transition = |(reason, second): &(&str, i64)| StateTransition {
        at: Timestamp::from_second(*second).unwrap(),
        state: LifecycleState::Pending,
        step: Step::call(0, 1),
        reason: (*reason).to_owned(),
        detail: None,
        until: None,
    };
    let mut slot = None;
    CommandState::block(&mut slot, "x");
    CommandState { history: history.iter().map(transition).collect(), ..slot.unwrap() }
}

#[test]
fn a_command_is_taken_up_once_somebody_had_its_message_in_hand() {
    for (history, taken_up) in [
        (&[][..], false),
        (&[("submitted", 1)], false),
        (&[("cancel_requested", 1), ("submitted", 2)], false),
        (&[("submitted", 1), ("early", 2)], true),
        (&[("submitted", 1), ("started", 2)], true),
        (&[("started", 1), ("timeout", 2), ("submitted", 3)], true),
    ] {
        assert_eq!(is_taken_up(&case(history)), taken_up, "{history:?}");
    }
}

#[test]
fn calls_are_looked_for_where_calls_were_made() {
    let history =
        [("submitted", 1), ("started", 10), ("timeout", 12), ("started", 70), ("completed", 71)];
    let windows = |history: &[(&str, i64)]| {
        CallWindow::of_calls(&case(history), Timestamp::from_second(99).unwrap())
    };
    let spans: Vec<_> = windows(&history)
        .iter()
        .map(|window| (window.from.as_second(), window.to.as_second()))
        .collect();
    assert_eq!(spans, [(10, 12), (70, 71)]);
    let running = windows(&[("started", 10)]);
    assert_eq!(running[0].to.as_second(), 99, "a call that runs is looked for until now");
    assert!(windows(&[("submitted", 1)]).is_empty());
}

#[test]
fn calls_are_searched_for_where_the_provider_was_queried_and_otherwise_within_the_last_day() {
    let now = Timestamp::from_second(900_000).unwrap();
    let table = [
        (
            vec![("started", 10), ("waiting", 12), ("completed", 500_000)],
            (500_000 - 86_400, 500_000),
        ),
        (vec![("started", 10), ("waiting", 12), ("completed", 500)], (12, 500)),
        (vec![("started", 10), ("lookup", 40), ("retry", 200), ("started", 205)], (40, 200)),
        (vec![("started", 10), ("waiting", 12)], (900_000 - 86_400, 900_000)),
    ];
    for (history, expected) in table {
        let window = CallWindow::of_calls(&case(&history), now)[1];
        assert_eq!((window.from.as_second(), window.to.as_second()), expected, "{history:?}");
    }
}
