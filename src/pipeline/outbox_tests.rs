use super::super::parcel::tests::{at, parcel};
use super::*;
use ferryd_domain::command::Identity;
use ferryd_domain::event::Trace;
use ferryd_domain::outcome::{Party, Success};

fn outbox() -> Outbox {
    Outbox::new(Names::new("ferry".parse().unwrap()), State::ALL, "host".to_owned())
}

fn question(purpose: Purpose, second: i64) -> Inquiry {
    Inquiry::new(2, purpose, at(second))
}

/// Reads from the headers of a continuation how far it has come.
fn travel(message: &Message) -> Travel {
    Travel::read(message.properties.headers().as_ref()).unwrap()
}

#[test]
fn an_acceptance_is_told_and_goes_on_to_the_first_poll_with_its_deadline() {
    let (outbox, parcel) = (outbox(), parcel(None));
    let success = Success { provider_reference: Some("pi_1".to_owned()), ..Success::default() };
    let inquiry = question(Purpose::Poll, 100);
    let accepted = Accepted { success, party: Party::Provider, deadline: at(3_600), inquiry, first: true };
    let again = outbox.recorded_effects(
        &parcel,
        1,
        Decision::Wait(Box::new(Accepted { first: false, ..accepted.clone() })),
        None,
        at(0),
    );
    assert!(!again.told, "it is told once");
    let recorded = outbox.recorded_effects(&parcel, 1, Decision::Wait(Box::new(accepted)), None, at(0));
    assert_eq!((&again.carried, &again.event), (&recorded.carried, &recorded.event));
    assert_eq!((recorded.told, recorded.deadline()), (true, Some(at(3_600))));
    assert_eq!(recorded.event.data.next_attempt_at, Some(at(100)));
    let effects = outbox.effects(&parcel, &recorded, &[]);
    let [event, next] = &effects.messages[..] else { panic!("{effects:?}") };
    assert_eq!((event.exchange.as_str(), next.exchange.as_str()), ("ferry.events", "ferry.retry"));
    assert!(next.routing_key.as_str().starts_with("1m."), "{}", next.routing_key);
    let Travel { progress, hop, .. } = travel(next);
    assert_eq!((progress.inquiry, progress.deadline, hop), (Some(inquiry), Some(at(3_600)), 1));
    assert_eq!(progress.provider_reference.as_deref(), Some("pi_1"));
}

#[test]
fn a_question_that_brings_nothing_is_told_to_nobody_even_where_all_states_are() {
    let (outbox, parcel) = (outbox(), parcel(Some(question(Purpose::Poll, 0))));
    for purpose in [Purpose::Poll, Purpose::Lookup] {
        let recorded = outbox.recorded_effects(&parcel, 1, Decision::Inquire(question(purpose, 45), None), None, at(0));
        assert!(!recorded.told);
        let effects = outbox.effects(&parcel, &recorded, &[]);
        let [next] = &effects.messages[..] else { panic!("{effects:?}") };
        assert!(next.routing_key.as_str().starts_with("30s."), "{}", next.routing_key);
        assert_eq!(travel(next).progress.inquiry, Some(question(purpose, 45)));
    }
}

#[test]
fn a_lookup_says_since_when_a_call_is_in_doubt() {
    let mut parcel = parcel(None);
    for (since, expected) in [(Some(at(-60)), at(-60)), (None, at(0))] {
        parcel.travel.progress.unknown_since = since;
        let recorded =
            outbox().recorded_effects(&parcel, 1, Decision::Inquire(question(Purpose::Lookup, 45), None), None, at(0));
        let next = outbox().effects(&parcel, &recorded, &[]).messages.remove(0);
        assert_eq!(travel(&next).progress.unknown_since, Some(expected));
    }
}

#[test]
fn a_retry_after_a_lookup_is_up_for_a_call() {
    let parcel = parcel(Some(question(Purpose::Lookup, 0)));
    let decision = Decision::Retry { rung: Rung::SHORTEST, due: at(1), failure: Failure::new("absent", "none") };
    let recorded = outbox().recorded_effects(&parcel, 1, decision, None, at(0));
    assert_eq!(recorded.deadline(), None);
    let next = outbox().effects(&parcel, &recorded, &[]).messages.remove(1);
    let progress = travel(&next).progress;
    assert_eq!((progress.attempt, progress.inquiry), (2, None));
}

#[test]
fn an_end_that_was_left_unpublished_is_published_as_it_would_have_been() {
    let (outbox, parcel) = (outbox(), parcel(None));
    let by = RecordId { writer: uuid::Uuid::nil(), number: 7 };
    let replies = vec![Asked { reply_to: "answers".to_owned(), correlation_id: None }];
    let recorded = outbox.recorded_effects(&parcel, 1, Decision::Complete(Success::default()), None, at(0));
    let decided = Decided { by, effects: recorded.clone(), replies };
    let published = outbox.recovered(&decided);
    assert_eq!(published.messages, outbox.effects(&parcel, &recorded, &[]).messages);
    assert_eq!((published.settles, published.replies.len()), (Some(by), 1));
    // The events of its state are not published, so the decision is only settled and answered.
    let untold = Decided { effects: RecordedEffects { told: false, ..recorded }, ..decided };
    assert_eq!(outbox.recovered(&untold), Effects { messages: Vec::new(), ..published });
}

#[test]
fn the_end_of_a_command_that_came_after_it_has_the_names_that_it_came_with() {
    let (outbox, parcel) = (outbox(), parcel(None));
    let moment = Moment { generation: 0, attempt: 1, at: at(0) };
    let happening = Happening::Failed(Kind::Cancelled, Failure::new("cancelled", "cancelled by ann"));
    let identity = Identity::unknown(parcel.identity.id.clone());
    let event = Event::new(identity, moment, happening, Trace::default());
    assert!(outbox.announcement(&event, &[]).messages[0].routing_key.as_str().starts_with("unknown.unknown.unknown."));
    let answer = outbox.answer(&parcel, &event);
    let told: Event = serde_json::from_slice(&answer.messages[0].body).unwrap();
    assert_eq!((told.data.command, told.id), (parcel.identity.clone(), event.id));
    assert_eq!(answer.messages[0].routing_key.as_str(), ferryd_domain::event::routing_key(&parcel.identity, "failed"));
}
