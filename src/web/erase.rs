//! Erases the contents of commands that have ended: `POST /v1/commands/{id}/erase`, and `POST
//! /v1/erasures` for many.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::EraseAccess;
use super::api_state::{ApiState, PATIENCE};
use super::command_gate::ErasureTarget;
use super::endpoint::DescribedEndpoint;
use super::extract::{ApiQuery, CommandPath};
use super::problem::NOT_READY;
use super::problem::{ApiProblem, ProblemKind};
use super::query::{ErasureQuery, query_fields};
use super::read_commands::unknown_command;
use super::responses::ErasureReport;
use crate::operator::erase::{ErasureOutcome, ErasureResult};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::Actor;

/// The longest time that an erasure of many commands may take.
const ERASURES_PATIENCE: Duration = Duration::from_mins(1);

/// The contents of the command are erased.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErasedCommand {
    /// The id of the command.
    id: CommandId,
    /// True where the contents were erased before.
    already_erased: bool,
}

/// The commands that are to be erased, and whether the request is a dry run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ErasedCommandsQuery {
    /// Erase every command with this reference of its publisher's.
    reference: Option<String>,
    /// Erase these commands, and the messages refused under their ids.
    ids: Vec<CommandId>,
    /// Change nothing, and answer with what would be done.
    dry_run: bool,
}

query_fields! { ErasedCommandsQuery }

/// Returns the endpoint that erases one command.
pub(super) fn endpoint() -> DescribedEndpoint {
    let description = "Its reference, metadata, result, texts and the provider's ids leave the index, for good. Id, \
                       digests, state and times stay, so that nothing is called again. A dead letter is resolved or \
                       discarded first.";
    DescribedEndpoint::new(
        erase,
        "eraseCommand",
        "Erase the contents of a command that has ended",
        description,
    )
    .with_problems(&NOT_READY)
    .with_problems(&[ProblemKind::NotErasable, ProblemKind::Busy])
}

/// Returns the endpoint that erases many commands.
pub(super) fn endpoint_of_many() -> DescribedEndpoint {
    let summary = "Erase the contents of commands by their reference, or by their ids";
    let description = "As for one command, with what was refused under the ids. Those that can't be erased yet are \
                       named, and why.";
    DescribedEndpoint::new(erase_all, "eraseCommands", summary, description)
        .with_problems(&NOT_READY)
        .with_problems(&[ProblemKind::Busy])
}

/// Erases the contents of a command that has ended.
async fn erase(
    State(api): State<ApiState>,
    access: EraseAccess,
    CommandPath(id): CommandPath,
    ApiQuery(request): ApiQuery<ErasureQuery>,
) -> Result<Json<ErasedCommand>, ApiProblem> {
    let person = person(&access, request);
    let results = apply(&api, &access, ErasureTarget::One(id.clone()), person, false).await?;
    let result = results.into_iter().next().ok_or_else(|| unknown_command(&id))?;
    match result.outcome {
        ErasureOutcome::Erased => Ok(Json(ErasedCommand { id, already_erased: false })),
        ErasureOutcome::AlreadyErased => Ok(Json(ErasedCommand { id, already_erased: true })),
        ErasureOutcome::Kept if result.state.is_none() => Err(unknown_command(&id)),
        ErasureOutcome::Kept => {
            Err(ApiProblem::new(ProblemKind::NotErasable, result.reason.unwrap_or_default()))
        }
    }
}

/// Erases the contents of commands that have ended, by their reference or their ids.
async fn erase_all(
    State(api): State<ApiState>,
    access: EraseAccess,
    ApiQuery((request, which)): ApiQuery<(ErasureQuery, ErasedCommandsQuery)>,
) -> Result<Json<ErasureReport>, ApiProblem> {
    let ErasedCommandsQuery { reference, ids, dry_run } = which;
    let target = match (reference, ids.is_empty()) {
        (Some(reference), true) => ErasureTarget::Reference(reference),
        (None, false) => ErasureTarget::Ids(ids),
        _ => {
            let detail = "say which commands in one of the parameters `reference` and `ids`";
            return Err(ApiProblem::new(ProblemKind::InvalidRequest, detail));
        }
    };
    let commands = apply(&api, &access, target, person(&access, request), dry_run).await?;
    Ok(Json(ErasureReport { dry_run, commands }))
}

/// Returns the person who requests the erasure, and the reason.
fn person(access: &EraseAccess, ErasureQuery { by, reason }: ErasureQuery) -> Actor {
    Actor { by: access.recorded_name(by.as_deref()), reason: Some(reason) }
}

async fn apply(
    api: &ApiState,
    access: &EraseAccess,
    target: ErasureTarget,
    person: Actor,
    dry_run: bool,
) -> Result<Vec<ErasureResult>, ApiProblem> {
    api.require_ready()?;
    let patience =
        if matches!(target, ErasureTarget::One(_)) { PATIENCE } else { ERASURES_PATIENCE };
    let erasing = api.commands.erase(access, target, person, dry_run);
    api.run_with_timeout(patience, erasing, "the commands may be erased all the same; ask again")
        .await
}
