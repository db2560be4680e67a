//! Jobs: an operator's action on many dead letters, run by the daemon.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Desk;
use super::access::{OperateAccess, ReadAccess};
use super::body;
use super::extract::{ApiQuery, JobPath};
use super::operation::{DescribeAnswer, DescribeInput, Operation};
use super::problem::{Kind, Problem};
use super::query::{DEFAULT_LIMIT, MAX_TEXT, PersonQuery, query_fields, read_limit};
use super::schemas::Schemas;
use crate::domain::command_scope::CommandScope;
use crate::domain::job::record::JobRequest;
use crate::domain::job::state::JobPhase;
use crate::domain::job::{
    DeadLetterFilter, JobAction, JobChange, JobId, JobRate, JobRecord, JobSpec, JobState, ReplayTerms, Resolution,
};
use crate::domain::ledger::record::Person;
use crate::ledger::Ledger;
use crate::ledger::command_filter::{CommandFilter, WantedKind};
use crate::ledger::index::MAX_PAGE;

/// The most ids that a job names.
const MAX_IDS: usize = 1_000;

/// What a job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobActionName {
    /// Send dead letters to their providers again.
    Replay,
    /// Give commands up for good.
    Discard,
    /// End commands as a person says.
    Resolve,
    /// Ask providers what became of dead letters of which nobody knows.
    Lookup,
}

/// The order to start a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobOrder {
    /// What is done to each dead letter.
    pub action: JobActionName,
    /// Which dead letters are meant. Everything given must hold.
    #[serde(default)]
    pub filter: CommandFilter,
    /// True where all dead letters are meant: a filter with nothing in it is refused otherwise.
    #[serde(default)]
    pub all: bool,
    /// What is dead-lettered after this time is left alone. Default: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Timestamp>,
    /// How dead letters are replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayTerms>,
    /// What became of the commands, for `resolve`.
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
    /// Who decided it, beside the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why; `discard`, `resolve` and `force_new_key` need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// What it is at.
    pub phase: JobPhase,
    /// The dead letters that were acted on; in a dry run, those that would be.
    pub done: u64,
    /// Everything that is known of it.
    #[serde(flatten)]
    pub state: JobState,
}

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<JobId>,
}

/// The page of jobs that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobPageQuery {
    /// How many jobs a page has, 1 to 1000. Default 100.
    #[serde(deserialize_with = "read_limit")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub limit: usize,
    /// The job behind which the page begins: the `next` of the page before.
    pub cursor: Option<JobId>,
}

impl Default for JobPageQuery {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, cursor: None }
    }
}

query_fields! { JobPageQuery }

/// The order in the body of a request.
pub(super) struct JobOrderBody(JobOrder);

impl<S: Send + Sync> FromRequest<S> for JobOrderBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = body::json(request).await?;
        let order = serde_json::from_slice(&body);
        order.map(Self).map_err(|error| invalid(format!("the body is no job: {error}")))
    }
}

impl DescribeInput for JobOrderBody {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.body::<JobOrder>(schemas);
        operation.can_be(&[
            Kind::InvalidRequest,
            Kind::RequestTimeout,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::Internal,
        ]);
    }
}

/// The job that was recorded.
pub(super) struct StartedJob(JobView);

impl IntoResponse for StartedJob {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl DescribeAnswer for StartedJob {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.answer::<JobView>("201", schemas);
    }
}

impl JobView {
    fn new(id: JobId, state: JobState) -> Self {
        Self { id, phase: state.phase(), done: state.done(), state }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidRequest, detail)
}

impl JobOrder {
    fn spec(self, access: &OperateAccess) -> Result<JobSpec, Problem> {
        let is_empty = self.filter.is_empty();
        if is_empty != self.all {
            let text = if is_empty { "say which in `filter`, or `all`" } else { "it is `all` or a `filter`, not both" };
            return Err(invalid(format!("a job is about certain dead letters: {text}")));
        }
        let reason = self.reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        if reason.as_ref().into_iter().chain(&self.by).any(|text| text.len() > MAX_TEXT) {
            return Err(invalid(format!("`by` and `reason` have at most {MAX_TEXT} bytes each")));
        }
        let terms = self.replay;
        let is_forced = terms.as_ref().is_some_and(|terms| terms.force_new_key);
        if reason.is_none() && (is_forced || matches!(self.action, JobActionName::Discard | JobActionName::Resolve)) {
            return Err(invalid("say why in `reason`; it is recorded, and published where commands end by it"));
        }
        let action = match (self.action, terms, self.resolution) {
            (JobActionName::Replay, terms, None) => JobAction::Replay(terms.unwrap_or_default()),
            (JobActionName::Discard, None, None) => JobAction::Discard,
            (JobActionName::Resolve, None, Some(resolution)) => JobAction::Resolve(resolution),
            (JobActionName::Lookup, None, None) => JobAction::Lookup,
            (JobActionName::Resolve, None, None) => return Err(invalid("say what became of them in `resolution`")),
            _ => return Err(invalid("`replay` is for the action `replay` alone, and `resolution` for `resolve`")),
        };
        let by = access.recorded_name(self.by.as_deref().map(str::trim).filter(|by| !by.is_empty()));
        let now = Timestamp::now();
        Ok(JobSpec {
            action,
            filter: dead_letter_filter(self.filter)?,
            scope: access.scope().clone(),
            cut_off: self.cut_off.map_or(now, |cut_off| cut_off.min(now)),
            rate: self.rate,
            ramp: self.ramp,
            dry_run: self.dry_run,
            actor: Person { by, reason },
        })
    }
}

