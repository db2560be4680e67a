//! Erasing the contents of a command that has ended: `POST /v1/commands/{id}/erase`.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use super::access::EraseAccess;
use super::ask::unknown;
use super::extract::{ApiQuery, CommandPath};
use super::problem::{Kind, Problem};
use super::query::ErasureQuery;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::Person;
use crate::operator::erase::ErasureOutcome;

/// The contents of the command are erased.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErasedCommand {
    /// The command.
    id: CommandId,
    /// True where they were erased before.
    already_erased: bool,
}

/// Erases the contents of a command that has ended.
pub(super) async fn erase(
    State(desk): State<Desk>,
    access: EraseAccess,
    CommandPath(id): CommandPath,
    ApiQuery(ErasureQuery { reason }): ApiQuery<ErasureQuery>,
) -> Result<Json<ErasedCommand>, Problem> {
    desk.require_ready()?;
    let person = Person { by: access.recorded_name(), reason: Some(reason) };
    let erasing = desk.commands.erase(&access, id.clone(), person);
    let erased = desk.promptly(erasing, "the command may be erased all the same; ask again").await?;
    let result = erased.ok_or_else(|| unknown(&id))?;
    match result.outcome {
        ErasureOutcome::Erased => Ok(Json(ErasedCommand { id, already_erased: false })),
        ErasureOutcome::AlreadyErased => Ok(Json(ErasedCommand { id, already_erased: true })),
        ErasureOutcome::Kept if result.state.is_none() => Err(unknown(&id)),
        ErasureOutcome::Kept => Err(Problem::new(Kind::NotErasable, result.reason.unwrap_or_default())),
    }
}
