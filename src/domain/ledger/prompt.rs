//! The reasons for which providers are asked about commands, and their answers: for people. Nothing is decided by it.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::domain::command_id::CommandId;
use crate::domain::inquiry::Purpose;
use crate::domain::lifecycle::State;

/// Something besides ferryd's own timers that concerns a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A provider has told something about it, in a webhook call.
    Notice(NoticePrompt),
    /// A person, or a program, wants its provider asked.
    Person(String),
    /// Another command has completed that changes it at its provider.
    Command(CommandId),
}

/// What a provider has told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticePrompt {
    /// The provider's id for this telling of it, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The provider's name for the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What it means for the command: `completed`, `declined`, `failed`, `progress`, `lookup` or `nothing`.
    pub meaning: String,
    /// False where nothing proves that the provider made the call.
    pub verified: bool,
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(NoticePrompt { id, event, verified, .. }) => {
                let unverified = if *verified { "" } else { "unverified " };
                let words: Vec<_> = event.iter().chain(id).map(String::as_str).collect();
                write!(f, "{unverified}notice {}", words.join(" "))
            }
            Self::Person(person) => write!(f, "{person}"),
            Self::Command(id) => write!(f, "command {id}"),
        }
    }
}

/// See [`Fact::Prompted`](super::record::Fact::Prompted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prompted {
    /// What concerns the command.
    pub prompt: Prompt,
    /// Whether its provider is asked because of it.
    pub asks: bool,
}

/// A prompt, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptNote {
    /// When it was noted, by the clock of whoever noted it.
    pub at: Timestamp,
    /// What it was.
    pub prompt: Prompt,
    /// Whether the provider was to be asked because of it.
    pub asks: bool,
}

/// A question to a provider that has led to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeQuery {
    /// What was asked.
    pub purpose: Purpose,
    /// Whether it was asked before its own time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
}

/// A question to a provider, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueryNote {
    /// When its answer was noted, by the clock of whoever asked; of several in a row that changed nothing, the first.
    pub at: Timestamp,
    /// The call it is about, and its number.
    pub step: Step,
    /// What was asked.
    pub purpose: Purpose,
    /// Why it was asked before its own time; absent where it was asked in its own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Prompt>,
    /// The state of the command after it.
    pub state: State,
    /// What was wrong with the answer, or with what it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often it was asked in a row, for the same reason, and changed nothing.
    pub times: u32,
    /// The time of the last of these.
    pub latest: Timestamp,
}
