//! Conflicts: a message, notice or answer that contradicts what is recorded of a command is
//! recorded, logged and published as an event, and changes nothing.

use jiff::Timestamp;
use tracing::error;

use super::Pipeline;
use super::incoming_message::IncomingMessage;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::OutgoingMessage;
use ferryd_domain::command::EncodedIdentity;
use ferryd_domain::conflict::{ConflictEvent, ConflictKind};
use ferryd_domain::ledger::record::{Record, RecordBody};
use ferryd_domain::webhook::WebhookNotice;

impl Pipeline {
    /// Records a conflict, and logs it. The caller, who holds the contradicting message, publishes
    /// the event.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn record_conflict(
        &self,
        conflict: &ConflictEvent,
    ) -> Result<(), BrokerError> {
        let (command, reason) = (conflict.subject.as_str(), conflict.data.message.as_str());
        match conflict.data.conflict {
            ConflictKind::Content => error!(
                command.id = command,
                reason, "a command with a known id has other content; it is not carried out"
            ),
            ConflictKind::Answer => {
                error!(
                    command.id = command,
                    reason, "a provider contradicts the recorded end of its command"
                );
            }
            ConflictKind::Reference => error!(
                command.id = command,
                reason, "a provider reports another action for a command, perhaps a second payment"
            ),
            ConflictKind::Amount => error!(
                command.id = command,
                reason,
                "a provider reports another amount than was requested; that does not complete the command"
            ),
        }
        let body = RecordBody::Conflicted(Box::new(conflict.to_note()));
        let record =
            Record { at: conflict.time, command: conflict.data.command.id.clone(), fact: body };
        self.ledger_gate.ledger.append(record).await.map(drop)
    }

    /// Records an action that a provider reports for a command beside the recorded one, and builds
    /// the messages that publish it.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn publish_other_content(
        &self,
        identity: EncodedIdentity,
        notice: &WebhookNotice,
    ) -> Result<Vec<OutgoingMessage>, BrokerError> {
        let Some(state) = self.ledger_gate.command_state(&identity.id) else {
            return Ok(Vec::new());
        };
        let reference = notice
            .reference
            .as_deref()
            .or(notice.id.as_deref())
            .unwrap_or("nothing that has an id");
        let stands = state.ending.as_ref().map(|ending| &*ending.event);
        let known = state.provider_reference.as_deref().or(state.former_reference.as_deref());
        let conflict =
            ConflictEvent::of_reference(identity, reference, known, stands, Timestamp::now());
        self.record_conflict(&conflict).await?;
        Ok(self.messages.conflict_messages(&conflict).messages)
    }
}

/// Describes a message under a known id with other content.
pub(super) fn content_conflict(message: &IncomingMessage) -> ConflictEvent {
    let (identity, content) =
        (message.identity.clone(), &message.command_identity().content_digest);
    ConflictEvent::of_content(identity, content, message.trace.clone(), Timestamp::now())
}
