use jiff::Timestamp;

use super::super::effects::{ContinuationEffect, RecordedEffects};
use super::*;
use crate::command::EchoedIdentity;
use crate::event::{EventKind, EventMoment, TraceContext};
use crate::outcome::{Failure, Success};

const KEY: CallGuard = CallGuard::Key(9);
const CLAIM: CallGuard = CallGuard::Claim(9);

fn event(kind: EventKind) -> EncodedEvent {
    let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
    let identity = EchoedIdentity::unknown("a".parse().unwrap());
    Event::new(identity, moment, kind, TraceContext::default()).into()
}

fn completed() -> EncodedEvent {
    event(EventKind::Completed(Success::default()))
}

fn cancelled() -> EncodedEvent {
    event(EventKind::Failed(FailureKind::Cancelled, Failure::default()))
}

/// Returns a decision that may be unpublished, with a message sent on or without.
fn unsettled(event: EncodedEvent, goes_on: bool) -> Box<DecidedCommand> {
    let continuation = || ContinuationEffect {
        exchange: String::new(),
        routing_key: String::new(),
        headers: [].into(),
    };
    let effects =
        RecordedEffects { event, publish_event: true, message: goes_on.then(continuation) };
    Box::new(DecidedCommand { by: claim(), effects, replies: Vec::new() })
}

fn claim() -> RecordId {
    RecordId { writer: uuid::Uuid::nil(), number: 7 }
}

fn holder(is_fresh: bool, intent: HolderIntent) -> RulingRole {
    RulingRole::Holder(HeldMessage { is_fresh, ..HeldMessage::default() }, intent)
}

fn unknown() -> Ruling {
    Ruling::Counts(RulingGrant { unknown: true, replies: Vec::new() })
}

#[test]
fn what_may_have_acted_is_called_again_under_a_key_alone() {
    for (intent, expected) in [
        (
            HolderIntent::Begin(KEY),
            NextAction::Proceed(RulingGrant { unknown: true, replies: Vec::new() }),
        ),
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
    let waited = HeldMessage { expired_claim: Some(claim()), ..HeldMessage::default() };
    let role = RulingRole::Holder(waited, HolderIntent::Begin(CLAIM));
    assert_eq!(next_action(role, claimed()), NextAction::TakeOver(claim()));
    assert_eq!(
        next_action(RulingRole::Holder(waited, HolderIntent::TakeOver), Ruling::Superseded),
        NextAction::Again
    );
}

#[test]
fn whoever_waits_for_an_end_is_answered_and_a_copy_is_dropped() {
    let begin = HolderIntent::Begin(KEY);
    for (role, ruling, expected) in [
        (holder(true, begin), Ruling::Ended(completed()), NextAction::Answer(completed())),
        (holder(false, begin), Ruling::Ended(completed()), NextAction::Drop),
        (RulingRole::Submitter, Ruling::Ended(completed()), NextAction::Answer(completed())),
        (holder(true, begin), Ruling::Superseded, NextAction::Ask),
        (holder(false, begin), Ruling::Superseded, NextAction::Drop),
        (holder(true, HolderIntent::Decide), Ruling::Superseded, NextAction::Drop),
        (RulingRole::Submitter, Ruling::Superseded, NextAction::Drop),
    ] {
        assert_eq!(next_action(role, ruling.clone()), expected, "{role:?} {ruling:?}");
    }
}

#[test]
fn what_was_left_unpublished_is_published_by_whoever_can_and_may() {
    for (role, decided, publishes) in [
        (holder(false, HolderIntent::Decide), unsettled(completed(), true), true),
        (RulingRole::Operator, unsettled(completed(), false), true),
        (RulingRole::Webhook, unsettled(completed(), false), true),
        // Only the holder of the message can send it on.
        (RulingRole::Webhook, unsettled(completed(), true), false),
        (RulingRole::Canceller, unsettled(cancelled(), false), true),
        (RulingRole::Canceller, unsettled(completed(), false), false),
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
        (Ruling::Superseded, NextAction::Reread),
        (Ruling::SequenceTooLow { attempt: 4 }, NextAction::Renumber { attempt: 4 }),
    ] {
        assert_eq!(next_action(RulingRole::Canceller, ruling.clone()), expected, "{ruling:?}");
    }
}

#[test]
fn nobody_passes_over_what_this_version_does_not_understand() {
    let blocked = || Ruling::Blocked("split".to_owned());
    for role in [
        holder(true, HolderIntent::Begin(KEY)),
        holder(true, HolderIntent::Decide),
        RulingRole::Webhook,
        RulingRole::Operator,
        RulingRole::Submitter,
    ] {
        assert_eq!(next_action(role, blocked()), NextAction::Wait("split".to_owned()), "{role:?}");
    }
}
