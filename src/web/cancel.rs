//! Cancelling a command: `DELETE /v1/commands/{id}`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use super::access::OperateAccess;
use super::ask::unknown;
use super::extract::{ApiQuery, PublishedPath};
use super::openapi::Schemas;
use super::operation::{DescribeAnswer, Operation};
use super::problem::{Kind, Problem};
use super::query::ReasonQuery;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::Person;
use crate::domain::ledger::ruling::TooLate;
use crate::domain::name::excerpt;
use crate::pipeline::cancel::Cancellation;

/// The command is cancelled; or it is not known yet, and will be cancelled if it comes (202).
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cancelled {
    /// The command.
    id: CommandId,
    /// What came of it.
    outcome: Outcome,
}

/// What came of a wish to cancel.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CancelOutcome")]
enum Outcome {
    /// The command has failed, for good, and was never carried out.
    Cancelled,
    /// The command is not known yet. It will be cancelled when it is taken up, if it ever is.
    Noted,
}

impl IntoResponse for Cancelled {
    fn into_response(self) -> Response {
        let status = match self.outcome {
            Outcome::Cancelled => StatusCode::OK,
            Outcome::Noted => StatusCode::ACCEPTED,
        };
        (status, Json(self)).into_response()
    }
}

impl DescribeAnswer for Cancelled {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.answer::<Self>("200", schemas);
        operation.answer::<Self>("202", schemas);
    }
}

/// Cancels a command that was not sent to its provider yet.
pub(super) async fn cancel(
    State(desk): State<Desk>,
    access: OperateAccess,
    PublishedPath(id): PublishedPath,
    ApiQuery(ReasonQuery { reason }): ApiQuery<ReasonQuery>,
) -> Result<Cancelled, Problem> {
    desk.require_ready()?;
    let person = Person { by: access.recorded_name(), reason };
    let cancelling = desk.commands.cancel(&access, id.clone(), person);
    let cancelled = desk.promptly(cancelling, "the command may be cancelled all the same").await?;
    match cancelled.ok_or_else(|| unknown(&id))? {
        Cancellation::Cancelled => Ok(Cancelled { id, outcome: Outcome::Cancelled }),
        Cancellation::Noted => Ok(Cancelled { id, outcome: Outcome::Noted }),
        Cancellation::TooLate { reason } => Err(too_late(&id, reason)),
    }
}

fn too_late(id: &CommandId, reason: TooLate) -> Problem {
    // A reason is a word, which always has a JSON form.
    let word = serde_json::to_value(reason).unwrap_or_default();
    Problem::new(Kind::TooLate, format!("`{}`: {reason}", excerpt(id.as_str()))).with("reason", word)
}
