//! Handlers that read commands, lists of dead letters, and calls.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Desk;
use super::access::ReadAccess;
use super::answers::{CommandExchanges, CommandPage, CommandStory};
use super::commands::Failed;
use super::extract::{ApiQuery, CommandPath};
use super::problem::{Kind, Problem};
use super::query::{CommandListQuery, PageQuery, query_fields};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::case::Case;
use ferryd_ledger::command_filter::{CommandFilter, TIME_PATTERN, read_past_time};
use ferryd_ledger::exchanges::{Found, Window};
use ferryd_ledger::index::Page;

/// The times in which calls are searched.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ExchangesQuery {
    /// Search from this time on (RFC 3339), or from so long ago (`36h`), whatever the ledger says
    /// of the command's calls.
    #[serde(deserialize_with = "read_past_time")]
    #[schemars(extend("pattern" = TIME_PATTERN), with = "String")]
    since: Option<Timestamp>,
}

query_fields! { ExchangesQuery }

/// `GET /v1/commands/{id}`
pub(super) async fn command(
    State(desk): State<Desk>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
) -> Result<Json<CommandStory>, Problem> {
    let found = find(&desk, &access, &id).await;
    match found {
        Ok(case) => {
            // A refused message has an id of its own, under which no further message is refused.
            let refused = if id.is_refused() { Vec::new() } else { desk.commands.find_refusals(&access, &id).await? };
            Ok(Json(CommandStory::new(id, &case, refused)))
        }
        Err(problem) if problem.kind == Kind::UnknownCommand => Err(unknown_or_refused(&desk, &access, &id).await?),
        Err(problem) => Err(problem),
    }
}

/// Builds the problem for an unknown command, with the messages that were refused under its id, if
/// there are some.
async fn unknown_or_refused(desk: &Desk, access: &ReadAccess, id: &CommandId) -> Result<Problem, Problem> {
    let refused = desk.commands.find_refusals(access, id).await?;
    if refused.is_empty() {
        return Ok(unknown(id));
    }
    let detail = format!("nothing is known of a command `{id}`, only messages that were refused under this id");
    let refused = serde_json::to_value(refused).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Ok(Problem::new(Kind::UnknownCommand, detail).with("refused", refused))
}

/// `GET /v1/commands/{id}/exchanges`
pub(super) async fn exchanges(
    State(desk): State<Desk>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
    ApiQuery(ExchangesQuery { since }): ApiQuery<ExchangesQuery>,
) -> Result<Json<CommandExchanges>, Problem> {
    let case = match find(&desk, &access, &id).await {
        Ok(case) => Some(case),
        // The stream may still hold calls of commands that the ledger has pruned.
        Err(problem) if problem.kind == Kind::UnknownCommand && since.is_some() => None,
        Err(problem) => return Err(problem),
    };
    let now = Timestamp::now();
    let windows = match (since, &case) {
        (Some(from), _) => vec![Window { from, to: now }],
        (None, Some(case)) => Window::of_calls(case, now),
        (None, None) => Vec::new(),
    };
    let (called, erased) = (!windows.is_empty(), case.as_ref().is_some_and(Case::is_erased));
    let found = desk.commands.find_calls(&access, &id, case.as_ref(), windows).await?;
    let Found { exchanges, complete } = found.ok_or_else(|| unknown(&id))?;
    Ok(Json(CommandExchanges { exchanges, complete, called, erased }))
}

/// `GET /v1/commands`
pub(super) async fn commands(
    State(desk): State<Desk>,
    access: ReadAccess,
    ApiQuery((filter, (list, page))): ApiQuery<(CommandFilter, (CommandListQuery, PageQuery))>,
) -> Result<Json<CommandPage>, Problem> {
    let CommandListQuery { dead, cancel_requested } = list;
    let filter = CommandFilter { dead, cancel_requested: Some(cancel_requested), ..filter };
    list_page(&desk, &access, filter, page).await
}

/// Answers with the page that a query selects.
pub(super) async fn list_page(
    desk: &Desk,
    access: &ReadAccess,
    filter: CommandFilter,
    page: PageQuery,
) -> Result<Json<CommandPage>, Problem> {
    require_known(desk)?;
    let Page { rows, next } = desk.commands.list(access, filter, page.cursor, page.limit).await?;
    Ok(Json(CommandPage { commands: rows, next }))
}

/// Requires that the ledger has been read. During an outage the answers are those from before it.
pub(super) fn require_known(desk: &Desk) -> Result<(), Problem> {
    desk.require_caught_up()
}

/// Builds the problem for an unknown command. A token without access to a command gets the same
/// one, so that it does not reveal that the command exists.
pub(super) fn unknown(id: &CommandId) -> Problem {
    Problem::new(Kind::UnknownCommand, format!("nothing is known of a command `{id}`"))
}

async fn find(desk: &Desk, access: &ReadAccess, id: &CommandId) -> Result<Case, Problem> {
    require_known(desk)?;
    match desk.commands.find(access, id).await {
        Ok(Some(case)) => Ok(case.as_ref().clone()),
        Ok(None) => Err(unknown(id)),
        // The command may be recorded by now, but the broker can't be reached to find out.
        Err(Failed::Broker(_)) => {
            desk.require_ready()?;
            Err(Problem::new(Kind::NotConfirmed, format!("nothing is known of a command `{id}` so far; ask again")))
        }
        Err(failed) => Err(failed.into()),
    }
}
