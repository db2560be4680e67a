//! The state of one command in the ledger. The modules `rule` and `finish` beside this one have the
//! rulings on further records about the command.
//!
//! ```text
//!            started                finished (retry)              started (next attempt)
//!   open ───────────────► started ───────────────────► decided ───────────────────────► started …
//!    ▲                      │ │
//!    └──────────────────────┘ └─► taken over ──► decided (unresolved without a query)
//!           released           taken_over
//! ```
//!
//! A decision that ends the command is its `ending`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::content_removal::ContentRemoval;
use super::effects::{HeaderValue, RecordedEffects};
pub use super::ending::CommandEnding;
use super::job_mark::JobMark;
use super::prompt::{CommandPrompt, PromptNote, QueryNote};
use super::record::{
    Actor, CallGuard, CommandIdentity, RecordId, ReplyTarget, RetainedMessage, Step,
};
use super::ruling::{DecidedCommand, Ruling, TooLate};
use super::transition::StateTransition;
use crate::conflict::ConflictNote;
use crate::job::JobId;
use crate::job::state::ReplayResult;
use crate::key::IdempotencyKey;
use crate::lifecycle::{FailureKind, LifecycleState};
use crate::money::MoneyAmount;

/// The maximum number of reply targets of one command besides its publisher.
pub(super) const MAX_REPLIES: usize = 32;

/// The maximum number of conflicts that are kept of one command: the first ones.
pub(super) const MAX_CONFLICTS: usize = 16;

/// The maximum number of provider ids that are kept of one command: the latest ones.
const MAX_REFERENCES: usize = 16;

/// The maximum number of transitions that are kept of one command: the first and the latest.
const MAX_HISTORY: usize = 64;

/// The state of one command, as its records define it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandState {
    /// The identity of the command; `None` where only a request to cancel it is known.
    pub identity: Option<CommandIdentity>,
    /// The current call, or the next one.
    pub step: Step,
    /// The phase of that call.
    pub phase: CallPhase,
    /// True if a call of this generation may have acted without its end being known. Only the
    /// provider's answer that none did makes it false again.
    pub unknown: bool,
    /// The key of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// The generation in which that key was first used: an earlier one, where a replay kept the
    /// key.
    #[serde(default)]
    pub key_since: u32,
    /// The time at which a request was first sent under the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The token that the request had beside the command's id; empty where it had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The number of calls that were begun, over all generations.
    #[serde(default)]
    pub calls: u32,
    /// The amount of the command, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<MoneyAmount>,
    /// The provider's own id of the operation's result, once the provider has sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// All ids that the provider has sent for the command, over all generations; an order and its
    /// capture are two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The provider's id of an earlier generation's result, whose key is not used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_reference: Option<String>,
    /// The time by which the provider has to finish an accepted command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The message of a command that waits for queries of its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_message: Option<Box<RetainedMessage>>,
    /// The headers of the message that queries the provider next; only where the message is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<BTreeMap<String, HeaderValue>>,
    /// The end of the command, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<CommandEnding>,
    /// The highest sequence number of an event that may have been published.
    pub published_sequence: u64,
    /// The further reply targets that wait for the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<ReplyTarget>,
    /// The person who requested the cancellation before the command arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Actor>,
    /// The kind of a record that this version does not understand and must not skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The contradictions of the recorded state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictNote>,
    /// The reason why the contents were removed, where they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<ContentRemoval>,
    /// The prompts that concerned the command besides ferryd's own timers, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptNote>,
    /// The latest prompt for a query of the provider, until that query is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompted: Option<CommandPrompt>,
    /// The queries of the provider, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryNote>,
    /// The job that last acted on the command's dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobMark>,
    /// The transitions of the command, oldest first.
    pub history: Vec<StateTransition>,
}

/// The phase of the call that a command is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPhase {
    /// The call has not begun.
    Open,
    /// An instance makes the call.
    Started {
        /// The record of the start, the latest where there are several.
        by: RecordId,
        /// The guard that keeps the call from acting twice.
        guard: CallGuard,
    },
    /// The claim on the call has expired: the call may have been made.
    ClaimExpired,
    /// The call is decided.
    Decided {
        /// The record of the decision.
        by: RecordId,
        /// The effects to publish; `None` once they are published.
        effects: Option<Box<RecordedEffects>>,
    },
}

