//! The description of an operation of the API, which the types of its handler give: what it takes, what it answers, what can be
//! wrong.

use std::collections::BTreeMap;

use axum::Json;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::desk::Desk;
use super::problem::{self, Kind, Problem, ProblemBody};
use super::schemas::Schemas;
use crate::config::Role;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A token whose role includes this one.
    Token(Role),
}

/// The description of an operation.
pub(super) struct Operation {
    /// What a caller needs.
    pub needs: Needs,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
    problems: Vec<Kind>,
}

/// Something that a handler takes of a request.
pub(super) trait DescribeInput {
    /// Adds what it takes, and what can be wrong with that.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// Something that a handler answers.
pub(super) trait DescribeAnswer {
    /// Adds the answers.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

/// A handler whose arguments and answer describe themselves.
pub(super) trait DescribeHandler<Arguments> {
    /// Describes them all.
    fn describe(operation: &mut Operation, schemas: &mut Schemas);
}

macro_rules! describe_handlers {
    ($(($($argument:ident)*))*) => {$(
        impl<F, Answering, Answer, $($argument,)*> DescribeHandler<($($argument,)*)> for F
        where
            F: FnOnce($($argument,)*) -> Answering,
            Answering: Future<Output = Answer>,
            Answer: DescribeAnswer,
            $($argument: DescribeInput,)*
        {
            fn describe(operation: &mut Operation, schemas: &mut Schemas) {
                $($argument::describe(operation, schemas);)*
                Answer::describe(operation, schemas);
            }
        }
    )*};
}

describe_handlers! { () (A) (A B) (A B C) (A B C D) (A B C D E) }

impl<T: JsonSchema> DescribeAnswer for Json<T> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        operation.answer::<T>("200", schemas);
    }
}

impl<T: DescribeAnswer> DescribeAnswer for Result<T, Problem> {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        T::describe(operation, schemas);
    }
}

/// A handler with its description.
pub(super) struct Endpoint {
    describe: fn(&mut Operation, &mut Schemas),
    serve: Box<dyn FnOnce(MethodFilter) -> MethodRouter<Desk>>,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    problems: Vec<Kind>,
}

impl Endpoint {
    /// An endpoint with its id in the document, and with words for people.
    pub fn new<H, T, D>(handler: H, id: &'static str, summary: &'static str, description: &'static str) -> Self
    where
        H: Handler<T, Desk> + DescribeHandler<D>,
        T: 'static,
    {
        let serve = Box::new(|method| on(method, handler));
        Self { describe: H::describe, serve, id, summary, description, problems: Vec::new() }
    }

    /// Adds what can be wrong beyond what the handler's types tell.
    pub fn with_problems(mut self, problems: &[Kind]) -> Self {
        self.problems.extend_from_slice(problems);
        self
    }

    /// The handler for a method; none where nothing is handled by such a method.
    pub fn serve(self, method: Method) -> MethodRouter<Desk> {
        match MethodFilter::try_from(method) {
            Ok(method) => (self.serve)(method),
            Err(_) => MethodRouter::new(),
        }
    }

    /// What the types of the handler say.
    pub fn operation(&self, schemas: &mut Schemas) -> Operation {
        let (needs, problems) = (Needs::Nothing, self.problems.clone());
        let mut operation = Operation { needs, parameters: Vec::new(), body: None, answers: Map::new(), problems };
        (self.describe)(&mut operation, schemas);
        operation
    }

    /// The operation in the document.
    pub fn document(&self, schemas: &mut Schemas) -> Value {
        let operation = self.operation(schemas);
        let (role, security) = match operation.needs {
            Needs::Nothing => ("Needs no token.".to_owned(), json!([{}])),
            Needs::Token(role) => (format!("Needs the role `{}`.", role.as_str()), json!([{ "token": [] }])),
        };
        let mut responses = operation.answers;
        responses.extend(problems(&operation.problems, schemas));
        let description = format!("{} {role}", self.description);
        let mut document = json!({ "operationId": self.id, "summary": self.summary, "description": description });
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

impl Operation {
    /// Adds problems.
    pub fn can_be(&mut self, problems: &[Kind]) {
        self.problems.extend_from_slice(problems);
    }

    /// Adds a parameter.
    pub fn parameter(&mut self, parameter: Value) {
        self.parameters.push(parameter);
    }

    /// Sets the type of the body.
    pub fn body<T: JsonSchema>(&mut self, schemas: &mut Schemas) {
        let content = json!({ "application/json": { "schema": schemas.sent::<T>() } });
        self.body = Some(json!({ "required": true, "content": content }));
    }

    /// Adds an answer in JSON, described as its type is.
    pub fn answer<T: JsonSchema>(&mut self, status: &str, schemas: &mut Schemas) {
        let description = schemas.description::<T>();
        let content = json!({ "application/json": { "schema": schemas.answered::<T>() } });
        self.add_answer(status, json!({ "description": description, "content": content }));
    }

    /// Adds any answer.
    pub fn add_answer(&mut self, status: &str, answer: Value) {
        self.answers.insert(status.to_owned(), answer);
    }
}

/// What can be wrong, by status.
fn problems(kinds: &[Kind], schemas: &mut Schemas) -> Map<String, Value> {
    let schema = schemas.answered::<ProblemBody>();
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    let problem = |(status, kinds): (u16, Vec<Kind>)| {
        let told = kinds.iter().map(|kind| format!("`{}`: {}", kind.slug(), kind.title()));
        let description = told.collect::<Vec<_>>().join("; ");
        let content = json!({ problem::MEDIA_TYPE: { "schema": schema.clone() } });
        (status.to_string(), json!({ "description": description, "content": content }))
    };
    by_status.into_iter().map(problem).collect()
}
