//! Ends a command by an outcome that its provider reports in a webhook.

use jiff::Timestamp;
use tracing::{error, info};

use super::Pipeline;
use super::messages::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::{EncodedEvent, Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::next_action::{NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::{DecidedBy, FinishedRecord, Record, RecordBody};
use ferryd_ledger::RuledRecord;

/// The result of a webhook's decision about a command.
pub(super) enum WebhookDecision {
    /// The call has decided, or an earlier decision stands; these are the effects.
    Yes(Effects),
    /// A later version of ferryd has to decide about the command.
    NotYet,
    /// The command was sent again meanwhile: the notice has to be matched to a call again.
    Overtaken,
}

impl Pipeline {
    /// Ends a command by the outcome that its provider reports. Returns what is to be published.
    pub(super) async fn decide_by_notice(
        &self,
        id: &CommandId,
        event_kind: EventKind,
    ) -> Result<WebhookDecision, BrokerError> {
        let mut least_attempt = 0;
        loop {
            let Some((command_state, identity)) =
                self.ledger_gate.command_state(id).and_then(|command_state| {
                    Some((command_state.clone(), command_state.identity.clone()?))
                })
            else {
                return Ok(WebhookDecision::Yes(Effects::default()));
            };
            let (generation, attempt) =
                (command_state.step.generation, command_state.step.attempt.max(least_attempt));
            let moment = EventMoment { generation, attempt, at: Timestamp::now() };
            let event: EncodedEvent =
                Event::new(identity.command, moment, event_kind.clone(), TraceContext::default())
                    .into();
            let finished = FinishedRecord::for_event(
                command_state.step,
                DecidedBy::Holder,
                event.clone(),
                true,
            );
            let record = Record {
                at: event.time,
                command: id.clone(),
                fact: RecordBody::Finished(Box::new(finished)),
            };
            let RuledRecord { id: record, ruling, .. } =
                self.ledger_gate.ledger.append(record).await?;
            match next_action(RulingRole::Webhook, ruling) {
                NextAction::Proceed(granted) => {
                    info!(
                        command.id = id.as_str(),
                        state = event.data.state.as_str(),
                        "ended by a webhook"
                    );
                    let effects = self.messages.ending_messages(&event, &granted.replies);
                    return Ok(WebhookDecision::Yes(Effects { settles: Some(record), ..effects }));
                }
                NextAction::Publish(decided) => {
                    let effects =
                        self.messages.ending_messages(&decided.effects.event, &decided.replies);
                    return Ok(WebhookDecision::Yes(Effects {
                        settles: Some(decided.by),
                        ..effects
                    }));
                }
                NextAction::Contradict(stands) => {
                    let conflict = ConflictEvent::of_answer(&event, &stands);
                    self.record_conflict(&conflict).await?;
                    return Ok(WebhookDecision::Yes(self.messages.conflict_messages(&conflict)));
                }
                NextAction::Renumber { attempt } => least_attempt = attempt,
                NextAction::Reread => return Ok(WebhookDecision::Overtaken),
                NextAction::Wait(kind) => {
                    error!(
                        command.id = id.as_str(),
                        kind,
                        "the ledger holds a record about this command that this version of ferryd does not understand; \
                         a webhook about it waits for a later version"
                    );
                    return Ok(WebhookDecision::NotYet);
                }
                _ => return Ok(WebhookDecision::Yes(Effects::default())),
            }
        }
    }
}
