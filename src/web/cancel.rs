//! Cancels a command: `DELETE /v1/commands/{id}`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Desk;
use super::access::OperateAccess;
use super::answers::{CancelOutcome, CancelledCommand};
use super::ask::unknown;
use super::extract::{ApiQuery, PublishedPath};
use super::operation::{DescribeAnswer, Operation};
use super::problem::{Kind, Problem};
use super::query::PersonQuery;
use super::schemas::Schemas;
use crate::pipeline::cancel::Cancellation;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::Person;
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
    ApiQuery(PersonQuery { by, reason }): ApiQuery<PersonQuery>,
) -> Result<CancelledCommand, Problem> {
    desk.require_ready()?;
    let person = Person { by: access.recorded_name(by.as_deref()), reason };
    let cancelling = desk.commands.cancel(&access, id.clone(), person);
    let cancelled = desk.promptly(cancelling, "the command may be cancelled all the same").await?;
    match cancelled.ok_or_else(|| unknown(&id))? {
        Cancellation::Cancelled => Ok(CancelledCommand { id, outcome: CancelOutcome::Cancelled }),
        Cancellation::Noted => Ok(CancelledCommand { id, outcome: CancelOutcome::Noted }),
        Cancellation::TooLate { reason } => Err(too_late(&id, reason)),
    }
}

fn too_late(id: &CommandId, reason: TooLate) -> Problem {
    // A reason is a plain name, which always has a JSON form.
    let word = serde_json::to_value(reason).unwrap_or_default();
    Problem::new(Kind::TooLate, format!("`{}`: {reason}", excerpt(id.as_str()))).with("reason", word)
}
