//! Extractors of a request's head for handlers: the id in its path, the parameters in its query.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;

use super::api_state::ApiState;
use super::operation::{DescribeInput, OperationDescription};
use super::parameters::{component, parameter};
use super::problem::{ApiProblem, ProblemKind};
use super::query::{QueryFields, QueryParameters};
use super::schemas::SchemaRegistry;
use ferryd_domain::command_id::{CommandId, InvalidCommandId, PublishedCommandId};
use ferryd_domain::job::{InvalidJobId, JobId};

impl DescribeInput for State<ApiState> {
    fn describe(_: &mut OperationDescription, _: &mut SchemaRegistry) {}
}

/// The id in a path, of a command or of a refused message.
pub(super) struct CommandPath(pub CommandId);

/// The id of a command in a path. The id of a refused message is not accepted.
pub(super) struct PublishedPath(pub CommandId);

async fn parse_id<S: Send + Sync, T>(parts: &mut Parts, state: &S) -> Result<T, ApiProblem>
where
    T: FromStr<Err = InvalidCommandId>,
{
    let refuse = |why: String| {
        ApiProblem::new(ProblemKind::InvalidRequest, format!("the path holds no command id: {why}"))
    };
    let path = Path::<String>::from_request_parts(parts, state).await;
    let Path(id) = path.map_err(|rejection| refuse(rejection.body_text()))?;
    id.parse().map_err(|error: InvalidCommandId| refuse(error.to_string()))
}

fn describe_id(operation: &mut OperationDescription) {
    operation.parameter(parameter("path", "id", "The command.", &component("CommandId")));
    operation.can_be(&[
        ProblemKind::InvalidRequest,
        ProblemKind::UnknownCommand,
        ProblemKind::Internal,
    ]);
}

impl<S: Send + Sync> FromRequestParts<S> for CommandPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        parse_id(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PublishedPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        parse_id::<S, PublishedCommandId>(parts, state).await.map(|id| Self(id.into()))
    }
}

impl DescribeInput for CommandPath {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        schemas.sent::<CommandId>();
        describe_id(operation);
    }
}

impl DescribeInput for PublishedPath {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        schemas.sent::<CommandId>();
        describe_id(operation);
    }
}

/// The id of a job in a path.
pub(super) struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let refuse = |why: String| ApiProblem::new(ProblemKind::InvalidRequest, why);
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|rejection| refuse(rejection.body_text()))?;
        id.parse().map(Self).map_err(|error: InvalidJobId| refuse(error.to_string()))
    }
}

impl DescribeInput for JobPath {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        schemas.sent::<JobId>();
        operation.parameter(parameter("path", "id", "The job.", &component("JobId")));
        operation.can_be(&[
            ProblemKind::InvalidRequest,
            ProblemKind::NotFound,
            ProblemKind::Internal,
        ]);
    }
}

/// The parameters in a query: the fields of this type, and no others.
pub(super) struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: QueryFields> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        let mut query = QueryParameters::read(parts.uri.query())?;
        let value = T::take(&mut query)?;
        query.finish()?;
        Ok(Self(value))
    }
}

impl<T: QueryFields> DescribeInput for ApiQuery<T> {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        for parameter in T::parameters(&mut schemas.read) {
            operation.parameter(parameter);
        }
        operation.can_be(&[ProblemKind::InvalidRequest, ProblemKind::Internal]);
    }
}
