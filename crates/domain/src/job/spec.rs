//! The order of an operator: what a job does, and to which dead letters.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::DeadLetterFilter;
use super::rate::{FailureLimit, JobRate};
use crate::command_scope::{AccountPath, CommandScope};
use crate::ledger::record::Actor;

/// The maximum number of ids, of refusals and of missing commands that a job lists.
pub const MAX_NAMED: usize = 100;

/// The specification of a job: the action, the dead letters, and the rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSpec {
    /// The action on each dead letter.
    #[serde(flatten)]
    pub action: JobAction,
    /// The filter that selects the dead letters.
    #[serde(default)]
    pub filter: DeadLetterFilter,
    /// The commands that the person who started the job may operate.
    #[serde(default, skip_serializing_if = "CommandScope::is_unlimited")]
    pub scope: CommandScope,
    /// The time after which new dead letters are left alone.
    pub cut_off: Timestamp,
    /// The maximum number of dead letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<JobRate>,
    /// True where the job begins slowly and becomes faster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ramp: bool,
    /// True where the job changes nothing, and only counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The person who started the job, and the reason.
    pub actor: Actor,
}

impl JobSpec {
    /// Returns the commands that the job can touch: those that its scope allows and its filter
    /// names.
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

/// The action of a job on each dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum JobAction {
    /// Sends the command to its provider again.
    Replay(ReplayTerms),
    /// Gives the command up for good.
    Discard,
    /// Ends the command with an outcome that a person states.
    Resolve(Resolution),
    /// Queries the provider about the command's outcome.
    Lookup,
}

impl JobAction {
    /// Returns the name of the action.
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

/// The terms on which dead letters are replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayTerms {
    /// More time for commands that have expired, in seconds from their replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extend_s: Option<u64>,
    /// True where a call that may have acted is made again under a new key: the operation may be
    /// done twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force_new_key: bool,
    /// The time in seconds for which the end of a first replay is awaited before the others follow;
    /// absent for no such canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_s: Option<u64>,
    /// The number, or share, of replayed commands that fail again at which the job ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stop_at: Option<FailureLimit>,
}

/// The outcome of a command, as a person states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum Resolution {
    /// The provider has carried out the operation.
    Completed {
        /// The provider's own id of the result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// The result, as the operation would have mapped it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    /// The provider has not carried out the operation, and will not.
    Failed {
        /// The error code.
        code: String,
        /// The error message, for a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}
