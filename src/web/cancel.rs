//! Cancels a command: `DELETE /v1/commands/{id}`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::access::OperateAccess;
use super::extract::{ApiQuery, PublishedPath};
use super::operation::{DescribeAnswer, OperationDescription};
use super::problem::{ApiProblem, ProblemKind};
use super::query::PersonQuery;
use super::read_commands::unknown_command;
use super::responses::{CancelOutcome, CancelledCommand};
use super::schemas::SchemaRegistry;
use crate::pipeline::cancel::CancelResult;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::Actor;
use ferryd_domain::ledger::ruling::TooLate;
use ferryd_domain::name::excerpt;

impl IntoResponse for CancelledCommand {
    fn into_response(self) -> Response {
        let status = match self.outcome {
            CancelOutcome::Cancelled => StatusCode::OK,
            CancelOutcome::Noted => StatusCode::ACCEPTED,
        };
        (status, Json(self)).into_response()
    }
}

impl DescribeAnswer for CancelledCommand {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        operation.answer::<Self>("200", schemas);
        operation.answer::<Self>("202", schemas);
    }
}

/// Cancels a command that was not sent to its provider yet.
pub(super) async fn cancel(
    State(api): State<ApiState>,
    access: OperateAccess,
    PublishedPath(id): PublishedPath,
    ApiQuery(PersonQuery { by, reason }): ApiQuery<PersonQuery>,
) -> Result<CancelledCommand, ApiProblem> {
    api.require_ready()?;
    let person = Actor { by: access.recorded_name(by.as_deref()), reason };
    let cancelling = api.commands.cancel(&access, id.clone(), person);
    let cancelled =
        api.run_detached(cancelling, "the command may be cancelled all the same").await?;
    match cancelled.ok_or_else(|| unknown_command(&id))? {
        CancelResult::Cancelled => Ok(CancelledCommand { id, outcome: CancelOutcome::Cancelled }),
        CancelResult::Noted => Ok(CancelledCommand { id, outcome: CancelOutcome::Noted }),
        CancelResult::TooLate { reason } => Err(too_late(&id, reason)),
    }
}

fn too_late(id: &CommandId, reason: TooLate) -> ApiProblem {
    // A reason is a plain name, which always has a JSON form.
    let word = serde_json::to_value(reason).unwrap_or_default();
    ApiProblem::new(ProblemKind::TooLate, format!("`{}`: {reason}", excerpt(id.as_str())))
        .with_field("reason", word)
}
