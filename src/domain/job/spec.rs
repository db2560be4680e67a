//! The order of an operator: what a job does, and to which dead letters.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::DeadLetterFilter;
use super::rate::{FailureLimit, JobRate};
use crate::domain::command_scope::{AccountPath, CommandScope};
use crate::domain::ledger::record::Person;

/// The most ids, refusals and missing commands that a job names.
pub const MAX_NAMED: usize = 100;

/// The order of an operator: what is to be done, to which dead letters, and how fast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSpec {
    /// What is done to each.
    #[serde(flatten)]
    pub action: JobAction,
    /// Which dead letters are meant.
    #[serde(default)]
    pub filter: DeadLetterFilter,
    /// The commands that whoever started the job may operate.
    #[serde(default, skip_serializing_if = "CommandScope::is_unlimited")]
    pub scope: CommandScope,
    /// The time after which what is dead-lettered is left alone.
    pub cut_off: Timestamp,
    /// The most dead letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<JobRate>,
    /// True where the job begins slowly and becomes faster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ramp: bool,
    /// True where nothing is changed, and what would be done is counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who started it, and why.
    pub actor: Person,
}

impl JobSpec {
    /// Returns the commands that the job can touch: those that its scope allows and its filter names.
    #[must_use]
    pub fn coverage(&self) -> CommandScope {
        let DeadLetterFilter { r#type, provider, account, .. } = &self.filter;
        let mut coverage = self.scope.clone();
        if let Some(name) = r#type {
            coverage.types = Some([name.clone()].into());
        }
        if let Some(provider) = provider {
            coverage.providers = Some([provider.clone()].into());
        }
        if let Some((provider, account)) = provider.clone().zip(account.clone()) {
            coverage.accounts = Some([AccountPath { provider, account }].into());
        }
        coverage
    }
}

/// What a job does to each dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum JobAction {
    /// Sends it to its provider again.
    Replay(ReplayTerms),
    /// Gives its command up for good.
    Discard,
    /// Ends its command as a person says.
    Resolve(Resolution),
    /// Asks its provider what became of it.
    Lookup,
}

impl JobAction {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Replay(_) => "replay",
            Self::Discard => "discard",
            Self::Resolve(_) => "resolve",
            Self::Lookup => "lookup",
        }
    }
}

/// How dead letters are replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayTerms {
    /// More time for commands that have expired, in seconds from their replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_s: Option<u64>,
    /// True where a call that may have acted is made again under a new key: it may be done twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force_new_key: bool,
    /// The seconds for which the end of a first replay is awaited before the others follow; absent for no such canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_s: Option<u64>,
    /// The number, or share, of replayed commands that fail again at which the job ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop_at: Option<FailureLimit>,
}

/// What a person says became of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum Resolution {
    /// The provider did it.
    Completed {
        /// The provider's own id for what it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// The result, as the operation would have mapped it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    /// The provider did not do it, and will not.
    Failed {
        /// A word for why.
        code: String,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}
