//! Asking the provider about a command now: `POST /v1/commands/{id}/lookup`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Desk;
use super::access::OperateAccess;
use super::ask::{parse_id, unknown};
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::domain::command_id::CommandId;
use crate::domain::name::excerpt;

/// How long it may take to find the message of a dead letter: many may lie before it in its queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answer where the provider is asked about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookupReceipt {
    /// The command.
    pub id: CommandId,
    /// Where to ask for what came of it: in `queries`, and in `event` where it ends the command.
    pub location: String,
}

/// What came of the request for a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupStart {
    /// The provider is asked.
    Asked,
    /// There is nothing to ask, for this reason.
    Refused(String),
}

/// Has the provider asked about a command that waits for it, or is a dead letter.
pub(super) async fn lookup(
    State(desk): State<Desk>,
    access: OperateAccess,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, Json<LookupReceipt>), Problem> {
    let id = parse_id(path)?;
    Query::read(query.as_deref())?.finish()?;
    desk.require_ready()?;
    let asking = desk.commands.look_up(&access, id.clone());
    let asked = desk.within(PATIENCE, asking, "the provider may be asked all the same").await?;
    match asked.ok_or_else(|| unknown(&id))? {
        LookupStart::Asked => {
            let location = format!("/v1/commands/{}", id.as_str().replace('/', "%2F"));
            Ok((StatusCode::ACCEPTED, Json(LookupReceipt { id, location })))
        }
        LookupStart::Refused(why) => {
            let detail = format!("`{}` is not looked up: {why}", excerpt(id.as_str()));
            Err(Problem::new(Kind::NothingToAsk, detail))
        }
    }
}
