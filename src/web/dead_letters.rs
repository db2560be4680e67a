//! Reads dead letters: `GET /v1/dead-letters`, `/v1/dead-letters/groups` and
//! `/v1/dead-letters/{id}`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::access::ReadAccess;
pub use super::dead_letter_view::{DeadLetterView, DeadMessage};
use super::extract::{ApiQuery, CommandPath};
use super::problem::ApiProblem;
use super::query::{PageQuery, query_fields};
use super::read_commands::{list_page, require_known, unknown_command};
use super::responses::CommandPage;
use ferryd_domain::command_id::CommandId;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::DeadLetterGroup;

/// The longest time for finding a message: many may lie before it in its queue.
pub const MESSAGE_PATIENCE: Duration = Duration::from_secs(30);

/// Groups of dead letters with the same failure, the most frequent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterGroups {
    /// The groups of dead letters.
    pub groups: Vec<DeadLetterGroup>,
}

/// The dead letter of a command, and those of messages that were refused under its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetters {
    /// The dead letters: the command's own first.
    pub dead_letters: Vec<DeadLetterView>,
}

/// The parts of a dead letter that are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeadLetterQuery {
    /// Read the original message too, body and properties, from its queue. Nothing in it is masked,
    /// so this needs the role `operate`.
    pub message: bool,
}

/// `GET /v1/dead-letters`
pub(super) async fn list(
    State(api): State<ApiState>,
    access: ReadAccess,
    ApiQuery((filter, page)): ApiQuery<(CommandFilter, PageQuery)>,
) -> Result<Json<CommandPage>, ApiProblem> {
    list_page(&api, &access, CommandFilter { dead: true, ..filter }, page).await
}

/// `GET /v1/dead-letters/groups`
pub(super) async fn groups(
    State(api): State<ApiState>,
    access: ReadAccess,
    ApiQuery(filter): ApiQuery<CommandFilter>,
) -> Result<Json<DeadLetterGroups>, ApiProblem> {
    require_known(&api)?;
    let groups = api.commands.count_groups(&access, filter).await?;
    Ok(Json(DeadLetterGroups { groups }))
}

/// `GET /v1/dead-letters/{id}`
pub(super) async fn show(
    State(api): State<ApiState>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
    ApiQuery(DeadLetterQuery { message }): ApiQuery<DeadLetterQuery>,
) -> Result<Json<DeadLetters>, ApiProblem> {
    require_known(&api)?;
    let dead_letters = if message {
        read_messages(&api, &access, id).await?
    } else {
        records(&api, &access, &id).await?
    };
    Ok(Json(DeadLetters { dead_letters }))
}

async fn records(
    api: &ApiState,
    access: &ReadAccess,
    id: &CommandId,
) -> Result<Vec<DeadLetterView>, ApiProblem> {
    let found = api.commands.find_dead_letters(access, id).await?;
    if found.is_empty() { Err(not_dead(id)) } else { Ok(found) }
}

async fn read_messages(
    api: &ApiState,
    access: &ReadAccess,
    id: CommandId,
) -> Result<Vec<DeadLetterView>, ApiProblem> {
    access.require_operate()?;
    api.require_ready()?;
    let reading = api.commands.read_dead_messages(access, id.clone());
    let found = api.run_with_timeout(MESSAGE_PATIENCE, reading, "ask again").await?;
    if found.is_empty() {
        Err(not_dead(&id))
    } else {
        Ok(found.into_iter().map(DeadLetterView::from).collect())
    }
}

/// Builds the problem for a command without a dead letter. A token without access to the command
/// gets the same one.
fn not_dead(id: &CommandId) -> ApiProblem {
    unknown_command(id).with_detail(format!("there is no dead letter of a command `{id}`"))
}

query_fields! { DeadLetterQuery }
