//! Conflicts: a message, notice or answer that contradicts what is recorded of a command is
//! recorded, logged and published as an event, and changes nothing.

use jiff::Timestamp;
use tracing::error;

use super::Pipeline;
use super::parcel::Parcel;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::Message;
use ferryd_domain::callback::Notice;
use ferryd_domain::command::Identity;
use ferryd_domain::conflict::{Conflict, ConflictEvent};
use ferryd_domain::ledger::record::{Fact, Record};

impl Pipeline {
    /// Records a conflict, and logs it. The caller, who holds the contradicting message, publishes
    /// the event.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn record_conflict(&self, conflict: &ConflictEvent) -> Result<(), BrokerError> {
        let (command, reason) = (conflict.subject.as_str(), conflict.data.message.as_str());
        match conflict.data.conflict {
            Conflict::Content => error!(
                command.id = command,
                reason, "a command came under an id that is known with another content; it is not carried out"
            ),
            Conflict::Answer => {
                error!(command.id = command, reason, "what a provider says contradicts how its command has ended");
            }
            Conflict::Reference => error!(
                command.id = command,
                reason, "a provider tells of something else that it has done for a command, perhaps a second payment"
            ),
            Conflict::Amount => error!(
                command.id = command,
                reason, "a provider states another amount than was asked for; its command does not complete by that"
            ),
        }
        let fact = Fact::Conflicted(Box::new(conflict.note()));
        let record = Record { at: conflict.time, command: conflict.data.command.id.clone(), fact };
        self.memory.ledger.append(record).await.map(drop)
    }

    /// Records an action that a provider reports for a command beside the recorded one, and builds
    /// the messages that publish it.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn tell_another(&self, identity: Identity, notice: &Notice) -> Result<Vec<Message>, BrokerError> {
        let Some(case) = self.memory.case(&identity.id) else { return Ok(Vec::new()) };
        let reference = notice.reference.as_deref().or(notice.id.as_deref()).unwrap_or("nothing that has an id");
        let stands = case.ending.as_ref().map(|ending| &ending.event);
        let known = case.provider_reference.as_deref().or(case.former_reference.as_deref());
        let conflict = ConflictEvent::of_reference(identity, reference, known, stands, Timestamp::now());
        self.record_conflict(&conflict).await?;
        Ok(self.outbox.contradicted(&conflict).messages)
    }
}

/// Describes a message under a known id with other content.
pub(super) fn of_content(parcel: &Parcel) -> ConflictEvent {
    let (identity, content) = (parcel.identity.clone(), &parcel.opening().content);
    ConflictEvent::of_content(identity, content, parcel.trace.clone(), Timestamp::now())
}
