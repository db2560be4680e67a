//! Submits a command: `POST /v1/commands`.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::access::OperateAccess;
use super::commands::{CommandSubmission, SubmitResult};
use super::operation::{DescribeAnswer, DescribeInput, OperationDescription};
use super::parameters::parameter;
use super::problem::{ApiProblem, ProblemKind};
use super::repeated::repeated_field;
use super::schemas::SchemaRegistry;
use super::{ApiState, body, prefer};
use crate::pipeline::command_check;
use ferryd_domain::command::{Command, CommandBody, CommandEnvelope};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{self, EncodedEvent, Event, TraceContext};
use ferryd_domain::outcome::Failure;
use ferryd_provider::registry::ProviderRegistry;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer for a command that has not ended yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SubmitReceipt {
    /// The id of the command.
    id: CommandId,
    /// The path of the command in the API.
    location: String,
}

/// A request that submits a command.
pub(super) struct CommandRequest(Request);

impl<S: Send + Sync> FromRequest<S> for CommandRequest {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiProblem> {
        Ok(Self(request))
    }
}

impl DescribeInput for CommandRequest {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        let mut header = |name: &str, description: &str| {
            operation.parameter(parameter(
                "header",
                name,
                description,
                &json!({ "type": "string" }),
            ));
        };
        let wait = "`wait=N`: answer with the end of the command, if it comes within N seconds, at most 60.";
        header("Prefer", wait);
        header(
            "traceparent",
            "The trace that the command belongs to (W3C Trace Context); left out above 55 bytes.",
        );
        header("tracestate", "See `traceparent`; left out above 512 bytes.");
        operation.body::<CommandBody>(schemas);
        operation.can_be(&[
            ProblemKind::InvalidRequest,
            ProblemKind::RequestTimeout,
            ProblemKind::TooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::InvalidCommand,
            ProblemKind::Internal,
        ]);
    }
}

/// The answer to a client that submitted a command.
pub(super) enum SubmitAnswer {
    /// The command has ended.
    Ended(HeaderMap, EncodedEvent),
    /// The command is in progress.
    UnderWay(HeaderMap, SubmitReceipt),
}

impl IntoResponse for SubmitAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Ended(headers, event) => {
                let media_type = [(CONTENT_TYPE, HeaderValue::from_static(event::CONTENT_TYPE))];
                (StatusCode::OK, headers, media_type, Json(event)).into_response()
            }
            Self::UnderWay(headers, receipt) => {
                (StatusCode::ACCEPTED, headers, Json(receipt)).into_response()
            }
        }
    }
}

impl DescribeAnswer for SubmitAnswer {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        let text = json!({ "type": "string" });
        let headers = json!({
            "Location": { "description": "Where to ask for the command.", "schema": text },
            "Preference-Applied": { "description": "`wait=N`, where that was waited for.", "schema": text },
        });
        let (event, receipt) = (schemas.answered::<Event>(), schemas.answered::<SubmitReceipt>());
        let ended = json!({
            "description": "The command has ended: the event that says how.",
            "headers": headers,
            "content": { event::CONTENT_TYPE: { "schema": event } },
        });
        let under_way = json!({
            "description": "The command is on its way.",
            "headers": headers,
            "content": { "application/json": { "schema": receipt } },
        });
        operation.add_answer("200", ended);
        operation.add_answer("202", under_way);
    }
}

/// Accepts a command, and waits for its end as long as the client prefers.
pub(super) async fn submit(
    State(api): State<ApiState>,
    access: OperateAccess,
    CommandRequest(request): CommandRequest,
) -> Result<SubmitAnswer, ApiProblem> {
    let began = Instant::now();
    let wait = prefer::preferred_wait(request.headers());
    let trace = trace(request.headers());
    let submission = check(&api.registry, &access, body::json(request).await?, trace)?;
    api.require_ready()?;
    let id = submission.command.id.clone();
    let submitted = api.take(&access, submission).await?;
    let mut applied = HeaderMap::new();
    let event = match submitted {
        SubmitResult::Ended(event) => Some(event),
        SubmitResult::UnderWay => match wait.zip(api.waiting_room()) {
            Some((wait, _seat)) => {
                let preference = format!("wait={}", wait.as_secs());
                applied.insert(PREFERENCE_APPLIED, header_value(&preference)?);
                api.wait_for_ending(&id, began + wait).await
            }
            None => None,
        },
        SubmitResult::OtherContent => return Err(other_content(&id)),
        SubmitResult::Blocked(kind) => {
            let detail = format!(
                "the ledger holds a record of the kind `{kind}` about `{id}`; update ferryd"
            );
            return Err(ApiProblem::new(ProblemKind::NewerVersion, detail));
        }
    };
    answer(id, event, applied)
}

fn answer(
    id: CommandId,
    event: Option<EncodedEvent>,
    mut headers: HeaderMap,
) -> Result<SubmitAnswer, ApiProblem> {
    let location = format!("/v1/commands/{id}");
    headers.insert(LOCATION, header_value(&location)?);
    Ok(match event {
        Some(event) => SubmitAnswer::Ended(headers, event),
        None => SubmitAnswer::UnderWay(headers, SubmitReceipt { id, location }),
    })
}

fn header_value(text: &str) -> Result<HeaderValue, ApiProblem> {
    text.parse().map_err(|_| ApiProblem::new(ProblemKind::Internal, "a header can't be written"))
}

fn other_content(id: &CommandId) -> ApiProblem {
    let detail = format!(
        "a command `{id}` with another type, provider, account, operation or payload is known; send this one under an id of \
         its own"
    );
    ApiProblem::new(ProblemKind::OtherContent, detail)
}

/// Reads a command and makes every check that its lane is going to make.
fn check(
    registry: &ProviderRegistry,
    access: &OperateAccess,
    body: Bytes,
    trace: TraceContext,
) -> Result<CommandSubmission, ApiProblem> {
    if let Some(fault) = repeated_field(&body) {
        return Err(refuse(&Failure::new("repeated_field", fault), Vec::new()));
    }
    let command = Command::decode(&body, CommandEnvelope::default()).map_err(|invalid| {
        match invalid.failure {
            Failure { code: Some(code), .. } if code == "missing_id" => {
                refuse(&Failure::new(&code, "the field `id` is missing"), Vec::new())
            }
            failure => refuse(&failure, Vec::new()),
        }
    })?;
    let provider = match &command.provider {
        Some(name) => registry.get(name).ok_or_else(|| {
            let known: Vec<_> = registry.iter().map(|provider| provider.name.as_str()).collect();
            Failure::new(
                "unknown_provider",
                format!("there is no provider `{name}`; there are {}", known.join(", ")),
            )
        }),
        None => registry.route(&command.kind).ok_or_else(|| {
            let message =
                format!("no route says which provider takes commands of type `{}`", command.kind);
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
    Ok(CommandSubmission { command, provider, body, trace, by: access.recorded_name(None) })
}

fn refuse(failure: &Failure, mut faults: Vec<String>) -> ApiProblem {
    if faults.is_empty() {
        faults.push(failure.message.clone());
    }
    let problem = ApiProblem::new(ProblemKind::InvalidCommand, failure.message.clone());
    problem.with_field("code", failure.code.clone()).with_field("faults", faults)
}

fn trace(headers: &HeaderMap) -> TraceContext {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    TraceContext::from_headers(text("traceparent"), text("tracestate"))
}
