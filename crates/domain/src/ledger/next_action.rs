//! The next action of the appender of a record, by the ruling on the record and the appender's
//! role.
//!
//! No other code dispatches on a ruling. The function is pure, so that the same one runs in the
//! daemon and under the model checker.

use super::record::{Actor, CallGuard, RecordId};
use super::ruling::{DecidedCommand, Ruling, RulingGrant, TooLate};
use crate::event::{EncodedEvent, Event};
use crate::lifecycle::{FailureKind, LifecycleState};

/// The properties of a held message that decide about the next action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldMessage {
    /// True where the message came from a publisher, who waits for an answer, and not from ferryd
    /// itself.
    pub is_fresh: bool,
    /// True where only the ledger knows the progress of the command.
    pub is_unproven: bool,
    /// The claim that the message has waited out, if it has.
    pub expired_claim: Option<RecordId>,
}

/// The reason why the holder of a message appends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderIntent {
    /// Begins the call, which this guard keeps from acting twice; or waits, which is harmless.
    Begin(CallGuard),
    /// Takes over a step whose claim was waited out.
    TakeOver,
    /// Decides about the command.
    Decide,
}

/// The role of the appender of a record, who acts on the ruling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulingRole {
    /// The holder of a message of the command.
    Holder(HeldMessage, HolderIntent),
    /// A webhook about the end of the command.
    Webhook,
    /// A person or program that cancels the command.
    Canceller,
    /// An operator who decides about an ended command.
    Operator,
    /// A caller of the API who submits the command.
    Submitter,
}

/// The next action of the appender.
#[derive(Debug, Clone, PartialEq)]
pub enum NextAction {
    /// Act on the record: make the call in time, publish the decision, or wait.
    Proceed(RulingGrant),
    /// Make no call, and decide in doubt: an earlier call may have acted.
    Doubt,
    /// Wait for so long (milliseconds), then append again, with this claim.
    WaitOut {
        /// The claim.
        claim: RecordId,
        /// The time to wait, in milliseconds.
        ttl_ms: u64,
    },
    /// Record that the claim was waited out.
    TakeOver(RecordId),
    /// Publish the effects of an earlier decision.
    Publish(Box<DecidedCommand>),
    /// Publish to the sender of the command how it has ended.
    Answer(EncodedEvent),
    /// Record a further reply target that waits for the end.
    Ask,
    /// Append a record for the step again, a little later.
    Again,
    /// Decide the same again, with at least this attempt.
    Renumber {
        /// The least attempt.
        attempt: u32,
    },
    /// Read the command's state again: the command has gone on.
    Reread,
    /// Publish that the id is known with another content.
    Conflict,
    /// Publish that this contradicts the end of the command.
    Contradict(EncodedEvent),
    /// End the command as cancelled.
    Cancel(Actor),
    /// Wait for a version that understands the ledger.
    Wait(String),
    /// Do nothing, and report the reason.
    Refuse(TooLate),
    /// Do nothing: the action is done, or nothing waits for it any more.
    Drop,
}

