//! The description of an operation of the API, derived from the types of its handler: its inputs,
//! its answers, its problems.

use axum::Json;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::problem::{ApiProblem, ProblemKind};
use super::schemas::SchemaRegistry;
use crate::config::TokenRole;

/// The access that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAccess {
    /// No token.
    Nothing,
    /// A token whose role includes this one.
    Token(TokenRole),
}

/// The description of an operation.
pub(super) struct OperationDescription {
    /// The access that a caller needs.
    pub needs: RouteAccess,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    pub(super) answers: Map<String, Value>,
    pub(super) problems: Vec<ProblemKind>,
}

/// An input that a handler extracts from a request.
pub(super) trait DescribeInput {
    /// Adds the input, and the problems that it can have.
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry);
}

/// An answer of a handler.
pub(super) trait DescribeAnswer {
    /// Adds the answers.
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry);
}

/// A handler whose arguments and answer describe themselves.
pub(super) trait DescribeHandler<Arguments> {
    /// Describes the arguments and the answer.
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry);
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
            fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
                $($argument::describe(operation, schemas);)*
                Answer::describe(operation, schemas);
            }
        }
    )*};
}

describe_handlers! { () (A) (A B) (A B C) (A B C D) (A B C D E) }

impl<T: JsonSchema> DescribeAnswer for Json<T> {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        operation.answer::<T>("200", schemas);
    }
}

impl<T: DescribeAnswer> DescribeAnswer for Result<T, ApiProblem> {
    fn describe(operation: &mut OperationDescription, schemas: &mut SchemaRegistry) {
        T::describe(operation, schemas);
    }
}

impl OperationDescription {
    /// Adds problems.
    pub fn can_be(&mut self, problems: &[ProblemKind]) {
        self.problems.extend_from_slice(problems);
    }

    /// Adds a parameter.
    pub fn parameter(&mut self, parameter: Value) {
        self.parameters.push(parameter);
    }

    /// Sets the type of the body.
    pub fn body<T: JsonSchema>(&mut self, schemas: &mut SchemaRegistry) {
        let content = json!({ "application/json": { "schema": schemas.sent::<T>() } });
        self.body = Some(json!({ "required": true, "content": content }));
    }

    /// Adds an answer in JSON, described as its type is.
    pub fn answer<T: JsonSchema>(&mut self, status: &str, schemas: &mut SchemaRegistry) {
        let description = schemas.description::<T>();
        let content = json!({ "application/json": { "schema": schemas.answered::<T>() } });
        self.add_answer(status, json!({ "description": description, "content": content }));
    }

    /// Adds any answer.
    pub fn add_answer(&mut self, status: &str, answer: Value) {
        self.answers.insert(status.to_owned(), answer);
    }
}
