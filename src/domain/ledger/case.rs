//! What the ledger says of one command. What each further record about it comes to is in the modules `rule` and `finish`
//! beside this one.
//!
//! ```text
//!            started                finished (retry)              started (next attempt)
//!   open ───────────────► started ───────────────────► decided ───────────────────────► started …
//!    ▲                      │ │
//!    └──────────────────────┘ └─► taken over ──► decided (unresolved, unless the provider was asked)
//!           released           taken_over
//! ```
//!
//! A decision that ends the command is its `ending`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::content_removal::ContentRemoval;
use super::effects::{HeaderValue, RecordedEffects};
pub use super::ending::Ending;
use super::job_mark::JobMark;
use super::prompt::{Prompt, PromptNote, QueryNote};
use super::record::{Asked, Guard, Kept, Opening, Person, RecordId, Step};
use super::ruling::{Decided, Ruling, TooLate};
use super::transition::Transition;
use crate::domain::conflict::ConflictNote;
use crate::domain::job::JobId;
use crate::domain::job::state::ReplayResult;
use crate::domain::key::IdempotencyKey;
use crate::domain::lifecycle::{Kind, State};
use crate::domain::money::MoneyAmount;

/// The most who are told of the end of one command besides its publisher.
pub(super) const MAX_REPLIES: usize = 32;

/// The most conflicts that are remembered of one command: the first ones.
pub(super) const MAX_CONFLICTS: usize = 16;

/// The most ids of its provider's that are remembered of one command: the latest ones.
const MAX_REFERENCES: usize = 16;

/// The most transitions that are remembered of one command: the first and the latest.
const MAX_HISTORY: usize = 64;

/// What the ledger says of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Which command; `None` where nothing but a wish to cancel it is known.
    pub opening: Option<Opening>,
    /// The call it is at, or would make next.
    pub step: Step,
    /// How far that call is.
    pub phase: Phase,
    /// Whether a call of this generation may have acted without its end being known. Only the provider's word that none
    /// did makes it false again.
    pub unknown: bool,
    /// The key of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// The generation in which that key was first used: an earlier one, where a replay kept it.
    #[serde(default)]
    pub key_since: u32,
    /// When a request was first sent under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The token that request had beside the command's id; empty where it had none, absent where a version sent it that knew
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The number of calls that were begun, over all generations.
    #[serde(default)]
    pub calls: u32,
    /// The amount that the command asks for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<MoneyAmount>,
    /// The provider's own id of the operation's result, once the provider has sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// Every id that the provider has told for what it does, over all generations; an order and its capture are two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The provider's id for what an earlier generation did, whose key is not used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_reference: Option<String>,
    /// Until when the provider, which has accepted it, may take to finish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Its message, while it waits and its provider may ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<Kept>>,
    /// What travels beside the message that asks its provider next; only where the message is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<BTreeMap<String, HeaderValue>>,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The highest number of an event that may have been seen.
    pub told: u64,
    /// Who else waits for the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Asked>,
    /// Who wished it cancelled before it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Person>,
    /// The kind of a record that this version does not understand and must not pass over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The contradictions of what is known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictNote>,
    /// The reason why its contents are not known any more, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<ContentRemoval>,
    /// What has concerned it besides ferryd's own timers, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptNote>,
    /// The latest of those because of which its provider is asked, until it has been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompted: Option<Prompt>,
    /// The questions to its provider, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryNote>,
    /// The job that acted on its dead letter last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobMark>,
    /// What happened, oldest first.
    pub history: Vec<Transition>,
}

/// How far the call is that a command is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody has begun it.
    Open,
    /// Somebody makes it.
    Started {
        /// The record that says so, the latest where there are several.
        by: RecordId,
        /// What keeps it from acting twice.
        guard: Guard,
    },
    /// Somebody may have made it and does not answer for it any more.
    TakenOver,
    /// It is decided what follows.
    Decided {
        /// The record that says so.
        by: RecordId,
        /// What is to be published; `None` once it has been.
        effects: Option<Box<RecordedEffects>>,
    },
}

