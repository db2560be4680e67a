//! Requests a lookup of a command at its provider: `POST /v1/commands/{id}/lookup`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::access::OperateAccess;
pub use super::commands::LookupStart;
use super::extract::{ApiQuery, CommandPath};
use super::operation::{DescribeAnswer, OperationDescription};
use super::problem::{ApiProblem, ProblemKind};
use super::read_commands::unknown_command;
use super::schemas::SchemaRegistry;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::excerpt;

/// The longest time for finding the message of a dead letter: many may lie before it in its queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receipt for a request to query the provider about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookupReceipt {
    /// The id of the command.
    pub id: CommandId,
    /// The path of the command, whose `queries` hold the result, and whose `event` does where the
    /// command ends.
    pub location: String,
}

impl IntoResponse for LookupReceipt {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self)).into_response()
    }
}

impl DescribeAnswer for LookupReceipt {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        operation.answer::<Self>("202", schemas);
    }
}

/// Requests a lookup of a command that waits for its provider, or is a dead letter.
pub(super) async fn lookup(
    State(api): State<ApiState>,
    access: OperateAccess,
    CommandPath(id): CommandPath,
    ApiQuery(()): ApiQuery<()>,
) -> Result<LookupReceipt, ApiProblem> {
    api.require_ready()?;
    let lookup_request = api.commands.look_up(&access, id.clone());
    let receipt = api
        .run_with_timeout(PATIENCE, lookup_request, "the provider may be queried all the same")
        .await?;
    match receipt.ok_or_else(|| unknown_command(&id))? {
        LookupStart::Requested => {
            let location = format!("/v1/commands/{}", id.as_str().replace('/', "%2F"));
            Ok(LookupReceipt { id, location })
        }
        LookupStart::Refused(why) => {
            let detail = format!("`{}` is not looked up: {why}", excerpt(id.as_str()));
            Err(ApiProblem::new(ProblemKind::NothingToAsk, detail))
        }
    }
}
