//! Whether ferryd is alive, and whether it can do its work: `GET /livez`, `GET /readyz`.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use super::problem::Problem;

/// The process is alive, or ready: `status` says which.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    status: String,
}

/// The process answers. A broker that is away is no reason to end a process whose job it is to wait for it.
pub(super) async fn livez() -> Json<Health> {
    Json(Health { status: "alive".to_owned() })
}

/// The broker is there, and the ledger is known up to now.
pub(super) async fn readyz(State(desk): State<Desk>) -> Result<Json<Health>, Problem> {
    desk.require_ready()?;
    Ok(Json(Health { status: "ready".to_owned() }))
}
