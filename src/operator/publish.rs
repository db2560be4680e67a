//! Publishing commands as a core application would, and waiting for their ends.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use lapin::BasicProperties;
use serde_json::{Deserializer, Value};

use super::follow::Follow;
use super::{Operator, OperatorError};
use crate::amqp::message::{Message, TooLong, short, with_user};
use crate::amqp::topology::Names;
use crate::domain::command::{ANY, Command, Envelope};
use crate::domain::command_id::CommandId;
use crate::domain::event::Event;
use crate::domain::lifecycle::State;
use crate::domain::name::Name;
use crate::domain::outcome::Failure;

/// A command that was found right and can be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// What it says.
    pub command: Command,
    /// The message.
    pub message: Message,
}

/// Why a text is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoCommand {
    /// It is not JSON, or ends in the middle.
    #[error("line {line}: {message}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It breaks a rule of commands.
    #[error("line {line}: {} ({})", failure.message, failure.code.as_deref().unwrap_or("invalid"))]
    Invalid {
        /// The line it begins on, from 1.
        line: usize,
        /// What is wrong.
        failure: Failure,
    },
    /// A name is too long for a routing key.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// Reads commands one after the other: JSON lines, or objects over several lines. Bodies are published byte for byte as
/// they stand, as this user of the broker. One without an `id` gets one from `new_id`, in the property `message_id`.
///
/// # Errors
/// [`NoCommand`] at the first text that is none.
pub fn read(
    names: &Names,
    user: Option<&str>,
    text: &[u8],
    now: Timestamp,
    mut new_id: impl FnMut() -> String,
) -> Result<Vec<Outgoing>, NoCommand> {
    let mut commands = Vec::new();
    let mut values = Deserializer::from_slice(text).into_iter::<Value>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let before = values.byte_offset();
        let gap = text[before..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        line += text[counted..before + gap].split(|byte| *byte == b'\n').count() - 1;
        counted = before + gap;
        match values.next() {
            None => return Ok(commands),
            Some(Err(error)) => return Err(NoCommand::NotJson { line, message: format!("is not JSON: {error}") }),
            Some(Ok(_)) => {
                let body = &text[before + gap..values.byte_offset()];
                commands.push(Outgoing::check((names, user), body, line, now, &new_id())?);
            }
        }
    }
}

impl Outgoing {
    fn check(
        (names, user): (&Names, Option<&str>),
        body: &[u8],
        line: usize,
        now: Timestamp,
        new_id: &str,
    ) -> Result<Self, NoCommand> {
        let envelope = Envelope { message_id: Some(new_id), ..Envelope::default() };
        let command =
            Command::decode(body, envelope).map_err(|invalid| NoCommand::Invalid { line, failure: invalid.failure })?;
        let provider = command.provider.as_ref().map_or(ANY, Name::as_str);
        let key = format!("{}.{provider}.{}", command.kind, command.operation);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(short(command.id.as_str())?)
            .with_timestamp(u64::try_from(now.as_second()).unwrap_or_default());
        let properties = with_user(properties, user)?;
        let message =
            Message { exchange: short(&names.commands())?, routing_key: short(&key)?, properties, body: body.to_vec() };
        Ok(Self { command, message })
    }
}

/// Waits for the ends of commands.
///
/// It subscribes to their events instead of asking for a reply: a reply is sent once and best effort, an event at least
/// once and by whichever daemon ends the command.
pub struct Ends {
    follow: Follow,
    pending: HashSet<CommandId>,
}

impl Ends {
    /// Subscribes; to be called before the first command is published.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn subscribe(operator: &Operator, commands: &[Outgoing]) -> Result<Self, OperatorError> {
        // Which provider a route chooses, and so the second word, is not known here.
        let bindings: BTreeSet<String> = commands.iter().flat_map(|outgoing| bindings(&outgoing.command)).collect();
        let bindings: Vec<_> = bindings.into_iter().collect();
        let pending = commands.iter().map(|outgoing| outgoing.command.id.clone()).collect();
        Ok(Self { follow: Follow::open(operator, &bindings).await?, pending })
    }

    /// The terminal event of the command that ends next; `None` once each has ended.
    ///
    /// # Errors
    /// [`OperatorError::SubscriptionLost`].
    pub async fn next(&mut self) -> Result<Option<Box<Event>>, OperatorError> {
        let Self { follow, pending } = self;
        if pending.is_empty() {
            return Ok(None);
        }
        follow.until(|event| event.data.state.is_terminal() && pending.remove(&event.data.command.id)).await.map(Some)
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

fn bindings(command: &Command) -> [String; 2] {
    [State::Completed, State::Failed]
        .map(|state| format!("{}.*.{}.{}", command.kind, command.operation, state.as_str()))
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
