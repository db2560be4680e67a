//! Asking for commands, dead letters and exchanges.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Desk;
use super::access::ReadAccess;
use super::answers::CommandStory;
use super::commands::Failed;
use super::extract::{ApiQuery, CommandPath};
use super::problem::{Kind, Problem};
use super::query::{CommandListQuery, PageQuery};
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::ledger::command_filter::CommandFilter;
use crate::ledger::exchanges::Found;
use crate::ledger::index::{Cursor, Page, Row};
use crate::transport::exchange_log::Exchange;

/// A page of commands, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CommandPage {
    /// The commands.
    commands: Vec<Row>,
    /// The `cursor` of the next page; null on the last one.
    next: Option<Cursor>,
}

/// What was said to the provider about a command.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CommandExchanges {
    /// The exchanges, by generation and attempt.
    exchanges: Vec<Exchange<'static>>,
    /// Whether all of the time was searched: a search ends after 10 s, or 8 MiB of exchanges.
    complete: bool,
}

/// `GET /v1/commands/{id}`
pub(super) async fn command(
    State(desk): State<Desk>,
    access: ReadAccess,
    CommandPath(id): CommandPath,
) -> Result<Json<CommandStory>, Problem> {
    let found = find(&desk, &access, &id).await;
    match found {
        Ok(case) => {
            // What was refused under an id has an id of its own, under which nothing more is refused.
            let refused = if id.is_refused() { Vec::new() } else { desk.commands.find_refusals(&access, &id).await? };
            Ok(Json(CommandStory::new(id, &case, refused)))
        }
        Err(problem) if problem.kind == Kind::UnknownCommand => Err(unknown_or_refused(&desk, &access, &id).await?),
        Err(problem) => Err(problem),
    }
}

/// The problem where nothing is known of a command, with the messages that were refused under its id, if there are some.
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
) -> Result<Json<CommandExchanges>, Problem> {
    let case = find(&desk, &access, &id).await?;
    let Found { exchanges, complete } = desk.commands.find_calls(&access, &id, &case).await?;
    Ok(Json(CommandExchanges { exchanges, complete }))
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

/// Answers with the page that a query asks for.
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

/// What was known before an outage can be told during it, but not what is still being read.
pub(super) fn require_known(desk: &Desk) -> Result<(), Problem> {
    desk.require_caught_up()
}

/// Also where the token is not good for the command: it must not tell that there is one.
pub(super) fn unknown(id: &CommandId) -> Problem {
    Problem::new(Kind::UnknownCommand, format!("nothing is known of a command `{id}`"))
}

async fn find(desk: &Desk, access: &ReadAccess, id: &CommandId) -> Result<Case, Problem> {
    require_known(desk)?;
    match desk.commands.find(access, id).await {
        Ok(Some(case)) => Ok(case.as_ref().clone()),
        Ok(None) => Err(unknown(id)),
        // It may be known by now, but nobody can be asked.
        Err(Failed::Broker(_)) => {
            desk.require_ready()?;
            Err(Problem::new(Kind::NotConfirmed, format!("nothing is known of a command `{id}` so far; ask again")))
        }
        Err(failed) => Err(failed.into()),
    }
}
