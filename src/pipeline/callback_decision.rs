//! Ends a command by what its provider says on its own account, in a webhook call.

use jiff::Timestamp;
use tracing::{error, info};

use super::Pipeline;
use super::outbox::Effects;
use crate::amqp::error::BrokerError;
use crate::domain::command_id::CommandId;
use crate::domain::conflict::ConflictEvent;
use crate::domain::event::{Event, Happening, Moment, Trace};
use crate::domain::ledger::next_action::{NextAction, Role, next_action};
use crate::domain::ledger::record::{By, Fact, Finished, Record};
use crate::ledger::Ruled;

/// The decision about a command by a webhook call.
pub(super) enum Decided {
    /// The call has decided, or something else had before it; this follows.
    Yes(Effects),
    /// A later version of ferryd has to decide about the command.
    NotYet,
    /// The command was sent again meanwhile: what the call is about has to be looked at anew.
    Overtaken,
}

impl Pipeline {
    /// Ends a command by what its provider says on its own account; says what is to be published, if anything.
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
