//! Reads a delivery on a provider's queue into a valid command.
//!
//! A message that is none becomes a [`MessageRefusal`].

use jiff::Timestamp;
use lapin::message::Delivery;

use super::command_check::{check_account, check_operation, check_publisher};
use super::incoming_message::{IncomingMessage, MessageRefusal, envelope};
use super::message_origin::{self, read_progress};
use super::publisher_rules::PublisherRules;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::{Command, EncodedIdentity, InvalidCommand};
use ferryd_domain::lifecycle::{AttemptLimits, FailureKind};
use ferryd_domain::progress::GenerationProgress;
use ferryd_provider::{Operation, Provider};

/// A valid command for one provider.
#[derive(Debug, Clone)]
pub struct CommandMessage {
    /// The message that holds the command.
    pub message: IncomingMessage,
    /// The decoded command.
    pub command: Command,
    /// The URL at which the provider may call back about the command, once one is made.
    pub webhook_url: Option<String>,
}

impl CommandMessage {
    /// Reads a delivery on a provider's queue.
    ///
    /// # Errors
    /// [`MessageRefusal`]: the message is no valid command for this provider, or a continuation that can't be understood.
    pub fn read(
        delivery: &Delivery,
        provider: &Provider,
        names: &TopologyNames,
        rules: &PublisherRules,
        now: Timestamp,
    ) -> Result<Self, Box<MessageRefusal>> {
        let mut progress = read_progress(delivery, names, now);
        let key = progress.0.routing_key.clone();
        let refuse = |identity: EncodedIdentity, progress, kind, failure, perhaps_sent| {
            let mut message = IncomingMessage::new(delivery, identity, progress, names);
            message.set_provider(Some(provider.name.clone()));
            Box::new(MessageRefusal { message, kind, failure, perhaps_sent, is_disallowed: false })
        };
        let command = match Command::decode(&delivery.data, envelope(delivery, key.as_deref())) {
            Ok(command) => command,
            Err(InvalidCommand { identity, failure }) => {
                return Err(refuse(
                    (*identity).into(),
                    progress,
                    FailureKind::Invalid,
                    failure,
                    false,
                ));
            }
        };
        let identity = command.identity(&provider.name);
        if progress.1.is_unproven() {
            return Err(refuse(
                identity,
                progress,
                FailureKind::Unresolved,
                message_origin::unreadable_headers(),
                false,
            ));
        }
        let checked = check_publisher(&command, provider, rules, &mut progress.0)
            .and_then(|()| check_operation(&command, provider));
        let operation = match checked {
            Ok(operation) => operation,
            Err(failure) => {
                let is_disallowed =
                    progress.0.unchecked && check_account(&command, provider).is_ok();
                let refusal = refuse(identity, progress, FailureKind::Invalid, failure, true);
                return Err(Box::new(MessageRefusal { is_disallowed, ..*refusal }));
            }
        };
        let mut message = IncomingMessage::new(delivery, identity, progress, names);
        message.settle_key(operation);
        message.expires_at = message.expires_at.or(command.expires_at);
        Ok(Self { message, command, webhook_url: None })
    }

    /// Sets the identity of the command for the ledger, from the command that was decoded already.
    pub fn note_identity(&self) {
        self.message.command_identity.get_or_init(|| self.message.identity_of(&self.command));
    }

    /// Returns the progress of the message.
    #[must_use]
    pub fn progress(&self) -> &GenerationProgress {
        &self.message.state.progress
    }

    /// Returns the progress of the message, to change it.
    pub fn progress_mut(&mut self) -> &mut GenerationProgress {
        &mut self.message.state.progress
    }

    /// Returns the bounds of its attempts.
    #[must_use]
    pub fn attempt_limits(&self, operation: &Operation) -> AttemptLimits {
        AttemptLimits {
            policy: operation.retry.clone(),
            key_retention: operation.idempotency.map(|idempotency| idempotency.retention),
            not_before: self.command.not_before,
            expires_at: self.message.expires_at,
            deadline: operation.deadline,
            poll: operation.poll,
            lookup: self.progress().askable_lookup(operation.lookup),
        }
    }
}
