//! A handler of the API with its description.

use std::collections::BTreeMap;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Map, Value, json};

use super::api_state::ApiState;
use super::operation::{DescribeHandler, OperationDescription, RouteAccess};
use super::problem::{self, ProblemBody, ProblemKind};
use super::schemas::SchemaRegistry;

/// A handler with its description.
pub(super) struct DescribedEndpoint {
    describe: fn(&mut OperationDescription, &mut SchemaRegistry),
    serve: Box<dyn FnOnce(MethodFilter) -> MethodRouter<ApiState>>,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    problems: Vec<ProblemKind>,
}

impl DescribedEndpoint {
    /// Makes an endpoint with its operation id, a summary and a description for readers of the
    /// document.
    pub fn new<H, T, D>(
        handler: H,
        id: &'static str,
        summary: &'static str,
        description: &'static str,
    ) -> Self
    where
        H: Handler<T, ApiState> + DescribeHandler<D>,
        T: 'static,
    {
        let serve = Box::new(|method| on(method, handler));
        Self { describe: H::describe, serve, id, summary, description, problems: Vec::new() }
    }

    /// Adds problems that the handler's types do not state.
    pub fn with_problems(mut self, problems: &[ProblemKind]) -> Self {
        self.problems.extend_from_slice(problems);
        self
    }

    /// Returns the handler for a method; an empty router where the method is not handled.
    pub fn serve(self, method: Method) -> MethodRouter<ApiState> {
        match MethodFilter::try_from(method) {
            Ok(method) => (self.serve)(method),
            Err(_) => MethodRouter::new(),
        }
    }

    /// Describes the operation by the types of the handler.
    pub fn operation(&self, schemas: &mut SchemaRegistry) -> OperationDescription {
        let (needs, problems) = (RouteAccess::Nothing, self.problems.clone());
        let mut operation = OperationDescription {
            needs,
            parameters: Vec::new(),
            body: None,
            answers: Map::new(),
            problems,
        };
        (self.describe)(&mut operation, schemas);
        operation
    }

    /// Returns the operation in the document.
    pub fn document(&self, schemas: &mut SchemaRegistry) -> Value {
        let operation = self.operation(schemas);
        let (role, security) = match operation.needs {
            RouteAccess::Nothing => ("Needs no token.".to_owned(), json!([{}])),
            RouteAccess::Token(role) => {
                (format!("Needs the role `{}`.", role.as_str()), json!([{ "token": [] }]))
            }
        };
        let mut responses = operation.answers;
        responses.extend(problems(&operation.problems, schemas));
        let description = format!("{} {role}", self.description);
        let mut document =
            json!({ "operationId": self.id, "summary": self.summary, "description": description });
        if !operation.parameters.is_empty() {
            document["parameters"] = operation.parameters.into();
        }
        if let Some(body) = operation.body {
            document["requestBody"] = body;
        }
        document["responses"] = responses.into();
        document["security"] = security;
        document
    }
}

/// Describes the problems, by status.
fn problems(kinds: &[ProblemKind], schemas: &mut SchemaRegistry) -> Map<String, Value> {
    let schema = schemas.answered::<ProblemBody>();
    let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for kind in ProblemKind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    let problem = |(status, kinds): (u16, Vec<ProblemKind>)| {
        let titles = kinds.iter().map(|kind| format!("`{}`: {}", kind.slug(), kind.title()));
        let description = titles.collect::<Vec<_>>().join("; ");
        let content = json!({ problem::MEDIA_TYPE: { "schema": schema.clone() } });
        (status.to_string(), json!({ "description": description, "content": content }))
    };
    by_status.into_iter().map(problem).collect()
}
