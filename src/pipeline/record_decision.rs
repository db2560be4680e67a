//! Records a decision about a message. The place of the record in the ledger decides whether the
//! decision counts.

use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use super::finished_record::{finished_record, retained_message};
use super::incoming_message::IncomingMessage;
use super::ledger_gate::{held_message, make_record};
use super::messages::Effects;
use super::refusal::{IdHolder, is_refusal};
use crate::failpoint::{Failpoint, pass_failpoint};
use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{HolderIntent, NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::RecordBody;
use ferryd_domain::ledger::ruling::DecidedCommand;
use ferryd_domain::lifecycle::Decision;
use ferryd_ledger::RuledRecord;
use ferryd_provider::RecoveryOptions;

/// The wait of a message whose command has gone on since its position was read from the ledger.
const LOCATE_PAUSE: Duration = Duration::from_millis(50);

impl Pipeline {
    /// Records a decision about a message, and builds the effects of the ruling.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]: nothing may be published; the message comes back.
    pub(super) async fn record_decision(
        &self,
        message: &mut IncomingMessage,
        decision: Decision,
        options: RecoveryOptions,
    ) -> Result<Effects, BrokerError> {
        if is_refusal(message, &decision) {
            match self.ledger_gate.find_id_holder(message).await? {
                IdHolder::Nobody => message.take_refused_id(),
                IdHolder::SameCommand => {}
                IdHolder::OtherCommand => {
                    return Box::pin(self.refuse_known_id(message, decision, options)).await;
                }
            }
        }
        let (effects, next) = self.append_decision(message, decision, options).await?;
        self.follow_ruling(message, options, effects, next).await
    }

    /// Records a decision about a message. Returns the next action, and the effects that the
    /// decision would have unless they are the next action.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn append_decision(
        &self,
        message: &mut IncomingMessage,
        decision: Decision,
        options: RecoveryOptions,
    ) -> Result<(Option<RecordedEffects>, NextAction), BrokerError> {
        let mut attempt = message.state.progress.attempt;
        loop {
            message.state.recorded = true;
            let effects = self.messages.recorded_effects(
                message,
                attempt,
                decision.clone(),
                options.idempotency,
                Timestamp::now(),
            );
            let known = self
                .ledger_gate
                .command_state(&message.identity.id)
                .is_some_and(|state| state.identity.is_some());
            let kept = options.lookup.and_then(|_| retained_message(message, &decision));
            let finished = finished_record(message, known, kept, effects.clone());
            let finished = make_record(message, RecordBody::Finished(Box::new(finished)));
            let RuledRecord { id, ruling, .. } = self.ledger_gate.ledger.append(finished).await?;
            let decided = match next_action(
                RulingRole::Holder(held_message(message), HolderIntent::Decide),
                ruling,
            ) {
                NextAction::Renumber { attempt: least } => {
                    attempt = least;
                    continue;
                }
                NextAction::Reread => {
                    // The command went on meanwhile, and its message is awaited at another step.
                    // The index knows that step by now, unless it can't be read.
                    tokio::time::sleep(LOCATE_PAUSE).await;
                    self.ledger_gate.locate_message(message);
                    attempt = message.state.progress.attempt;
                    continue;
                }
                NextAction::Proceed(granted) => {
                    let decided = DecidedCommand { by: id, effects, replies: granted.replies };
                    (None, NextAction::Publish(Box::new(decided)))
                }
                next => (Some(effects), next),
            };
            pass_failpoint(Failpoint::Concluded);
            return Ok(decided);
        }
    }
}