/// The filter as it is recorded.
fn dead_letter_filter(filter: CommandFilter) -> Result<DeadLetterFilter, Problem> {
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

/// `POST /v1/jobs`
pub(super) async fn start(
    State(desk): State<Desk>,
    access: OperateAccess,
    JobOrderBody(order): JobOrderBody,
) -> Result<StartedJob, Problem> {
    let spec = order.spec(&access)?;
    let id = JobId(Uuid::now_v7());
    change(&desk, id, JobChange::Started(Box::new(spec))).await.map(StartedJob)
}

/// `GET /v1/jobs`
pub(super) async fn list(
    State(desk): State<Desk>,
    access: ReadAccess,
    ApiQuery(JobPageQuery { limit, cursor }): ApiQuery<JobPageQuery>,
) -> Result<Json<JobList>, Problem> {
    let ledger = ledger(&desk)?;
    ledger.flush().await;
    let index = std::sync::Arc::clone(ledger.index());
    let page = tokio::task::spawn_blocking(move || index.jobs(cursor, limit)).await;
    let page = page.map_err(|_| unreadable())?.map_err(|_| unreadable())?;
    let seen = page.jobs.into_iter().filter(|(_, job)| is_visible(access.scope(), job));
    Ok(Json(JobList { jobs: seen.map(|(id, job)| JobView::new(id, job)).collect(), next: page.next }))
}

/// `GET /v1/jobs/{id}`
pub(super) async fn show(
    State(desk): State<Desk>,
    access: ReadAccess,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, Problem> {
    find(&desk, access.scope(), id).await.map(Json)
}

/// `POST /v1/jobs/{id}/pause`
pub(super) async fn pause(
    State(desk): State<Desk>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, Problem> {
    request(&desk, &access, id, person, JobChange::Paused).await
}

/// `POST /v1/jobs/{id}/resume`
pub(super) async fn resume(
    State(desk): State<Desk>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, Problem> {
    request(&desk, &access, id, person, JobChange::Resumed).await
}

/// `POST /v1/jobs/{id}/stop`
pub(super) async fn stop(
    State(desk): State<Desk>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, Problem> {
    request(&desk, &access, id, person, JobChange::Stopped).await
}

/// Records what a person wants of a job, and answers with what that comes to. To ask for it again changes nothing.
async fn request(
    desk: &Desk,
    access: &OperateAccess,
    id: JobId,
    PersonQuery { by, reason }: PersonQuery,
    wanted: impl FnOnce(JobRequest) -> JobChange,
) -> Result<Json<JobView>, Problem> {
    find(desk, access.scope(), id).await?;
    let actor = Person { by: access.recorded_name(by.as_deref()), reason };
    change(desk, id, wanted(JobRequest { actor })).await.map(Json)
}

fn unreadable() -> Problem {
    Problem::new(Kind::Internal, "the ledger's index can't be read; see ferryd's log")
}

fn ledger(desk: &Desk) -> Result<Ledger, Problem> {
    desk.require_caught_up()?;
    desk.commands.ledger().cloned().ok_or_else(unreadable)
}

/// A token with a scope sees the jobs that have the same.
fn is_visible(scope: &CommandScope, job: &JobState) -> bool {
    scope.is_unlimited() || job.spec.scope == *scope
}

async fn find(desk: &Desk, scope: &CommandScope, id: JobId) -> Result<JobView, Problem> {
    let ledger = ledger(desk)?;
    let mut job = ledger.job(&id).map_err(|_| unreadable())?;
    if job.is_none() {
        // Another instance may have started it just now.
        let barrier = async move { Ok(ledger.barrier().await?) };
        desk.promptly(barrier, "ask again").await?;
        job = self::ledger(desk)?.job(&id).map_err(|_| unreadable())?;
    }
    let job = job.filter(|job| is_visible(scope, job));
    let job = job.ok_or_else(|| Problem::new(Kind::NotFound, format!("there is no job `{id}`")))?;
    Ok(JobView::new(id, job.as_ref().clone()))
}

/// Appends a record about a job, and says what is known of the job then.
async fn change(desk: &Desk, id: JobId, change: JobChange) -> Result<JobView, Problem> {
    let ledger = ledger(desk)?;
    desk.require_ready()?;
    let record = JobRecord { at: Timestamp::now(), job: id, change };
    let appending = async move {
        ledger.append_job(record).await?;
        Ok(ledger.job(&id))
    };
    let job = desk.promptly(appending, "it may be done all the same; see `ferryd jobs list`").await?;
    let job = job.map_err(|_| unreadable())?.ok_or_else(unreadable)?;
    Ok(JobView::new(id, job.as_ref().clone()))
}