impl CommandState {
    /// Returns the state that the command is in.
    #[must_use]
    pub fn state(&self) -> LifecycleState {
        match (&self.ending, &self.phase) {
            (Some(ending), _) => ending.event.data.state,
            (None, CallPhase::Open) => LifecycleState::Pending,
            (None, CallPhase::Started { .. } | CallPhase::ClaimExpired) => {
                LifecycleState::Processing
            }
            // Unpublished effects always have the state; published ones left it in the history.
            (None, CallPhase::Decided { .. }) => {
                self.history.last().map_or(LifecycleState::Pending, |last| last.state)
            }
        }
    }

    /// Returns true if a call of this generation may have acted without its end being known by now.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        let calling = matches!(&self.phase, CallPhase::Started { guard, .. } if *guard != CallGuard::ReadOnly);
        self.unknown || calling || self.phase == CallPhase::ClaimExpired
    }

    /// Returns true if some call, of any generation, was begun, or may have been.
    #[must_use]
    pub fn was_called(&self) -> bool {
        self.calls > 0 || self.unknown
    }

    /// Returns true if the command was published as ended with an unknown outcome.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        let unresolved = |ending: &CommandEnding| ending.kind() == Some(FailureKind::Unresolved);
        self.unsettled_decision().is_none() && self.ending.as_ref().is_some_and(unresolved)
    }

    /// Returns true if only a request to cancel the command is known.
    #[must_use]
    pub fn is_cancel_request(&self) -> bool {
        self.identity.is_none() && self.cancel.is_some() && self.ending.is_none()
    }

    /// Returns true if the command has ended, its event may be unpublished, and any instance can
    /// publish it from the record alone. A dead letter needs the command's message, which returns
    /// to its holder until both are published.
    #[must_use]
    pub fn is_end_unpublished(&self) -> bool {
        let bare = |effects: &RecordedEffects| effects.message.is_none();
        let unsettled = matches!(&self.phase, CallPhase::Decided { effects: Some(effects), .. } if bare(effects));
        unsettled && self.ending.is_some() && self.blocked.is_none()
    }

    /// Returns the latest decision while its effects may be unpublished.
    #[must_use]
    pub fn unsettled_decision(&self) -> Option<DecidedCommand> {
        match &self.phase {
            CallPhase::Decided { by, effects: Some(effects) } => {
                let effects = effects.as_ref().clone();
                Some(DecidedCommand { by: *by, effects, replies: self.replies.clone() })
            }
            _ => None,
        }
    }

    /// Returns the ruling on a message of `step`, where nothing is left to begin. The ruling stays
    /// true: a command that has gone on does not go back.
    #[must_use]
    pub fn check_recorded(&self, fresh: Option<&CommandIdentity>, step: Step) -> Option<Ruling> {
        // A later generation may be recorded beyond the last record that was read.
        if self.blocked.is_some() || step.generation > self.step.generation {
            return None;
        }
        if self.is_other(true, fresh) {
            return Some(Ruling::ContentConflict);
        }
        self.check_superseded(step)
    }

    pub(super) fn unopened() -> Self {
        Self {
            identity: None,
            step: Step::call(0, 1),
            phase: CallPhase::Open,
            unknown: false,
            key: None,
            first_sent: None,
            digest: None,
            token: String::new(),
            money: None,
            key_since: 0,
            calls: 0,
            provider_reference: None,
            references: Vec::new(),
            former_reference: None,
            retained_message: None,
            asking: None,
            deadline: None,
            ending: None,
            published_sequence: 0,
            replies: Vec::new(),
            cancel: None,
            blocked: None,
            conflicts: Vec::new(),
            removal: None,
            prompts: Vec::new(),
            prompted: None,
            queries: Vec::new(),
            job: None,
            history: Vec::new(),
        }
    }

    pub(super) fn opened(identity: Option<&CommandIdentity>, step: Step) -> Self {
        let mut state = Self { step, ..Self::unopened() };
        state.identify(identity);
        state
    }

    /// Adds an id that the provider has sent for the command.
    pub(super) fn remember_reference(&mut self, reference: &str) {
        if self.references.iter().any(|known| known == reference) {
            return;
        }
        if self.references.len() >= MAX_REFERENCES {
            self.references.remove(0);
        }
        self.references.push(reference.to_owned());
    }

    /// Sets the identity, where none is known yet.
    pub(super) fn identify(&mut self, identity: Option<&CommandIdentity>) {
        if let (None, Some(identity)) = (&self.identity, identity) {
            self.replies.extend(identity.reply_target.clone());
            self.identity = Some(identity.clone());
        }
    }

    /// Returns true if a message is another command than the one known by its id. Only a
    /// publisher's message can be: messages that ferryd republishes were compared when they
    /// arrived.
    pub(super) fn is_other(&self, fresh: bool, identity: Option<&CommandIdentity>) -> bool {
        let (Some(known), Some(identity)) = (&self.identity, identity) else { return false };
        fresh && known.content_digest != identity.content_digest
    }

    /// Returns the ruling on a message of `step`, where nothing is left to begin.
    pub(super) fn check_superseded(&self, step: Step) -> Option<Ruling> {
        if step.generation != self.step.generation {
            return Some(self.ending_event().unwrap_or(Ruling::Superseded));
        }
        if self.ending.is_some() || step < self.step {
            return Some(self.ending_event().unwrap_or(Ruling::Superseded));
        }
        if step == self.step
            && let CallPhase::Decided { .. } = self.phase
        {
            return Some(
                self.unsettled_decision()
                    .map_or(Ruling::Superseded, |decided| Ruling::Unsettled(Box::new(decided))),
            );
        }
        None
    }

    /// Returns the ruling of a command that has ended.
    pub(super) fn ending_event(&self) -> Option<Ruling> {
        let ending = self.ending.as_ref()?;
        Some(match self.unsettled_decision() {
            Some(decided) => Ruling::Unsettled(Box::new(decided)),
            None => Ruling::Ended(ending.event.clone()),
        })
    }

    /// Returns the ruling of a terminal event that may be unpublished.
    pub(super) fn unpublished_ending(&self) -> Option<Ruling> {
        self.ending.as_ref()?;
        self.unsettled_decision().map(|decided| Ruling::Unsettled(Box::new(decided)))
    }

    /// Returns the reason why the command is not a dead letter, if it is none.
    pub(super) fn why_not_dead_letter(&self) -> Option<TooLate> {
        match &self.ending {
            Some(ending) if ending.is_dead() => None,
            Some(ending) if ending.event.data.state == LifecycleState::Completed => {
                Some(TooLate::Completed)
            }
            Some(_) => Some(TooLate::Failed),
            None => Some(TooLate::NotDead),
        }
    }

    /// Records that the command has ended since a job replayed it, and returns the job and the
    /// result. Returns them once.
    pub fn take_replay_result(&mut self) -> Option<(JobId, ReplayResult)> {
        let is_dead = self.ending.as_ref()?.is_dead();
        let mark = self.job.as_mut().filter(|mark| mark.awaits_end)?;
        mark.awaits_end = false;
        Some((mark.id, if is_dead { ReplayResult::FailedAgain } else { ReplayResult::Ended }))
    }

    /// Sets the time until which the command waits, in the latest transition.
    pub(super) fn note_wait(&mut self, until: Option<Timestamp>) {
        if let Some(last) = self.history.last_mut() {
            last.until = until;
        }
    }

    pub(super) fn note_transition(
        &mut self,
        at: Timestamp,
        state: LifecycleState,
        step: Step,
        reason: &str,
        detail: Option<String>,
    ) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(MAX_HISTORY / 2);
        }
        self.history.push(StateTransition {
            at,
            state,
            step,
            reason: reason.to_owned(),
            detail,
            until: None,
        });
    }
}

#[cfg(test)]
#[path = "awaited_tests.rs"]
mod awaited_tests;
#[cfg(test)]
#[path = "erasure_tests.rs"]
mod erasure_tests;
#[cfg(test)]
#[path = "generation_tests.rs"]
mod generation_tests;
#[cfg(test)]
#[path = "prompt_tests.rs"]
mod prompt_tests;
#[cfg(test)]
#[path = "query_tests.rs"]
mod query_tests;
#[cfg(test)]
#[path = "command_state_tests.rs"]
mod tests;
