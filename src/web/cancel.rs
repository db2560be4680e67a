//! Cancelling a command: `DELETE /v1/commands/{id}`.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use super::access::OperateAccess;
use super::ask::{parse_published_id, unknown};
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::Person;
use crate::domain::ledger::ruling::TooLate;
use crate::domain::name::excerpt;
use crate::pipeline::cancel::Cancellation;

/// The answer where a command is, or is going to be, cancelled.
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

/// Cancels a command that was not sent to its provider yet.
pub(super) async fn cancel(
    State(desk): State<Desk>,
    access: OperateAccess,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = parse_published_id(path)?;
    let mut query = Query::read(query.as_deref())?;
    let reason = query.reason()?;
    query.finish()?;
    desk.require_ready()?;
    let person = Person { by: access.recorded_name(), reason };
    let cancelling = desk.commands.cancel(&access, id.clone(), person);
    let cancelled = desk.promptly(cancelling, "the command may be cancelled all the same").await?;
    match cancelled.ok_or_else(|| unknown(&id))? {
        Cancellation::Cancelled => Ok(answer(StatusCode::OK, id, Outcome::Cancelled)),
        Cancellation::Noted => Ok(answer(StatusCode::ACCEPTED, id, Outcome::Noted)),
        Cancellation::TooLate { reason } => Err(too_late(&id, reason)),
    }
}

fn answer(status: StatusCode, id: CommandId, outcome: Outcome) -> Response {
    (status, Json(Cancelled { id, outcome })).into_response()
}

fn too_late(id: &CommandId, reason: TooLate) -> Problem {
    // A reason is a word, which always has a JSON form.
    let word = serde_json::to_value(reason).unwrap_or_default();
    Problem::new(Kind::TooLate, format!("`{}`: {reason}", excerpt(id.as_str()))).with("reason", word)
}
