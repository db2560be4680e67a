//! Requests to the API about one job.

use crate::cli::api_client::{ApiClient, ApiError, ApiRequest};
use crate::cli::error::CommandError;
use crate::web::jobs::JobView;
use crate::web::problem::ProblemKind;
use ferryd_domain::job::JobId;

/// Asks for a job.
pub(super) fn find_job(client: &ApiClient, id: JobId) -> Result<JobView, CommandError> {
    client
        .send_request(&ApiRequest::get(["jobs", &id.to_string()]))
        .map_err(|error| unknown_job(id, error))
}

/// Asks for a change of a job.
pub(super) fn change_job(
    client: &ApiClient,
    id: JobId,
    what: &str,
    reason: Option<&str>,
) -> Result<JobView, CommandError> {
    let request = ApiRequest::post(["jobs", &id.to_string(), what]).with("reason", reason);
    client.send_request(&request).map_err(|error| unknown_job(id, error))
}

fn unknown_job(id: JobId, error: ApiError) -> CommandError {
    match error.into_problem(ProblemKind::NotFound) {
        Ok(_) => CommandError::Refused(format!(
            "there is no job `{id}`; `ferryd jobs list` shows those that there are"
        )),
        Err(error) => error.into(),
    }
}
