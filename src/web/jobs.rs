//! Jobs: an operator's action on many dead letters, run by the daemon.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ApiState;
use super::access::{OperateAccess, ReadAccess};
use super::extract::{ApiQuery, JobPath};
use super::job_order::JobOrderBody;
use super::operation::{DescribeAnswer, OperationDescription};
use super::problem::{ApiProblem, ProblemKind};
use super::query::{DEFAULT_LIMIT, PersonQuery, query_fields, read_limit};
use super::schemas::SchemaRegistry;
use ferryd_domain::job::record::JobRequest;
use ferryd_domain::job::state::JobPhase;
use ferryd_domain::job::{JobChange, JobId, JobRecord, JobState};
use ferryd_domain::ledger::record::Actor;
use ferryd_ledger::Ledger;
use ferryd_ledger::index::MAX_PAGE;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// The job's id.
    pub id: JobId,
    /// The job's phase.
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

/// The requested page of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobPageQuery {
    /// Most jobs on a page, 1 to 1000. Default 100.
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

/// The job that was recorded.
pub(super) struct StartedJob(JobView);

impl IntoResponse for StartedJob {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl DescribeAnswer for StartedJob {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        operation.answer::<JobView>("201", schemas);
    }
}

impl JobView {
    fn new(id: JobId, state: JobState) -> Self {
        Self { id, phase: state.phase(), done: state.done(), state }
    }
}

/// `POST /v1/jobs`
pub(super) async fn start(
    State(api): State<ApiState>,
    access: OperateAccess,
    JobOrderBody(order): JobOrderBody,
) -> Result<StartedJob, ApiProblem> {
    let spec = order.spec(&access)?;
    let id = JobId(Uuid::now_v7());
    change(&api, id, JobChange::Started(Box::new(spec))).await.map(StartedJob)
}

/// `GET /v1/jobs`
pub(super) async fn list(
    State(api): State<ApiState>,
    access: ReadAccess,
    ApiQuery(JobPageQuery { limit, cursor }): ApiQuery<JobPageQuery>,
) -> Result<Json<JobList>, ApiProblem> {
    let ledger = ledger(&api)?;
    ledger.flush().await;
    let index = std::sync::Arc::clone(ledger.index());
    let page = tokio::task::spawn_blocking(move || index.jobs(cursor, limit)).await;
    let page = page.map_err(|_| unreadable())?.map_err(|_| unreadable())?;
    let seen = page.jobs.into_iter().filter(|(_, job)| access.sees(&job.spec.coverage()));
    Ok(Json(JobList {
        jobs: seen.map(|(id, job)| JobView::new(id, job)).collect(),
        next: page.next,
    }))
}

/// `GET /v1/jobs/{id}`
pub(super) async fn show(
    State(api): State<ApiState>,
    access: ReadAccess,
    JobPath(id): JobPath,
) -> Result<Json<JobView>, ApiProblem> {
    find(&api, id, |job| access.sees(&job.spec.coverage())).await.map(Json)
}

/// `POST /v1/jobs/{id}/pause`
pub(super) async fn pause(
    State(api): State<ApiState>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, ApiProblem> {
    request(&api, &access, id, person, JobChange::Paused).await
}

/// `POST /v1/jobs/{id}/resume`
pub(super) async fn resume(
    State(api): State<ApiState>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, ApiProblem> {
    request(&api, &access, id, person, JobChange::Resumed).await
}

/// `POST /v1/jobs/{id}/stop`
pub(super) async fn stop(
    State(api): State<ApiState>,
    access: OperateAccess,
    JobPath(id): JobPath,
    ApiQuery(person): ApiQuery<PersonQuery>,
) -> Result<Json<JobView>, ApiProblem> {
    request(&api, &access, id, person, JobChange::Stopped).await
}

/// Records what a person wants of a job, and answers with what that comes to. To ask for it again
/// changes nothing.
async fn request(
    api: &ApiState,
    access: &OperateAccess,
    id: JobId,
    PersonQuery { by, reason }: PersonQuery,
    wanted: impl FnOnce(JobRequest) -> JobChange,
) -> Result<Json<JobView>, ApiProblem> {
    find(api, id, |job| access.scope().covers(&job.spec.coverage())).await?;
    let actor = Actor { by: access.recorded_name(by.as_deref()), reason };
    change(api, id, wanted(JobRequest { actor })).await.map(Json)
}

fn unreadable() -> ApiProblem {
    ApiProblem::new(ProblemKind::Internal, "the ledger's index can't be read; see ferryd's log")
}

fn ledger(api: &ApiState) -> Result<Ledger, ApiProblem> {
    api.require_caught_up()?;
    api.commands.ledger().cloned().ok_or_else(unreadable)
}

/// Finds a job that the token of the request may read.
async fn find(
    api: &ApiState,
    id: JobId,
    may_see: impl FnOnce(&JobState) -> bool,
) -> Result<JobView, ApiProblem> {
    let ledger = ledger(api)?;
    let mut job = ledger.job(&id).map_err(|_| unreadable())?;
    if job.is_none() {
        // Another instance may have started it just now.
        let barrier = async move { Ok(ledger.wait_for_barrier().await?) };
        api.run_detached(barrier, "ask again").await?;
        job = self::ledger(api)?.job(&id).map_err(|_| unreadable())?;
    }
    let job = job.filter(|job| may_see(job));
    let job = job
        .ok_or_else(|| ApiProblem::new(ProblemKind::NotFound, format!("there is no job `{id}`")))?;
    Ok(JobView::new(id, job.as_ref().clone()))
}

/// Appends a record about a job, and says what is known of the job then.
async fn change(api: &ApiState, id: JobId, change: JobChange) -> Result<JobView, ApiProblem> {
    let ledger = ledger(api)?;
    api.require_ready()?;
    let record = JobRecord { at: Timestamp::now(), job: id, change };
    let appending = async move {
        ledger.append_job(record).await?;
        Ok(ledger.job(&id))
    };
    let job =
        api.run_detached(appending, "it may be done all the same; see `ferryd jobs list`").await?;
    let job = job.map_err(|_| unreadable())?.ok_or_else(unreadable)?;
    Ok(JobView::new(id, job.as_ref().clone()))
}
