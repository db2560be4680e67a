use jiff::Timestamp;

use super::super::effects::{Carried, RecordedEffects};
use super::*;
use crate::command::Identity;
use crate::event::{Happening, Moment, Trace};
use crate::outcome::{Failure, Success};

const KEY: Guard = Guard::Key(9);
const CLAIM: Guard = Guard::Claim(9);

fn event(happening: Happening) -> Box<Event> {
    let moment = Moment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
    Box::new(Event::new(Identity::unknown("a".parse().unwrap()), moment, happening, Trace::default()))
}

fn completed() -> Box<Event> {
    event(Happening::Completed(Success::default()))
}

fn cancelled() -> Box<Event> {
    event(Happening::Failed(Kind::Cancelled, Failure::default()))
}

/// Returns a decision that may be unpublished, with a message sent on or without.
fn unsettled(event: Box<Event>, goes_on: bool) -> Box<Decided> {
    let carried = || Carried { exchange: String::new(), routing_key: String::new(), headers: [].into() };
    let effects = RecordedEffects { event: *event, told: true, carried: goes_on.then(carried) };
    Box::new(Decided { by: claim(), effects, replies: Vec::new() })
}

fn claim() -> RecordId {
    RecordId { writer: uuid::Uuid::nil(), number: 7 }
}

fn holder(is_fresh: bool, intent: HolderIntent) -> Role {
    Role::Holder(HeldMessage { is_fresh, ..HeldMessage::default() }, intent)
}

fn unknown() -> Ruling {
    Ruling::Counts(Granted { unknown: true, replies: Vec::new() })
}

#[test]
fn what_may_have_acted_is_called_again_under_a_key_alone() {
    for (intent, expected) in [
        (HolderIntent::Begin(KEY), NextAction::Proceed(Granted { unknown: true, replies: Vec::new() })),
        (HolderIntent::Begin(CLAIM), NextAction::Doubt),
        (HolderIntent::TakeOver, NextAction::Doubt),
    ] {
        assert_eq!(next_action(holder(true, intent), unknown()), expected, "{intent:?}");
    }
}

#[test]
fn a_claim_is_waited_out_once_and_then_taken_over() {
    let claimed = || Ruling::Claimed { claim: claim(), ttl_ms: 3 };
    let waits = NextAction::WaitOut { claim: claim(), ttl_ms: 3 };
    assert_eq!(next_action(holder(true, HolderIntent::Begin(CLAIM)), claimed()), waits);
    let waited = HeldMessage { waited_out: Some(claim()), ..HeldMessage::default() };
    let role = Role::Holder(waited, HolderIntent::Begin(CLAIM));
    assert_eq!(next_action(role, claimed()), NextAction::TakeOver(claim()));
    assert_eq!(next_action(Role::Holder(waited, HolderIntent::TakeOver), Ruling::Passed), NextAction::Again);
}

#[test]
fn whoever_waits_for_an_end_is_answered_and_a_copy_is_dropped() {
    let begin = HolderIntent::Begin(KEY);
    for (role, ruling, expected) in [
        (holder(true, begin), Ruling::Ended(completed()), NextAction::Answer(completed())),
        (holder(false, begin), Ruling::Ended(completed()), NextAction::Drop),
        (Role::Submitter, Ruling::Ended(completed()), NextAction::Answer(completed())),
        (holder(true, begin), Ruling::Passed, NextAction::Ask),
        (holder(false, begin), Ruling::Passed, NextAction::Drop),
        (holder(true, HolderIntent::Decide), Ruling::Passed, NextAction::Drop),
        (Role::Submitter, Ruling::Passed, NextAction::Drop),
    ] {
        assert_eq!(next_action(role, ruling.clone()), expected, "{role:?} {ruling:?}");
    }
}

#[test]
fn what_was_left_unpublished_is_published_by_whoever_can_and_may() {
    for (role, decided, publishes) in [
        (holder(false, HolderIntent::Decide), unsettled(completed(), true), true),
        (Role::Operator, unsettled(completed(), false), true),
        (Role::Webhook, unsettled(completed(), false), true),
        // Only the holder of the message can send it on.
        (Role::Webhook, unsettled(completed(), true), false),
        (Role::Canceller, unsettled(cancelled(), false), true),
        (Role::Canceller, unsettled(completed(), false), false),
    ] {
        let next = next_action(role, Ruling::Unsettled(decided.clone()));
        assert_eq!(next == NextAction::Publish(decided), publishes, "{role:?} {next:?}");
    }
}

#[test]
fn a_cancel_that_comes_too_late_says_why() {
    for (ruling, expected) in [
        (Ruling::Ended(cancelled()), NextAction::Drop),
        (Ruling::Ended(completed()), NextAction::Refuse(TooLate::Completed)),
        (Ruling::Unsettled(unsettled(completed(), false)), NextAction::Refuse(TooLate::Completed)),
        (Ruling::TooLate(TooLate::InFlight), NextAction::Refuse(TooLate::InFlight)),
        (Ruling::Blocked("split".to_owned()), NextAction::Refuse(TooLate::Unknown)),
        (Ruling::Passed, NextAction::Reread),
        (Ruling::Outrun { attempt: 4 }, NextAction::Renumber { attempt: 4 }),
    ] {
        assert_eq!(next_action(Role::Canceller, ruling.clone()), expected, "{ruling:?}");
    }
}

#[test]
fn nobody_passes_over_what_this_version_does_not_understand() {
    let blocked = || Ruling::Blocked("split".to_owned());
    for role in [
        holder(true, HolderIntent::Begin(KEY)),
        holder(true, HolderIntent::Decide),
        Role::Webhook,
        Role::Operator,
        Role::Submitter,
    ] {
        assert_eq!(next_action(role, blocked()), NextAction::Wait("split".to_owned()), "{role:?}");
    }
}
