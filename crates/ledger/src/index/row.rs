//! A command as a row of a list.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::{CommandEnding, CommandState};
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::name::Name;

/// The maximum length of a message in a row, in characters.
const MAX_MESSAGE: usize = 200;

/// A command in short. Unknown fields are absent: a command of which only a request to cancel it is
/// known has no name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CommandRow")]
pub struct CommandRow {
    /// The id of the command.
    pub id: CommandId,
    /// The provider's type.
    pub r#type: Option<Name>,
    /// The provider.
    pub provider: Option<Name>,
    /// The account.
    pub account: Option<Name>,
    /// The operation.
    pub operation: Option<Name>,
    /// The publisher's reference.
    pub reference: Option<String>,
    /// The AMQP user that published the command, where the broker has vouched for that.
    pub publisher: Option<String>,
    /// The current state of the command.
    pub state: LifecycleState,
    /// The kind of failure of a failed command.
    pub kind: Option<FailureKind>,
    /// The provider's error code, or ferryd's own.
    pub code: Option<String>,
    /// The last message about the command, for a person.
    pub message: Option<String>,
    /// The HTTP status of the answer that ended the command.
    pub http_status: Option<u16>,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the current or next call.
    pub attempt: u32,
    /// The provider's own id for the result of the command.
    pub provider_reference: Option<String>,
    /// True if the command is kept as a dead letter.
    pub dead: bool,
    /// True if a later notice or answer has contradicted the recorded outcome.
    pub contradicted: bool,
    /// The time of the first record about the command.
    pub created_at: Option<Timestamp>,
    /// The time of the last change.
    pub updated_at: Option<Timestamp>,
    /// The time at which the command ended, if it has.
    pub ended_at: Option<Timestamp>,
}

impl CommandRow {
    /// Summarises the state of a command.
    #[must_use]
    pub fn new(id: CommandId, command_state: &CommandState) -> Self {
        let (state, dead) = (
            command_state.state(),
            command_state.ending.as_ref().is_some_and(CommandEnding::is_dead),
        );
        let publisher = command_state
            .identity
            .as_ref()
            .and_then(|command_identity| command_identity.publisher.clone());
        let (created_at, last) =
            (command_state.history.first().map(|first| first.at), command_state.history.last());
        let detail = last.and_then(|last| last.detail.clone());
        let mut row = Self {
            id,
            r#type: None,
            provider: None,
            account: None,
            operation: None,
            reference: None,
            publisher,
            state,
            kind: None,
            code: None,
            message: None,
            http_status: None,
            generation: command_state.step.generation,
            attempt: command_state.step.attempt,
            provider_reference: None,
            dead,
            contradicted: !command_state.conflicts.is_empty(),
            created_at,
            updated_at: last.map(|last| last.at),
            ended_at: command_state.ending.as_ref().map(|ending| ending.event.data.occurred_at),
        };
        if let Some(identity) = command_state.identity.as_ref().map(|identity| &*identity.command) {
            let EchoedIdentity { r#type, provider, account, operation, reference, .. } = identity;
            (row.r#type, row.provider) = (r#type.clone(), provider.clone());
            (row.account, row.operation) = (account.clone(), operation.clone());
            row.reference.clone_from(reference);
        }
        match command_state.ending.as_ref().map(|ending| &ending.event.data) {
            Some(data) => {
                row.provider_reference.clone_from(&data.provider_reference);
                if let Some(error) = &data.error {
                    (row.kind, row.code, row.http_status) =
                        (error.kind, error.code.clone(), error.http_status);
                    row.message = Some(short(error.message.clone()));
                }
            }
            // The history names the reference of an accepted command.
            None if state == LifecycleState::Waiting => row.provider_reference = detail,
            None => row.message = detail.map(short),
        }
        row
    }
}

fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}
