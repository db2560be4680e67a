//! The reasons for queries of providers about commands, and the answers. They are for people and
//! decide nothing.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::command_id::CommandId;
use crate::lifecycle::LifecycleState;
use crate::query::QueryPurpose;

/// A reason besides ferryd's own timers that concerns a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandPrompt {
    /// A provider has sent a notice about the command, in a webhook.
    Notice(NoticePrompt),
    /// A person, or a program, requests a query of the provider.
    Actor(String),
    /// Another command has completed that changes this one at its provider.
    Command(CommandId),
}

/// A provider's notice, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticePrompt {
    /// The provider's id of the notice, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The provider's name for the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The meaning for the command: `completed`, `declined`, `failed`, `progress`, `lookup` or
    /// `nothing`.
    pub meaning: String,
    /// False where the call could not be verified.
    pub verified: bool,
}

impl fmt::Display for CommandPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(NoticePrompt { id, event, verified, .. }) => {
                let unverified = if *verified { "" } else { "unverified " };
                let words: Vec<_> = event.iter().chain(id).map(String::as_str).collect();
                write!(f, "{unverified}notice {}", words.join(" "))
            }
            Self::Actor(person) => write!(f, "{person}"),
            Self::Command(id) => write!(f, "command {id}"),
        }
    }
}

/// See [`RecordBody::Prompted`](super::record::RecordBody::Prompted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptRecord {
    /// The reason that concerns the command.
    pub prompt: CommandPrompt,
    /// True if the provider is queried because of the reason.
    pub starts_query: bool,
}

/// A prompt, as the command's state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptNote {
    /// The time of recording, by the writer's clock.
    pub at: Timestamp,
    /// The reason.
    pub prompt: CommandPrompt,
    /// True if the provider was to be queried because of the reason.
    pub starts_query: bool,
}

/// A query of a provider that has led to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeQuery {
    /// The purpose of the query.
    pub purpose: QueryPurpose,
    /// True if the query was early.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
}

/// A query of a provider, as the command's state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryNote {
    /// The time of recording the answer, by the writer's clock; of several answers in a row that
    /// changed nothing, the first.
    pub at: Timestamp,
    /// The call that the query is about, and the number of the query.
    pub step: Step,
    /// The purpose of the query.
    pub purpose: QueryPurpose,
    /// The reason why the query was early; absent where it was made at its planned time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CommandPrompt>,
    /// The state of the command after the query.
    pub state: LifecycleState,
    /// The problem of the answer, or the failure that it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The number of such queries in a row, for the same reason, that changed nothing.
    pub times: u32,
    /// The time of the last of these queries.
    pub latest: Timestamp,
}
