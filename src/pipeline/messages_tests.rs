use super::super::incoming_message::tests::{at, build_message};
use super::*;
use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::event::TraceContext;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Success, WaitingFor};
use ferryd_domain::query::{AcceptedCommand, ProviderQuery, QueryPurpose};

fn factory() -> MessageFactory {
    MessageFactory::new(
        TopologyNames::new("ferry".parse().unwrap()),
        LifecycleState::ALL,
        "host".to_owned(),
    )
}

fn build_query(purpose: QueryPurpose, second: i64) -> ProviderQuery {
    ProviderQuery::new(2, purpose, at(second))
}

/// Reads from the headers of a continuation how far it has come.
fn travel(message: &OutgoingMessage) -> MessageState {
    MessageState::read(message.properties.headers().as_ref()).unwrap()
}

#[test]
fn an_acceptance_is_published_and_goes_on_to_the_first_poll_with_its_deadline() {
    let (messages, message) = (factory(), build_message(None));
    let success = Success { provider_reference: Some("pi_1".to_owned()), ..Success::default() };
    let query = build_query(QueryPurpose::Poll, 100);
    let accepted = AcceptedCommand {
        success,
        waiting_for: WaitingFor::Provider,
        deadline: at(3_600),
        query,
        first: true,
    };
    let again = messages.recorded_effects(
        &message,
        1,
        Decision::Wait(Box::new(AcceptedCommand { first: false, ..accepted.clone() })),
        None,
        at(0),
    );
    assert!(!again.publish_event, "it is published once");
    let recorded =
        messages.recorded_effects(&message, 1, Decision::Wait(Box::new(accepted)), None, at(0));
    assert_eq!((&again.message, &again.event), (&recorded.message, &recorded.event));
    assert_eq!((recorded.publish_event, recorded.deadline()), (true, Some(at(3_600))));
    assert_eq!(recorded.event.data.next_attempt_at, Some(at(100)));
    let effects = messages.decision_effects(&message, &recorded, &[]);
    let [event, next] = &effects.messages[..] else { panic!("{effects:?}") };
    assert_eq!((event.exchange.as_str(), next.exchange.as_str()), ("ferry.events", "ferry.retry"));
    assert!(next.routing_key.as_str().starts_with("1m."), "{}", next.routing_key);
    let MessageState { progress, hop, .. } = travel(next);
    assert_eq!((progress.query, progress.deadline, hop), (Some(query), Some(at(3_600)), 1));
    assert_eq!(progress.provider_reference.as_deref(), Some("pi_1"));
}

#[test]
fn a_query_without_a_result_is_not_published_even_where_all_states_are() {
    let (messages, message) = (factory(), build_message(Some(build_query(QueryPurpose::Poll, 0))));
    for purpose in [QueryPurpose::Poll, QueryPurpose::Lookup] {
        let recorded = messages.recorded_effects(
            &message,
            1,
            Decision::Query(build_query(purpose, 45), None),
            None,
            at(0),
        );
        assert!(!recorded.publish_event);
        let effects = messages.decision_effects(&message, &recorded, &[]);
        let [next] = &effects.messages[..] else { panic!("{effects:?}") };
        assert!(next.routing_key.as_str().starts_with("30s."), "{}", next.routing_key);
        assert_eq!(travel(next).progress.query, Some(build_query(purpose, 45)));
    }
}

#[test]
fn a_lookup_says_since_when_a_call_is_in_doubt() {
    let mut message = build_message(None);
    for (since, expected) in [(Some(at(-60)), at(-60)), (None, at(0))] {
        message.state.progress.unknown_since = since;
        let recorded = factory().recorded_effects(
            &message,
            1,
            Decision::Query(build_query(QueryPurpose::Lookup, 45), None),
            None,
            at(0),
        );
        let next = factory().decision_effects(&message, &recorded, &[]).messages.remove(0);
        assert_eq!(travel(&next).progress.unknown_since, Some(expected));
    }
}

#[test]
fn a_retry_after_a_lookup_is_up_for_a_call() {
    let message = build_message(Some(build_query(QueryPurpose::Lookup, 0)));
    let decision = Decision::Retry {
        rung: Rung::SHORTEST,
        due: at(1),
        failure: Failure::new("not_found", "none"),
    };
    let recorded = factory().recorded_effects(&message, 1, decision, None, at(0));
    assert_eq!(recorded.deadline(), None);
    let next = factory().decision_effects(&message, &recorded, &[]).messages.remove(1);
    let progress = travel(&next).progress;
    assert_eq!((progress.attempt, progress.query), (2, None));
}

#[test]
fn an_end_that_was_left_unpublished_is_published_as_it_would_have_been() {
    let (factory, message) = (factory(), build_message(None));
    let by = RecordId { writer: uuid::Uuid::nil(), number: 7 };
    let replies = vec![ReplyTarget { reply_to: "answers".to_owned(), correlation_id: None }];
    let recorded =
        factory.recorded_effects(&message, 1, Decision::Complete(Success::default()), None, at(0));
    let decided = DecidedCommand { by, effects: recorded.clone(), replies };
    let published = factory.recovered_ending(&decided);
    assert_eq!(published.messages, factory.decision_effects(&message, &recorded, &[]).messages);
    assert_eq!((published.settles, published.replies.len()), (Some(by), 1));
    // The events of its state are not published, so the decision is only settled and answered.
    let unpublished =
        DecidedCommand { effects: RecordedEffects { publish_event: false, ..recorded }, ..decided };
    assert_eq!(
        factory.recovered_ending(&unpublished),
        Effects { messages: Vec::new(), ..published }
    );
}

#[test]
fn the_end_of_a_command_that_came_after_it_has_the_names_that_it_came_with() {
    let (messages, message) = (factory(), build_message(None));
    let moment = EventMoment { generation: 0, attempt: 1, at: at(0) };
    let kind =
        EventKind::Failed(FailureKind::Cancelled, Failure::new("cancelled", "cancelled by ann"));
    let identity = EchoedIdentity::unknown(message.identity.id.clone());
    let event = Event::new(identity, moment, kind, TraceContext::default());
    assert!(
        messages.ending_messages(&event.clone().into(), &[]).messages[0]
            .routing_key
            .as_str()
            .starts_with("unknown.unknown.unknown.")
    );
    let answer = messages.ending_reply(&message, &event.clone().into());
    let answered: Event = serde_json::from_slice(&answer.messages[0].body).unwrap();
    assert_eq!((answered.data.command, answered.id), (message.identity.clone(), event.id));
    assert_eq!(
        answer.messages[0].routing_key.as_str(),
        ferryd_domain::event::routing_key(&message.identity, "failed")
    );
}