impl Case {
    /// Notes that the ledger holds something about the command that must not be passed over and is not understood.
    pub fn block(slot: &mut Option<Self>, kind: &str) {
        slot.get_or_insert_with(Self::unopened).blocked.get_or_insert_with(|| kind.to_owned());
    }

    /// The state the command is in.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.ending, &self.phase) {
            (Some(ending), _) => ending.event.data.state,
            (None, Phase::Open) => State::Pending,
            (None, Phase::Started { .. } | Phase::TakenOver) => State::Processing,
            // Unsettled effects always tell the state; settled ones left it in the history.
            (None, Phase::Decided { .. }) => self.history.last().map_or(State::Pending, |last| last.state),
        }
    }

    /// Whether a call of this generation may have acted without its end being known by now.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        let calling = matches!(&self.phase, Phase::Started { guard, .. } if *guard != Guard::Harmless);
        self.unknown || calling || self.phase == Phase::TakenOver
    }

    /// Tells whether an echo of the command's id alone is about it: its request was sent by a version that put no token
    /// beside the id.
    #[must_use]
    pub fn is_known_by_id(&self) -> bool {
        self.digest.is_some() && self.token.is_none()
    }

    /// Tells whether some call, of any generation, was begun, or may have been.
    #[must_use]
    pub fn was_called(&self) -> bool {
        self.calls > 0 || self.unknown
    }

    /// Whether it has ended, and was told to have ended, without anybody knowing whether it acted.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        let unresolved = |ending: &Ending| ending.kind() == Some(Kind::Unresolved);
        self.unsettled().is_none() && self.ending.as_ref().is_some_and(unresolved)
    }

    /// Tells whether nothing is known of the command but that somebody wants it cancelled.
    #[must_use]
    pub fn is_cancel_request(&self) -> bool {
        self.opening.is_none() && self.cancel.is_some() && self.ending.is_none()
    }

    /// Tells whether the command has ended, nobody is known to have published that, and whoever finds it can, from the
    /// record alone. A dead letter takes the command's message, which comes back to whoever holds it until both are
    /// published.
    #[must_use]
    pub fn is_end_unpublished(&self) -> bool {
        let bare = |effects: &RecordedEffects| effects.carried.is_none();
        let unsettled = matches!(&self.phase, Phase::Decided { effects: Some(effects), .. } if bare(effects));
        unsettled && self.ending.is_some() && self.blocked.is_none()
    }

    /// Whether the effects of its latest decision are not known to be published.
    #[must_use]
    pub fn unsettled(&self) -> Option<Decided> {
        match &self.phase {
            Phase::Decided { by, effects: Some(effects) } => {
                let effects = effects.as_ref().clone();
                Some(Decided { by: *by, effects, replies: self.replies.clone() })
            }
            _ => None,
        }
    }

    /// What a message of `step` would come to, where nothing is left to begin. What it says stays true: a command that has
    /// gone on does not go back.
    #[must_use]
    pub fn glance(&self, fresh: Option<&Opening>, step: Step) -> Option<Ruling> {
        // A later generation may be on record further on than this has been read.
        if self.blocked.is_some() || step.generation > self.step.generation {
            return None;
        }
        if self.is_other(true, fresh) {
            return Some(Ruling::OtherContent);
        }
        self.passed(step)
    }

    pub(super) fn unopened() -> Self {
        Self {
            opening: None,
            step: Step::call(0, 1),
            phase: Phase::Open,
            unknown: false,
            key: None,
            first_sent: None,
            digest: None,
            token: None,
            money: None,
            key_since: 0,
            calls: 0,
            provider_reference: None,
            references: Vec::new(),
            former_reference: None,
            kept: None,
            asking: None,
            deadline: None,
            ending: None,
            told: 0,
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

    pub(super) fn opened(opening: Option<&Opening>, step: Step) -> Self {
        let mut case = Self { step, ..Self::unopened() };
        case.identify(opening);
        case
    }

    /// Remembers an id that the provider has told for what it does.
    pub(super) fn remember_reference(&mut self, reference: &str) {
        if self.references.iter().any(|known| known == reference) {
            return;
        }
        if self.references.len() >= MAX_REFERENCES {
            self.references.remove(0);
        }
        self.references.push(reference.to_owned());
    }

    /// Takes on an identity, where none is known yet.
    pub(super) fn identify(&mut self, opening: Option<&Opening>) {
        if let (None, Some(opening)) = (&self.opening, opening) {
            self.replies.extend(opening.asked.clone());
            self.opening = Some(opening.clone());
        }
    }

    /// Whether a command is another than the one known by its id. Only a publisher can mean another: what ferryd sends on
    /// to itself was compared when it came.
    pub(super) fn is_other(&self, fresh: bool, opening: Option<&Opening>) -> bool {
        let (Some(known), Some(opening)) = (&self.opening, opening) else { return false };
        fresh && known.content != opening.content
    }

    /// What a message of `step` finds, where nothing is left to begin.
    pub(super) fn passed(&self, step: Step) -> Option<Ruling> {
        if step.generation != self.step.generation {
            return Some(self.over().unwrap_or(Ruling::Passed));
        }
        if self.ending.is_some() || step < self.step {
            return Some(self.over().unwrap_or(Ruling::Passed));
        }
        if step == self.step
            && let Phase::Decided { .. } = self.phase
        {
            return Some(self.unsettled().map_or(Ruling::Passed, |decided| Ruling::Unsettled(Box::new(decided))));
        }
        None
    }

    /// How the command ended, if it has.
    pub(super) fn over(&self) -> Option<Ruling> {
        let ending = self.ending.as_ref()?;
        Some(match self.unsettled() {
            Some(decided) => Ruling::Unsettled(Box::new(decided)),
            None => Ruling::Ended(Box::new(ending.event.clone())),
        })
    }

    /// An end that was decided and is not known to be published.
    pub(super) fn unsaid(&self) -> Option<Ruling> {
        self.ending.as_ref()?;
        self.unsettled().map(|decided| Ruling::Unsettled(Box::new(decided)))
    }

    /// Why the command is no dead letter, if it is none.
    pub(super) fn not_dead(&self) -> Option<TooLate> {
        match &self.ending {
            Some(ending) if ending.is_dead() => None,
            Some(ending) if ending.event.data.state == State::Completed => Some(TooLate::Completed),
            Some(_) => Some(TooLate::Failed),
            None => Some(TooLate::NotDead),
        }
    }

    /// Notes that the command has ended since a job replayed it, and says which job and how. Says so once.
    pub fn take_replay_result(&mut self) -> Option<(JobId, ReplayResult)> {
        let is_dead = self.ending.as_ref()?.is_dead();
        let mark = self.job.as_mut().filter(|mark| mark.awaits_end)?;
        mark.awaits_end = false;
        Some((mark.id, if is_dead { ReplayResult::FailedAgain } else { ReplayResult::Ended }))
    }

    /// Says until when the command waits after what was noted last.
    pub(super) fn wait(&mut self, until: Option<Timestamp>) {
        if let Some(last) = self.history.last_mut() {
            last.until = until;
        }
    }

    pub(super) fn note(&mut self, at: Timestamp, state: State, step: Step, reason: &str, detail: Option<String>) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(MAX_HISTORY / 2);
        }
        self.history.push(Transition { at, state, step, reason: reason.to_owned(), detail, until: None });
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
#[path = "inquiry_tests.rs"]
mod inquiry_tests;
#[cfg(test)]
#[path = "prompt_tests.rs"]
mod prompt_tests;
#[cfg(test)]
#[path = "case_tests.rs"]
mod tests;
