//! The order to start a job, as the body of `POST /v1/jobs`.

use axum::extract::{FromRequest, Request};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::OperateAccess;
use super::body;
use super::operation::{DescribeInput, OperationDescription};
use super::problem::{ApiProblem, ProblemKind};
use super::query::MAX_TEXT;
use super::schemas::SchemaRegistry;
use ferryd_domain::job::{DeadLetterFilter, JobAction, JobRate, JobSpec, ReplayTerms, Resolution};
use ferryd_domain::ledger::record::Actor;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind};

/// The most ids that a job names.
const MAX_IDS: usize = 1_000;

/// Action of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobActionName {
    /// Send dead letters to their providers again.
    Replay,
    /// Give commands up for good.
    Discard,
    /// End commands with the outcome that a person states.
    Resolve,
    /// Query providers for the outcomes of dead letters where they are unknown.
    Lookup,
}

/// The order to start a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobOrder {
    /// The action on each dead letter.
    pub action: JobActionName,
    /// The dead letters to act on: those that meet every condition given.
    #[serde(default)]
    pub filter: CommandFilter,
    /// True where all dead letters are meant: a filter with nothing in it is refused otherwise.
    #[serde(default)]
    pub all: bool,
    /// Commands that are dead-lettered after this time are left alone. Default: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Timestamp>,
    /// Options for `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayTerms>,
    /// The outcome of the commands, for `resolve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// The most dead letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<JobRate>,
    /// True to begin with one a second and become faster.
    #[serde(default)]
    pub ramp: bool,
    /// True to change nothing, and count what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// The person who decided, beside the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The reason; required for `discard`, `resolve` and `force_new_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The order in the body of a request.
pub(super) struct JobOrderBody(pub(super) JobOrder);

impl<S: Send + Sync> FromRequest<S> for JobOrderBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiProblem> {
        let body = body::json(request).await?;
        let order = serde_json::from_slice(&body);
        order.map(Self).map_err(|error| invalid(format!("the body is no job: {error}")))
    }
}

impl DescribeInput for JobOrderBody {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        operation.body::<JobOrder>(schemas);
        operation.can_be(&[
            ProblemKind::InvalidRequest,
            ProblemKind::RequestTimeout,
            ProblemKind::TooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::Internal,
        ]);
    }
}

fn invalid(detail: impl Into<String>) -> ApiProblem {
    ApiProblem::new(ProblemKind::InvalidRequest, detail)
}

impl JobOrder {
    /// An order without any terms.
    #[must_use]
    pub fn new(action: JobActionName, filter: CommandFilter) -> Self {
        Self {
            action,
            filter,
            all: false,
            cut_off: None,
            replay: None,
            resolution: None,
            rate: None,
            ramp: false,
            dry_run: false,
            by: None,
            reason: None,
        }
    }

    /// The job as it is recorded, started with this access.
    pub(super) fn spec(self, access: &OperateAccess) -> Result<JobSpec, ApiProblem> {
        let is_empty = self.filter.is_empty();
        if is_empty != self.all {
            let text = if is_empty {
                "say which in `filter`, or `all`"
            } else {
                "it is `all` or a `filter`, not both"
            };
            return Err(invalid(format!("a job is about certain dead letters: {text}")));
        }
        let reason =
            self.reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        if reason.as_ref().into_iter().chain(&self.by).any(|text| text.len() > MAX_TEXT) {
            return Err(invalid(format!("`by` and `reason` have at most {MAX_TEXT} bytes each")));
        }
        let terms = self.replay;
        let is_forced = terms.as_ref().is_some_and(|terms| terms.force_new_key);
        if reason.is_none()
            && (is_forced || matches!(self.action, JobActionName::Discard | JobActionName::Resolve))
        {
            return Err(invalid(
                "say why in `reason`; it is recorded, and published where commands end by it",
            ));
        }
        let action = match (self.action, terms, self.resolution) {
            (JobActionName::Replay, terms, None) => JobAction::Replay(terms.unwrap_or_default()),
            (JobActionName::Discard, None, None) => JobAction::Discard,
            (JobActionName::Resolve, None, Some(resolution)) => JobAction::Resolve(resolution),
            (JobActionName::Lookup, None, None) => JobAction::Lookup,
            (JobActionName::Resolve, None, None) => {
                return Err(invalid("state their outcome in `resolution`"));
            }
            _ => {
                return Err(invalid(
                    "`replay` is for the action `replay` alone, and `resolution` for `resolve`",
                ));
            }
        };
        let by =
            access.recorded_name(self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()));
        let now = Timestamp::now();
        Ok(JobSpec {
            action,
            filter: dead_letter_filter(self.filter)?,
            scope: access.scope().clone(),
            cut_off: self.cut_off.map_or(now, |cut_off| cut_off.min(now)),
            rate: self.rate,
            ramp: self.ramp,
            dry_run: self.dry_run,
            actor: Actor { by, reason },
        })
    }
}

/// The filter as it is recorded.
fn dead_letter_filter(filter: CommandFilter) -> Result<DeadLetterFilter, ApiProblem> {
    if filter.state.is_some() || filter.conflicts {
        return Err(invalid("`state` and `conflicts` say nothing about dead letters"));
    }
    if filter.ids.len() > MAX_IDS {
        return Err(invalid(format!("a job names at most {MAX_IDS} ids; start several")));
    }
    let unreadable = filter.kind == Some(WantedKind::Unreadable);
    let kind = filter.kind.and_then(|kind| match kind {
        WantedKind::Recorded(kind) => Some(kind),
        WantedKind::Unreadable => None,
    });
    Ok(DeadLetterFilter {
        ids: filter.ids.into_iter().collect(),
        r#type: filter.r#type,
        provider: filter.provider,
        account: filter.account,
        operation: filter.operation,
        reference: filter.reference,
        kind,
        code: filter.code,
        http_status: filter.http_status,
        generation: filter.generation,
        older_than: filter.older_than,
        newer_than: filter.newer_than,
        unreadable,
    })
}
