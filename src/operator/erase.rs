//! Erasing the contents of commands that have ended, at a person's request.
//!
//! The erasure is a record of the ledger, so that every instance applies it, and every index that
//! is made anew. Which commands may be erased is decided by their places in the ledger; a message
//! of theirs in a queue of dead letters is looked for besides.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scan::visit_dead_letters;
use super::{OperatorContext, OperatorError};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::next_action::{NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::{Actor, ContentErasure, Record, RecordBody};
use ferryd_domain::ledger::ruling::{Ruling, TooLate};
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_ledger::Ledger;
use ferryd_ledger::command_filter::CommandFilter;

/// The number of erasures that wait side by side for what they come to.
const SIDE_BY_SIDE: usize = 64;

/// The outcome of the erasure of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureOutcome {
    /// The contents are erased; in a dry run, they would be.
    Erased,
    /// The contents were erased before.
    AlreadyErased,
    /// The contents stay.
    Kept,
}

/// A command that was to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureResult {
    /// The command.
    pub id: CommandId,
    /// The command's state; null where the ledger does not know the command.
    pub state: Option<LifecycleState>,
    /// The outcome.
    pub outcome: ErasureOutcome,
    /// The reason why it stays, and what to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ErasureResult {
    /// The result of a command that is not known.
    #[must_use]
    pub fn unknown(id: CommandId) -> Self {
        let reason = Some("the ledger knows no such command".to_owned());
        Self { id, state: None, outcome: ErasureOutcome::Kept, reason }
    }

    fn keep(&mut self, reason: String) {
        (self.outcome, self.reason) = (ErasureOutcome::Kept, Some(reason));
    }

    fn apply(&mut self, ruling: Ruling) {
        match next_action(RulingRole::Operator, ruling) {
            NextAction::Proceed(_) => {}
            NextAction::Drop => self.outcome = ErasureOutcome::AlreadyErased,
            NextAction::Refuse(why) => self.keep(describe_refusal(&self.id, why)),
            _ => self.keep(format!(
                "something else was decided about it meanwhile; see `ferryd status {}`",
                self.id
            )),
        }
    }
}

/// Erases the contents of commands.
pub struct CommandEraser<'a> {
    /// The broker at which it works, and the names there.
    pub operator: &'a OperatorContext,
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The queues that may hold dead letters.
    pub queues: &'a [String],
    /// The person who wants them erased, and the reason.
    pub person: Actor,
    /// True for a dry run: nothing is changed, and the report says what would be.
    pub dry_run: bool,
}

impl CommandEraser<'_> {
    /// Erases what may be erased of these commands, and says the outcome of each.
    ///
    /// # Errors
    /// [`OperatorError`]; some of them may be erased.
    pub async fn erase(&self, ids: &[CommandId]) -> Result<Vec<ErasureResult>, OperatorError> {
        let mut results: Vec<_> = ids.iter().map(|id| self.check_erasable(id)).collect();
        self.keep_parked(&mut results).await?;
        if self.dry_run {
            return Ok(results);
        }
        let is_due = |result: &&mut ErasureResult| result.outcome == ErasureOutcome::Erased;
        let mut due: Vec<_> = results.iter_mut().filter(is_due).collect();
        for chunk in due.chunks_mut(SIDE_BY_SIDE) {
            let appending = chunk.iter().map(|result| self.ledger.append(self.record(&result.id)));
            let ruled = try_join_all(appending).await?;
            for (result, ruled) in chunk.iter_mut().zip(ruled) {
                result.apply(ruled.ruling);
            }
        }
        Ok(results)
    }

    fn record(&self, id: &CommandId) -> Record {
        let body = RecordBody::Erased(ContentErasure { actor: self.person.clone() });
        Record { at: Timestamp::now(), command: id.clone(), fact: body }
    }

    /// Finds out from the ledger whether a command may be erased.
    fn check_erasable(&self, id: &CommandId) -> ErasureResult {
        let Some(command_state) = self.ledger.command_state(id) else {
            return ErasureResult::unknown(id.clone());
        };
        let state = Some(command_state.state());
        let mut result =
            ErasureResult { id: id.clone(), state, outcome: ErasureOutcome::Erased, reason: None };
        if command_state.is_erased() {
            result.outcome = ErasureOutcome::AlreadyErased;
        } else if let Some(why) = command_state.refuse_erasure() {
            result.keep(describe_refusal(id, why));
        }
        result
    }

    /// Keeps commands of which a message lies in a queue of dead letters: of one that has ended, a
    /// copy, or another command under its id.
    async fn keep_parked(&self, results: &mut [ErasureResult]) -> Result<(), OperatorError> {
        let due = results.iter().filter(|result| result.outcome == ErasureOutcome::Erased);
        let filter = CommandFilter {
            ids: due.map(|result| result.id.clone()).collect(),
            ..CommandFilter::default()
        };
        if filter.ids.is_empty() {
            return Ok(());
        }
        let mut parked: HashMap<CommandId, String> = HashMap::new();
        visit_dead_letters(self.operator, self.queues, &filter, |dead| {
            parked.insert(dead.identity.id.clone(), dead.queue);
        })
        .await?;
        for result in results {
            if let Some(queue) = parked.get(&result.id) {
                let id = &result.id;
                result.keep(format!(
                    "a message with this id lies in queue `{queue}`: `ferryd dead-letters discard {id} --reason …` removes it"
                ));
            }
        }
        Ok(())
    }
}

/// Describes why a command stays, and what to do about that.
#[must_use]
pub fn describe_refusal(id: &CommandId, why: TooLate) -> String {
    match why {
        TooLate::NotEnded => {
            format!("it has not ended: wait for that, or try `ferryd cancel {id}`")
        }
        TooLate::DeadLetter => {
            format!(
                "it is a dead letter: `ferryd dead-letters resolve {id}`, or `ferryd dead-letters discard {id}`, comes first"
            )
        }
        TooLate::Unpublished => {
            "its end is not known to be published yet: try again in a minute".to_owned()
        }
        other => other.to_string(),
    }
}
