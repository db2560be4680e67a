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
use super::commands::{Submission, Submitted};
use super::operation::{DescribeAnswer, DescribeInput, Operation};
use super::parameters::parameter;
use super::problem::{Kind, Problem};
use super::repeated::repeated_field;
use super::schemas::Schemas;
use super::{Desk, body, prefer};
use crate::pipeline::command_check;
use ferryd_domain::command::{Command, CommandBody, Envelope};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{self, Event, Trace};
use ferryd_domain::outcome::Failure;
use ferryd_provider::registry::Registry;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The answer for a command that has not ended yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Receipt {
    /// The id of the command.
    id: CommandId,
    /// The path of the command in the API.
    location: String,
}

/// A request that submits a command.
pub(super) struct CommandRequest(Request);

impl<S: Send + Sync> FromRequest<S> for CommandRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Ok(Self(request))
    }
}

impl DescribeInput for CommandRequest {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let mut header = |name: &str, description: &str| {
            operation.parameter(parameter("header", name, description, &json!({ "type": "string" })));
        };
        let wait = "`wait=N`: answer with the end of the command, if it comes within N seconds, at most 60.";
        header("Prefer", wait);
        header("traceparent", "The trace that the command belongs to (W3C Trace Context); left out above 55 bytes.");
        header("tracestate", "See `traceparent`; left out above 512 bytes.");
        operation.body::<CommandBody>(schemas);
        operation.can_be(&[
            Kind::InvalidRequest,
            Kind::RequestTimeout,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::InvalidCommand,
            Kind::Internal,
        ]);
    }
}

/// The answer to a client that submitted a command.
pub(super) enum SubmitAnswer {
    /// The command has ended.
    Ended(HeaderMap, Box<Event>),
    /// The command is in progress.
    UnderWay(HeaderMap, Receipt),
}

impl IntoResponse for SubmitAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Ended(headers, event) => {
                let media_type = [(CONTENT_TYPE, HeaderValue::from_static(event::CONTENT_TYPE))];
                (StatusCode::OK, headers, media_type, Json(event)).into_response()
            }
            Self::UnderWay(headers, receipt) => (StatusCode::ACCEPTED, headers, Json(receipt)).into_response(),
        }
    }
}

impl DescribeAnswer for SubmitAnswer {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        let text = json!({ "type": "string" });
        let headers = json!({
            "Location": { "description": "Where to ask for the command.", "schema": text },
            "Preference-Applied": { "description": "`wait=N`, where that was waited for.", "schema": text },
        });
        let (event, receipt) = (schemas.answered::<Event>(), schemas.answered::<Receipt>());
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
    State(desk): State<Desk>,
    access: OperateAccess,
    CommandRequest(request): CommandRequest,
) -> Result<SubmitAnswer, Problem> {
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
    answer(id, event, applied)
}

fn answer(id: CommandId, event: Option<Box<Event>>, mut headers: HeaderMap) -> Result<SubmitAnswer, Problem> {
    let location = format!("/v1/commands/{id}");
    headers.insert(LOCATION, header_value(&location)?);
    Ok(match event {
        Some(event) => SubmitAnswer::Ended(headers, event),
        None => SubmitAnswer::UnderWay(headers, Receipt { id, location }),
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

/// Reads a command and makes every check that its lane is going to make.
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
    Ok(Submission { command, provider, body, trace, by: access.recorded_name(None) })
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
