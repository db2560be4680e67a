//! The next action of whoever appended a record, by what the record came to and by who that is.
//!
//! Nothing else dispatches on a ruling. Pure, so that the same function runs in the daemon and under the model checker.

use super::record::{Guard, Person, RecordId};
use super::ruling::{Decided, Granted, Ruling, TooLate};
use crate::domain::event::Event;
use crate::domain::lifecycle::{Kind, State};

/// What decides about the next action of a message that somebody holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldMessage {
    /// True where it came from a publisher, who waits for an answer, and not from ferryd itself.
    pub is_fresh: bool,
    /// True where the ledger has to say how far it has come.
    pub is_unproven: bool,
    /// The claim it has waited out, if it has.
    pub waited_out: Option<RecordId>,
}

/// Why the holder of a message appends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderIntent {
    /// To begin the call, which this keeps from acting twice; or to wait, which is harmless.
    Begin(Guard),
    /// To take over a step whose claim was waited out.
    TakeOver,
    /// To decide about the command.
    Decide,
}

/// Who appended a record, and acts on its ruling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever holds a message of the command.
    Holder(HeldMessage, HolderIntent),
    /// A webhook call that says how the command has ended.
    Webhook,
    /// Whoever wants the command not to be carried out.
    Canceller,
    /// A person who decides about what has ended.
    Operator,
    /// Whoever hands the command in by the API.
    Submitter,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum NextAction {
    /// Do what the record says: make the call in time, publish what was decided, or wait.
    Proceed(Granted),
    /// Make no call, and decide for nobody's word: whether one acted is not known.
    Doubt,
    /// Wait for so long (milliseconds), then ask again, knowing this claim.
    WaitOut {
        /// The claim.
        claim: RecordId,
        /// For how long.
        ttl_ms: u64,
    },
    /// Record that the claim was waited out.
    TakeOver(RecordId),
    /// Publish what was decided before.
    Publish(Box<Decided>),
    /// Tell whoever sent the command how it has ended.
    Answer(Box<Event>),
    /// Note who else waits for the end.
    Ask,
    /// Ask for the step again a little later.
    Again,
    /// Decide the same again, under this attempt at least.
    Renumber {
        /// The least attempt.
        attempt: u32,
    },
    /// Look anew where the command is, which has gone on.
    Reread,
    /// Tell that the id is known with another content.
    Conflict,
    /// Tell that this contradicts how the command has ended.
    Contradict(Box<Event>),
    /// End the command as cancelled.
    Cancel(Person),
    /// Wait for a version that understands the ledger.
    Wait(String),
    /// Do nothing, and say why.
    Refuse(TooLate),
    /// Do nothing: it is done, or nobody waits for it any more.
    Drop,
}

/// Says what a role does next about a command, by what its record came to.
#[must_use]
pub fn next_action(role: Role, ruling: Ruling) -> NextAction {
    use HolderIntent::{Begin, Decide, TakeOver};
    use Role::{Canceller, Holder, Operator, Submitter, Webhook};
    match ruling {
        Ruling::Counts(granted) => match role {
            // Without a key nothing is called where something may have acted.
            Holder(_, Begin(Guard::Claim(_)) | TakeOver) if granted.unknown => NextAction::Doubt,
            _ => NextAction::Proceed(granted),
        },
        Ruling::Claimed { claim, ttl_ms } => match role {
            Holder(held, Begin(_) | TakeOver) if held.waited_out == Some(claim) => NextAction::TakeOver(claim),
            Holder(_, Begin(_) | TakeOver) => NextAction::WaitOut { claim, ttl_ms },
            Canceller => NextAction::Reread,
            Holder(_, Decide) | Webhook | Operator | Submitter => NextAction::Drop,
        },
        Ruling::Unsettled(decided) => match role {
            Holder(..) | Operator => NextAction::Publish(decided),
            // Only the holder of the command's message can publish what it carries on.
            Webhook if decided.effects.carried.is_none() => NextAction::Publish(decided),
            Canceller if is_cancelled(&decided.effects.event) => NextAction::Publish(decided),
            Canceller => NextAction::Refuse(too_late(&decided.effects.event)),
            Submitter if decided.effects.event.data.state.is_terminal() => {
                NextAction::Answer(Box::new(decided.effects.event))
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
        Ruling::Passed => match role {
            Holder(HeldMessage { is_unproven: true, .. }, Decide) | Webhook | Canceller => NextAction::Reread,
            // The claim was given up meanwhile: the step is free, and nobody else may hold a message of it.
            Holder(_, TakeOver) => NextAction::Again,
            Holder(HeldMessage { is_fresh: true, .. }, Begin(_)) => NextAction::Ask,
            Holder(..) | Operator | Submitter => NextAction::Drop,
        },
        Ruling::OtherContent => match role {
            Holder(..) | Submitter => NextAction::Conflict,
            Canceller => NextAction::Reread,
            Webhook | Operator => NextAction::Drop,
        },
        Ruling::Cancelled(person) => match role {
            Holder(..) => NextAction::Cancel(person),
            // Whoever takes it from its queue ends it.
            Submitter => NextAction::Proceed(Granted::default()),
            Canceller => NextAction::Reread,
            Webhook | Operator => NextAction::Drop,
        },
        Ruling::Contradicts(stands) => match role {
            Holder(_, Decide) | Webhook => NextAction::Contradict(stands),
            Canceller => NextAction::Reread,
            Holder(..) | Operator | Submitter => NextAction::Drop,
        },
        Ruling::Outrun { attempt } => match role {
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

/// Tells whether an event says that the command was cancelled.
fn is_cancelled(event: &Event) -> bool {
    event.data.error.as_ref().and_then(|error| error.kind) == Some(Kind::Cancelled)
}

/// Why a command that has ended so can't be cancelled.
fn too_late(event: &Event) -> TooLate {
    if event.data.state == State::Completed { TooLate::Completed } else { TooLate::Failed }
}

#[cfg(test)]
#[path = "next_action_tests.rs"]
mod tests;
