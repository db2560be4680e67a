//! Handing a command in: `POST /v1/commands`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::access::OperateAccess;
use super::commands::{Submission, Submitted};
use super::problem::{Kind, Problem};
use super::repeated::repeated_field;
use super::{Desk, body, prefer};
use crate::domain::command::{Command, Envelope};
use crate::domain::command_id::CommandId;
use crate::domain::event::{self, Event, Trace};
use crate::domain::outcome::Failure;
use crate::pipeline::command_check;
use crate::provider::registry::Registry;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer where a command has not ended yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Receipt {
    /// The command.
    id: CommandId,
    /// Where to ask for it.
    location: String,
}

/// Takes a command, and waits for its end as long as the client prefers.
pub(super) async fn submit(
    State(desk): State<Desk>,
    access: OperateAccess,
    request: Request,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let wait = prefer::wait(request.headers());
    let trace = trace(request.headers());
    let submission = check(&desk.registry, &access, body::json(request).await?, trace)?;
    desk.require_ready()?;
    let id = submission.command.id.clone();
    let submitted = desk.take(&access, submission).await?;
    let mut applied = HeaderMap::new();
    let event = match submitted {
        Submitted::Ended(event) => Some(event),
        Submitted::UnderWay => match wait.zip(desk.waiting_room()) {
            Some((wait, _seat)) => {
                let preference = format!("wait={}", wait.as_secs());
                applied.insert(PREFERENCE_APPLIED, header_value(&preference)?);
                desk.ended(&id, began + wait).await.map(Box::new)
            }
            None => None,
        },
        Submitted::OtherContent => return Err(other_content(&id)),
        Submitted::Blocked(kind) => {
            let detail = format!("the ledger holds a record of the kind `{kind}` about `{id}`; update ferryd");
            return Err(Problem::new(Kind::NewerVersion, detail));
        }
    };
    answer(id, event.as_deref(), applied)
}

fn answer(id: CommandId, event: Option<&Event>, mut headers: HeaderMap) -> Result<Response, Problem> {
    let location = format!("/v1/commands/{id}");
    headers.insert(LOCATION, header_value(&location)?);
    Ok(match event {
        Some(event) => {
            let media_type = [(CONTENT_TYPE, HeaderValue::from_static(event::CONTENT_TYPE))];
            (StatusCode::OK, headers, media_type, Json(event)).into_response()
        }
        None => (StatusCode::ACCEPTED, headers, Json(Receipt { id, location })).into_response(),
    })
}

fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::Internal, "a header can't be written"))
}

fn other_content(id: &CommandId) -> Problem {
    let detail = format!(
        "a command `{id}` with another type, provider, account, operation or payload is known; send this one under an id of \
         its own"
    );
    Problem::new(Kind::OtherContent, detail)
}

/// Reads a command and checks all that its lane is going to check.
fn check(registry: &Registry, access: &OperateAccess, body: Bytes, trace: Trace) -> Result<Submission, Problem> {
    if let Some(fault) = repeated_field(&body) {
        return Err(refuse(&Failure::new("repeated_field", fault), Vec::new()));
    }
    let command = Command::decode(&body, Envelope::default()).map_err(|invalid| match invalid.failure {
        Failure { code: Some(code), .. } if code == "missing_id" => {
            refuse(&Failure::new(&code, "the field `id` is missing"), Vec::new())
        }
        failure => refuse(&failure, Vec::new()),
    })?;
    let provider = match &command.provider {
        Some(name) => registry.get(name).ok_or_else(|| {
            let known: Vec<_> = registry.iter().map(|provider| provider.name.as_str()).collect();
            Failure::new("unknown_provider", format!("there is no provider `{name}`; there are {}", known.join(", ")))
        }),
        None => registry.route(&command.kind).ok_or_else(|| {
            let message = format!("no route says which provider takes commands of type `{}`", command.kind);
            Failure::new("no_route", message)
        }),
    };
    let provider = provider.map_err(|failure| refuse(&failure, Vec::new()))?;
    if let Err(failure) = command_check::check(&command, provider) {
        let operation = provider.operations.get(&command.operation);
        let faults = operation.map(|operation| operation.payload.check(&command.payload));
        return Err(refuse(&failure, faults.unwrap_or_default()));
    }
    let provider = provider.name.clone();
    Ok(Submission { command, provider, body, trace, by: access.recorded_name() })
}

fn refuse(failure: &Failure, mut faults: Vec<String>) -> Problem {
    if faults.is_empty() {
        faults.push(failure.message.clone());
    }
    let problem = Problem::new(Kind::InvalidCommand, failure.message.clone());
    problem.with("code", failure.code.clone()).with("faults", faults)
}

fn trace(headers: &HeaderMap) -> Trace {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Trace::bounded(text("traceparent"), text("tracestate"))
}
