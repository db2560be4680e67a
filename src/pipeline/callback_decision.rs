//! Ends a command by an outcome that its provider reports in a webhook call.

use jiff::Timestamp;
use tracing::{error, info};

use super::Pipeline;
use super::outbox::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::{Event, Happening, Moment, Trace};
use ferryd_domain::ledger::next_action::{NextAction, Role, next_action};
use ferryd_domain::ledger::record::{By, Fact, Finished, Record};
use ferryd_ledger::Ruled;

/// The result of a webhook call's decision about a command.
pub(super) enum Decided {
    /// The call has decided, or an earlier decision stands; these are the effects.
    Yes(Effects),
    /// A later version of ferryd has to decide about the command.
    NotYet,
    /// The command was sent again meanwhile: the notice has to be matched to a call again.
    Overtaken,
}

impl Pipeline {
    /// Ends a command by the outcome that its provider reports. Returns what is to be published.
    pub(super) async fn decide(&self, id: &CommandId, happening: Happening) -> Result<Decided, BrokerError> {
        let mut least_attempt = 0;
        loop {
            let Some((case, opening)) =
                self.memory.case(id).and_then(|case| Some((case.clone(), case.opening.clone()?)))
            else {
                return Ok(Decided::Yes(Effects::default()));
            };
            let (generation, attempt) = (case.step.generation, case.step.attempt.max(least_attempt));
            let moment = Moment { generation, attempt, at: Timestamp::now() };
            let event = Event::new(opening.identity, moment, happening.clone(), Trace::default());
            let finished = Finished::of_event(case.step, By::Holder, event.clone(), true);
            let record = Record { at: event.time, command: id.clone(), fact: Fact::Finished(Box::new(finished)) };
            let Ruled { id: record, ruling, .. } = self.memory.ledger.append(record).await?;
            match next_action(Role::Webhook, ruling) {
                NextAction::Proceed(granted) => {
                    info!(command.id = id.as_str(), state = event.data.state.as_str(), "ended by a webhook call");
                    let effects = self.outbox.announcement(&event, &granted.replies);
                    return Ok(Decided::Yes(Effects { settles: Some(record), ..effects }));
                }
                NextAction::Publish(decided) => {
                    let effects = self.outbox.announcement(&decided.effects.event, &decided.replies);
                    return Ok(Decided::Yes(Effects { settles: Some(decided.by), ..effects }));
                }
                NextAction::Contradict(stands) => {
                    let conflict = ConflictEvent::of_answer(&event, &stands);
                    self.record_conflict(&conflict).await?;
                    return Ok(Decided::Yes(self.outbox.contradicted(&conflict)));
                }
                NextAction::Renumber { attempt } => least_attempt = attempt,
                NextAction::Reread => return Ok(Decided::Overtaken),
                NextAction::Wait(kind) => {
                    error!(
                        command.id = id.as_str(),
                        kind,
                        "the ledger holds a record about this command that this version of ferryd does not understand; \
                         a webhook call about it waits for a later version"
                    );
                    return Ok(Decided::NotYet);
                }
                _ => return Ok(Decided::Yes(Effects::default())),
            }
        }
    }
}
