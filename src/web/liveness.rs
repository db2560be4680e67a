//! Reports liveness and readiness: `GET /livez`, `GET /readyz`.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::ApiState;
use super::problem::ApiProblem;

/// The process is alive, or ready: `status` says which.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LivenessReport {
    /// `alive` or `ready`.
    status: String,
}

/// Answers that the process lives. An unreachable broker is no reason to end the process, whose job
/// includes waiting for it.
pub(super) async fn livez() -> Json<LivenessReport> {
    Json(LivenessReport { status: "alive".to_owned() })
}

/// Answers that the broker is connected and the ledger is read completely.
pub(super) async fn readyz(
    State(api): State<ApiState>,
) -> Result<Json<LivenessReport>, ApiProblem> {
    api.require_ready()?;
    Ok(Json(LivenessReport { status: "ready".to_owned() }))
}
