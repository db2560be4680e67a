//! The filter that selects the dead letters of a job.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::EchoedIdentity;
use crate::command_id::CommandId;
use crate::dead_letter::{DeadLetter, shorten};
use crate::lifecycle::FailureKind;
use crate::name::Name;

/// Selects dead letters. All given criteria must hold; an empty filter selects every dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterFilter {
    /// The ids of commands, of which one must match; an empty list matches any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<CommandId>,
    /// The type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<Name>,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
    /// The operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Name>,
    /// The publisher's reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The kind of failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// The provider's error code, or ferryd's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The generation that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Dead-lettered before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<Timestamp>,
    /// Dead-lettered at this time or after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<Timestamp>,
    /// Selects only dead letters whose description can't be read, and which the ledger may not
    /// know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

impl DeadLetterFilter {
    /// Returns true if the filter selects every dead letter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if the filter selects a dead letter of this command, with this description
    /// where it can be read.
    #[must_use]
    pub fn matches(&self, command: &EchoedIdentity, letter: Option<&DeadLetter>) -> bool {
        let at = letter.map(|letter| letter.dead_lettered_at);
        let code = letter.and_then(|letter| letter.code.as_deref()).map(shorten);
        (self.ids.is_empty() || self.ids.contains(&command.id))
            && is(self.r#type.as_ref(), command.r#type.as_ref())
            && is(self.provider.as_ref(), command.provider.as_ref())
            && is(self.account.as_ref(), command.account.as_ref())
            && is(self.operation.as_ref(), command.operation.as_ref())
            && is(self.reference.as_ref(), command.reference.as_ref())
            && is(self.kind.as_ref(), letter.map(|letter| &letter.kind))
            && is(self.code.as_deref().map(shorten), code)
            && is(self.http_status.as_ref(), letter.and_then(|letter| letter.http_status.as_ref()))
            && is(self.generation.as_ref(), letter.map(|letter| &letter.generation))
            && self.older_than.is_none_or(|end| at.is_some_and(|at| at < end))
            && self.newer_than.is_none_or(|start| at.is_some_and(|at| at >= start))
            && !(self.unreadable && letter.is_some())
    }
}

fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}
