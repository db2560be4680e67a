//! Handlers that read commands, lists of dead letters, and calls.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ApiState;
use super::access::ReadAccess;
use super::commands::CommandServiceError;
use super::extract::{ApiQuery, CommandPath};
use super::problem::{ApiProblem, ProblemKind};
use super::query::{CommandListQuery, PageQuery, query_fields};
use super::responses::{CommandCalls, CommandPage, CommandStory};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_ledger::call_log::{CallWindow, FoundCalls};
use ferryd_ledger::command_filter::{CommandFilter, TIME_PATTERN, read_past_time};
use ferryd_ledger::index::ListPage;

/// The times in which calls are searched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct CallsQuery {
    /// Search from this time on (RFC 3339), or from so long ago (`36h`), whatever the ledger says
    /// of the command's calls.
    #[serde(deserialize_with = "read_past_time")]
    #[schemars(extend("pattern" = TIME_PATTERN), with = "String")]
    since: Option<Timestamp>,
}

query_fields! { CallsQuery }

/// `GET /v1/commands/{id}`
pub(super) async fn command(
    State(api): State<ApiState>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
) -> Result<Json<CommandStory>, ApiProblem> {
    let found = find(&api, &access, &id).await;
    match found {
        Ok(state) => {
            // A refused message has an id of its own, under which no further message is refused.
            let refused = if id.is_refused() {
                Vec::new()
            } else {
                api.commands.find_refusals(&access, &id).await?
            };
            Ok(Json(CommandStory::new(id, &state, refused)))
        }
        Err(problem) if problem.kind == ProblemKind::UnknownCommand => {
            Err(unknown_or_refused(&api, &access, &id).await?)
        }
        Err(problem) => Err(problem),
    }
}

/// Builds the problem for an unknown command, with the messages that were refused under its id, if
/// there are some.
async fn unknown_or_refused(
    api: &ApiState,
    access: &ReadAccess,
    id: &CommandId,
) -> Result<ApiProblem, ApiProblem> {
    let refused = api.commands.find_refusals(access, id).await?;
    if refused.is_empty() {
        return Ok(unknown_command(id));
    }
    let detail = format!(
        "nothing is known of a command `{id}`, only messages that were refused under this id"
    );
    let refused = serde_json::to_value(refused)
        .map_err(|error| ApiProblem::new(ProblemKind::Internal, error.to_string()))?;
    Ok(ApiProblem::new(ProblemKind::UnknownCommand, detail).with_field("refused", refused))
}

/// `GET /v1/commands/{id}/calls`
pub(super) async fn list_calls(
    State(api): State<ApiState>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
    ApiQuery(CallsQuery { since }): ApiQuery<CallsQuery>,
) -> Result<Json<CommandCalls>, ApiProblem> {
    let state = match find(&api, &access, &id).await {
        Ok(state) => Some(state),
        // The stream may still hold calls of commands that the ledger has pruned.
        Err(problem) if problem.kind == ProblemKind::UnknownCommand && since.is_some() => None,
        Err(problem) => return Err(problem),
    };
    let now = Timestamp::now();
    let windows = match (since, &state) {
        (Some(from), _) => vec![CallWindow { from, to: now }],
        (None, Some(state)) => CallWindow::of_calls(state, now),
        (None, None) => Vec::new(),
    };
    let (called, erased) =
        (!windows.is_empty(), state.as_ref().is_some_and(CommandState::is_erased));
    let found = api.commands.find_calls(&access, &id, state.as_ref(), windows).await?;
    let FoundCalls { calls: http_calls, complete } = found.ok_or_else(|| unknown_command(&id))?;
    Ok(Json(CommandCalls { calls: http_calls, complete, called, erased }))
}

/// `GET /v1/commands`
pub(super) async fn list_commands(
    State(api): State<ApiState>,
    access: ReadAccess,
    ApiQuery((filter, (list, page))): ApiQuery<(CommandFilter, (CommandListQuery, PageQuery))>,
) -> Result<Json<CommandPage>, ApiProblem> {
    let CommandListQuery { dead, cancel_requested } = list;
    let filter = CommandFilter { dead, cancel_requested: Some(cancel_requested), ..filter };
    list_page(&api, &access, filter, page).await
}

/// Answers with the page that a query selects.
pub(super) async fn list_page(
    api: &ApiState,
    access: &ReadAccess,
    filter: CommandFilter,
    page: PageQuery,
) -> Result<Json<CommandPage>, ApiProblem> {
    require_known(api)?;
    let ListPage { rows, next } =
        api.commands.list(access, filter, page.cursor, page.limit).await?;
    Ok(Json(CommandPage { commands: rows, next }))
}

/// Requires that the ledger has been read. During an outage the answers are those from before it.
pub(super) fn require_known(api: &ApiState) -> Result<(), ApiProblem> {
    api.require_caught_up()
}

/// Builds the problem for an unknown command. A token without access to a command gets the same
/// one, so that it does not reveal that the command exists.
pub(super) fn unknown_command(id: &CommandId) -> ApiProblem {
    ApiProblem::new(ProblemKind::UnknownCommand, format!("nothing is known of a command `{id}`"))
}

async fn find(
    api: &ApiState,
    access: &ReadAccess,
    id: &CommandId,
) -> Result<CommandState, ApiProblem> {
    require_known(api)?;
    match api.commands.find(access, id).await {
        Ok(Some(state)) => Ok(state.as_ref().clone()),
        Ok(None) => Err(unknown_command(id)),
        // The command may be recorded by now, but the broker can't be reached to find out.
        Err(CommandServiceError::Broker(_)) => {
            api.require_ready()?;
            Err(ApiProblem::new(
                ProblemKind::NotConfirmed,
                format!("nothing is known of a command `{id}` so far; ask again"),
            ))
        }
        Err(failed) => Err(failed.into()),
    }
}
