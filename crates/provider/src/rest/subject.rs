//! The subject of a message to a NATS server. Each expression stays within one token, so that no
//! command leads its message elsewhere.

use super::expression::{EvalError, Expression, ExpressionScope, KnownVariables};
use super::expression_error::ExpressionError;
use super::text::{self, TextPart};

/// The most bytes of a subject. A server closes a connection over a line of more than 4096 bytes.
const LONGEST_SUBJECT: usize = 255;

/// Beginnings of subjects that belong to the server and to answers.
const RESERVED: [&str; 2] = ["$", "_INBOX"];

/// The fault of a subject as the file states it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubjectError {
    /// A character has a meaning for the server.
    #[error("`{}` cannot stand in a subject; leave it out", .0.escape_debug())]
    Character(char),
    /// A token is empty.
    #[error("has an empty token; write names with one dot between them, such as `orders.new`")]
    EmptyToken,
    /// The subject is the server's own.
    #[error("begins with `{0}`, which belongs to the server; write another subject")]
    Reserved(&'static str),
    /// An expression is wrong.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// The reason why a command has no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubjectValueError {
    /// A value is missing, or would leave its token.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// The subject is the server's own.
    #[error("begins with `{0}`, which belongs to the server")]
    Reserved(&'static str),
    /// The subject is too long.
    #[error("has more than {LONGEST_SUBJECT} bytes")]
    TooLong,
}

/// A subject, compiled.
#[derive(Debug)]
pub(super) struct SubjectTemplate(Vec<TextPart>);

impl SubjectTemplate {
    /// Compiles a subject.
    pub(super) fn compile(source: &str, known: &KnownVariables<'_>) -> Result<Self, SubjectError> {
        let parts = text::parts(source, known)?;
        // Any value stands for those of commands, none of which is empty or has a dot.
        let outline: String = parts
            .iter()
            .map(|part| match part {
                TextPart::Literal(text) => text.as_str(),
                TextPart::Expression(_) => "x",
            })
            .collect();
        if let Some(wrong) = outline.chars().find(|c| *c != '.' && !stands_in_token(*c)) {
            return Err(SubjectError::Character(wrong));
        }
        if outline.split('.').any(str::is_empty) {
            return Err(SubjectError::EmptyToken);
        }
        match reserved(&outline) {
            Some(begin) => Err(SubjectError::Reserved(begin)),
            None => Ok(Self(parts)),
        }
    }

    /// Renders the subject of a command.
    pub(super) fn render(&self, scope: &ExpressionScope<'_>) -> Result<String, SubjectValueError> {
        let mut subject = String::new();
        for part in &self.0 {
            match part {
                TextPart::Literal(text) => subject.push_str(text),
                TextPart::Expression(expression) => subject.push_str(&token(expression, scope)?),
            }
        }
        if subject.len() > LONGEST_SUBJECT {
            return Err(SubjectValueError::TooLong);
        }
        match reserved(&subject) {
            Some(begin) => Err(SubjectValueError::Reserved(begin)),
            None => Ok(subject),
        }
    }
}

fn token(
    expression: &Expression,
    scope: &ExpressionScope<'_>,
) -> Result<String, SubjectValueError> {
    let value = text::inserted(expression, scope)?;
    if value.is_empty() || !value.chars().all(stands_in_token) {
        let text = "is empty, or has a dot, a space, `*`, `>` or a control character, and would \
                    lead elsewhere";
        return Err(expression.error(text).into());
    }
    Ok(value)
}

fn stands_in_token(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '*' | '>')
}

fn reserved(subject: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|begin| subject.starts_with(begin))
}

#[cfg(test)]
#[path = "subject_tests.rs"]
mod tests;
