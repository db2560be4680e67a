//! Extractors of a request's head for handlers: the id in its path, the parameters in its query.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;

use super::desk::Desk;
use super::operation::{DescribeInput, Operation};
use super::parameters::{component, parameter};
use super::problem::{Kind, Problem};
use super::query::{Query, QueryFields};
use super::schemas::Schemas;
use ferryd_domain::command_id::{CommandId, InvalidCommandId, PublishedCommandId};
use ferryd_domain::job::{InvalidJobId, JobId};

impl DescribeInput for State<Desk> {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

/// The id in a path, of a command or of a refused message.
pub(super) struct CommandPath(pub CommandId);

/// The id of a command in a path. The id of a refused message is not accepted.
pub(super) struct PublishedPath(pub CommandId);

async fn parse_id<S: Send + Sync, T>(parts: &mut Parts, state: &S) -> Result<T, Problem>
where
    T: FromStr<Err = InvalidCommandId>,
{
    let refuse = |why: String| Problem::new(Kind::InvalidRequest, format!("the path holds no command id: {why}"));
    let path = Path::<String>::from_request_parts(parts, state).await;
    let Path(id) = path.map_err(|rejection| refuse(rejection.body_text()))?;
    id.parse().map_err(|error: InvalidCommandId| refuse(error.to_string()))
}

fn describe_id(operation: &mut Operation) {
    operation.parameter(parameter("path", "id", "The command.", &component("CommandId")));
    operation.can_be(&[Kind::InvalidRequest, Kind::UnknownCommand, Kind::Internal]);
}

impl<S: Send + Sync> FromRequestParts<S> for CommandPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parse_id(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PublishedPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        parse_id::<S, PublishedCommandId>(parts, state).await.map(|id| Self(id.into()))
    }
}

impl DescribeInput for CommandPath {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        schemas.sent::<CommandId>();
        describe_id(operation);
    }
}

impl DescribeInput for PublishedPath {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        schemas.sent::<CommandId>();
        describe_id(operation);
    }
}

/// The id of a job in a path.
pub(super) struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refuse = |why: String| Problem::new(Kind::InvalidRequest, why);
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|rejection| refuse(rejection.body_text()))?;
        id.parse().map(Self).map_err(|error: InvalidJobId| refuse(error.to_string()))
    }
}

impl DescribeInput for JobPath {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        schemas.sent::<JobId>();
        operation.parameter(parameter("path", "id", "The job.", &component("JobId")));
        operation.can_be(&[Kind::InvalidRequest, Kind::NotFound, Kind::Internal]);
    }
}

/// The parameters in a query: the fields of this type, and no others.
pub(super) struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: QueryFields> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Query::read(parts.uri.query())?;
        let asked = T::take(&mut query)?;
        query.finish()?;
        Ok(Self(asked))
    }
}

impl<T: QueryFields> DescribeInput for ApiQuery<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        for parameter in T::parameters(&mut schemas.read) {
            operation.parameter(parameter);
        }
        operation.can_be(&[Kind::InvalidRequest, Kind::Internal]);
    }
}
