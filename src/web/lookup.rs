//! Requests a lookup of a command at its provider: `POST /v1/commands/{id}/lookup`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Desk;
use super::access::OperateAccess;
use super::ask::unknown;
pub use super::commands::LookupStart;
use super::extract::{ApiQuery, CommandPath};
use super::operation::{DescribeAnswer, Operation};
use super::problem::{Kind, Problem};
use super::schemas::Schemas;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::excerpt;

/// The longest time for finding the message of a dead letter: many may lie before it in its queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// The provider is asked about the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookupReceipt {
    /// The id of the command.
    pub id: CommandId,
    /// The path of the command, whose `queries` hold the result, and whose `event` does where the
    /// command ends.
    pub location: String,
}

impl IntoResponse for LookupReceipt {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self)).into_response()
    }
}

impl DescribeAnswer for LookupReceipt {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.answer::<Self>("202", schemas);
    }
}

/// Requests a lookup of a command that waits for its provider, or is a dead letter.
pub(super) async fn lookup(
    State(desk): State<Desk>,
    access: OperateAccess,
    CommandPath(id): CommandPath,
    ApiQuery(()): ApiQuery<()>,
) -> Result<LookupReceipt, Problem> {
    desk.require_ready()?;
    let asking = desk.commands.look_up(&access, id.clone());
    let asked = desk.within(PATIENCE, asking, "the provider may be asked all the same").await?;
    match asked.ok_or_else(|| unknown(&id))? {
        LookupStart::Asked => {
            let location = format!("/v1/commands/{}", id.as_str().replace('/', "%2F"));
            Ok(LookupReceipt { id, location })
        }
        LookupStart::Refused(why) => {
            let detail = format!("`{}` is not looked up: {why}", excerpt(id.as_str()));
            Err(Problem::new(Kind::NothingToAsk, detail))
        }
    }
}
