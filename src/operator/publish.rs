//! Publishing commands as a core application would, and waiting for their ends.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Deserializer, Value};

use super::follow::{EventSubscription, FollowedEvent};
use super::{OperatorContext, OperatorError};
use ferryd_broker::message::{
    OutgoingMessage, TextTooLong, persistent_properties, set_user, short_string,
};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::{ANY, Command, CommandEnvelope};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;

/// A command that was found right and can be published.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedCommand {
    /// The command in the message.
    pub command: Command,
    /// The message.
    pub message: OutgoingMessage,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// False where it came without an id, and was given one.
    pub has_own_id: bool,
}

/// Reason for which a text is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidCommandText {
    /// The text is not JSON, or ends in the middle.
    #[error("{message}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The fault, for people.
        message: String,
    },
    /// The command breaks a rule of commands, or of its provider.
    #[error("{}{} ({})", id.as_ref().map(|id| format!("command `{id}`: ")).unwrap_or_default(), failure.message, failure.code.as_deref().unwrap_or("invalid"))]
    Invalid {
        /// The line it begins on, from 1.
        line: usize,
        /// The command, where its id could be read.
        id: Option<CommandId>,
        /// The fault, for people.
        failure: Failure,
    },
}

impl InvalidCommandText {
    /// The line on which it begins, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        let (Self::NotJson { line, .. } | Self::Invalid { line, .. }) = self;
        *line
    }
}

/// Reads commands one after the other: JSON lines, or objects over several lines. Bodies are
/// published byte for byte as they stand, as this user of the broker. One without an `id` gets one
/// from `new_id`, in the property `message_id`.
///
/// Returns them, and what is wrong with the others. What comes behind a text that is no JSON is not
/// read.
pub fn read(
    names: &TopologyNames,
    user: Option<&str>,
    text: &[u8],
    now: Timestamp,
    mut new_id: impl FnMut() -> String,
) -> (Vec<PreparedCommand>, Vec<InvalidCommandText>) {
    let (mut commands, mut faults) = (Vec::new(), Vec::new());
    let mut values = Deserializer::from_slice(text).into_iter::<Value>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let before = values.byte_offset();
        let gap = text[before..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        line += text[counted..before + gap].split(|byte| *byte == b'\n').count() - 1;
        counted = before + gap;
        match values.next() {
            None => return (commands, faults),
            Some(Err(error)) => {
                faults.push(InvalidCommandText::NotJson {
                    line,
                    message: format!("is not JSON: {error}"),
                });
                return (commands, faults);
            }
            Some(Ok(_)) => {
                let body = &text[before + gap..values.byte_offset()];
                match PreparedCommand::check((names, user), body, line, now, &new_id()) {
                    Ok(outgoing) => commands.push(outgoing),
                    Err(failure) => {
                        faults.push(InvalidCommandText::Invalid { line, id: None, failure });
                    }
                }
            }
        }
    }
}

impl PreparedCommand {
    fn check(
        (names, user): (&TopologyNames, Option<&str>),
        body: &[u8],
        line: usize,
        now: Timestamp,
        new_id: &str,
    ) -> Result<Self, Failure> {
        let too_long = |error: TextTooLong| Failure::new("name_too_long", error.to_string());
        let envelope = CommandEnvelope { message_id: Some(new_id), ..CommandEnvelope::default() };
        let command = Command::decode(body, envelope).map_err(|invalid| invalid.failure)?;
        let provider = command.provider.as_ref().map_or(ANY, Name::as_str);
        let key = format!("{}.{provider}.{}", command.kind, command.operation);
        let properties = persistent_properties()
            .with_content_type("application/json".into())
            .with_message_id(short_string(command.id.as_str()).map_err(too_long)?)
            .with_timestamp(u64::try_from(now.as_second()).unwrap_or_default());
        let properties = set_user(properties, user).map_err(too_long)?;
        let (exchange, routing_key) = (
            short_string(names.commands()).map_err(too_long)?,
            short_string(&key).map_err(too_long)?,
        );
        let message = OutgoingMessage { exchange, routing_key, properties, body: body.to_vec() };
        let has_own_id = command.id.as_str() != new_id;
        Ok(Self { command, message, line, has_own_id })
    }
}

/// Waits for the ends of commands, and shows what happens to them meanwhile.
///
/// It subscribes to their events instead of asking for a reply: a reply is sent once and best
/// effort, an event at least once and by whichever daemon ends the command.
pub struct EndWatcher {
    follow: EventSubscription,
    pending: HashSet<CommandId>,
}

impl EndWatcher {
    /// Subscribes; to be called before the first command is published.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn subscribe(
        operator: &OperatorContext,
        commands: &[PreparedCommand],
    ) -> Result<Self, OperatorError> {
        // Which provider a route chooses, and so the second word, is not known here.
        let bindings: BTreeSet<String> =
            commands.iter().map(|outgoing| binding(&outgoing.command)).collect();
        let bindings: Vec<_> = bindings.into_iter().collect();
        let pending = commands.iter().map(|outgoing| outgoing.command.id.clone()).collect();
        Ok(Self { follow: EventSubscription::open(operator, &bindings).await?, pending })
    }

    /// Waits for the next event of a command that has not ended; `None` once each command has
    /// ended.
    ///
    /// # Errors
    /// [`OperatorError::SubscriptionLost`].
    pub async fn next(&mut self) -> Result<Option<FollowedEvent>, OperatorError> {
        while !self.pending.is_empty() {
            let followed = self.follow.next().await?;
            let is_awaited = match &followed {
                FollowedEvent::Event(event, _) if event.data.state.is_terminal() => {
                    self.pending.remove(&event.data.command.id)
                }
                FollowedEvent::Event(event, _) => self.pending.contains(&event.data.command.id),
                FollowedEvent::Conflict(conflict, _) => {
                    self.pending.contains(&conflict.data.command.id)
                }
                FollowedEvent::Webhook(..) | FollowedEvent::Other { .. } => false,
            };
            if is_awaited {
                return Ok(Some(followed));
            }
        }
        Ok(None)
    }

    /// The commands that have not ended.
    #[must_use]
    pub fn pending(&self) -> &HashSet<CommandId> {
        &self.pending
    }

    /// Ends the subscription.
    pub async fn close(self) {
        self.follow.close().await;
    }
}

fn binding(command: &Command) -> String {
    format!("{}.*.{}.*", command.kind, command.operation)
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