/// Returns the next action of a role about a command, by the ruling on its record.
#[must_use]
pub fn next_action(role: RulingRole, ruling: Ruling) -> NextAction {
    use HolderIntent::{Begin, Decide, TakeOver};
    use RulingRole::{Canceller, Holder, Operator, Submitter, Webhook};
    match ruling {
        Ruling::Counts(granted) => match role {
            // Without a key no call is made where an earlier one may have acted.
            Holder(_, Begin(CallGuard::Claim(_)) | TakeOver) if granted.unknown => {
                NextAction::Doubt
            }
            _ => NextAction::Proceed(granted),
        },
        Ruling::Claimed { claim, ttl_ms } => match role {
            Holder(held, Begin(_) | TakeOver) if held.expired_claim == Some(claim) => {
                NextAction::TakeOver(claim)
            }
            Holder(_, Begin(_) | TakeOver) => NextAction::WaitOut { claim, ttl_ms },
            Canceller => NextAction::Reread,
            Holder(_, Decide) | Webhook | Operator | Submitter => NextAction::Drop,
        },
        Ruling::Unsettled(decided) => match role {
            Holder(..) | Operator => NextAction::Publish(decided),
            // Only the holder of the command's message can publish its continuation.
            Webhook if decided.effects.message.is_none() => NextAction::Publish(decided),
            Canceller if is_cancelled(&decided.effects.event) => NextAction::Publish(decided),
            Canceller => NextAction::Refuse(too_late(&decided.effects.event)),
            Submitter if decided.effects.event.data.state.is_terminal() => {
                NextAction::Answer(decided.effects.event)
            }
            Webhook | Submitter => NextAction::Drop,
        },
        Ruling::Ended(event) => match role {
            Holder(HeldMessage { is_fresh: true, .. }, _) | Submitter => NextAction::Answer(event),
            Canceller if !is_cancelled(&event) => NextAction::Refuse(too_late(&event)),
            Holder(..) | Webhook | Canceller | Operator => NextAction::Drop,
        },
        Ruling::Unknown => match role {
            Holder(..) => NextAction::Doubt,
            Canceller => NextAction::Reread,
            Webhook | Operator | Submitter => NextAction::Drop,
        },
        Ruling::Superseded => match role {
            Holder(HeldMessage { is_unproven: true, .. }, Decide) | Webhook | Canceller => {
                NextAction::Reread
            }
            // The claim was released meanwhile: the step is free, and no other instance may
            // hold a message of it.
            Holder(_, TakeOver) => NextAction::Again,
            Holder(HeldMessage { is_fresh: true, .. }, Begin(_)) => NextAction::Ask,
            Holder(..) | Operator | Submitter => NextAction::Drop,
        },
        Ruling::ContentConflict => match role {
            Holder(..) | Submitter => NextAction::Conflict,
            Canceller => NextAction::Reread,
            Webhook | Operator => NextAction::Drop,
        },
        Ruling::Cancelled(person) => match role {
            Holder(..) => NextAction::Cancel(person),
            // The holder of the message in the queue ends the command.
            Submitter => NextAction::Proceed(RulingGrant::default()),
            Canceller => NextAction::Reread,
            Webhook | Operator => NextAction::Drop,
        },
        Ruling::Contradicts(stands) => match role {
            Holder(_, Decide) | Webhook => NextAction::Contradict(stands),
            Canceller => NextAction::Reread,
            Holder(..) | Operator | Submitter => NextAction::Drop,
        },
        Ruling::SequenceTooLow { attempt } => match role {
            Holder(_, Decide) | Webhook | Canceller | Operator => NextAction::Renumber { attempt },
            Holder(HeldMessage { is_fresh: true, .. }, _) => NextAction::Ask,
            Holder(..) | Submitter => NextAction::Drop,
        },
        Ruling::TooLate(reason) => match role {
            Canceller | Operator => NextAction::Refuse(reason),
            Holder(HeldMessage { is_fresh: true, .. }, Begin(_) | TakeOver) => NextAction::Ask,
            Holder(..) | Webhook | Submitter => NextAction::Drop,
        },
        Ruling::Blocked(kind) => match role {
            Canceller => NextAction::Refuse(TooLate::Unknown),
            _ => NextAction::Wait(kind),
        },
    }
}

/// Returns true if an event reports a cancellation.
fn is_cancelled(event: &Event) -> bool {
    event.data.error.as_ref().and_then(|error| error.kind) == Some(FailureKind::Cancelled)
}

/// Returns the reason why an ended command can't be cancelled.
fn too_late(event: &Event) -> TooLate {
    if event.data.state == LifecycleState::Completed { TooLate::Completed } else { TooLate::Failed }
}

#[cfg(test)]
#[path = "next_action_tests.rs"]
mod tests;
