//! Texts with expressions in them: `"{{ payload.amount }}"`, `"order {{ command.reference }}"`.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::expression::{EvalError, Expression, ExpressionScope, KnownVariables};
use super::expression_error::ExpressionError;
use ferryd_domain::name::excerpt;

/// A text of a provider file, compiled.
#[derive(Debug)]
pub(crate) enum TextTemplate {
    /// A text without expressions.
    Constant(String),
    /// A single expression and nothing else: the value keeps its type.
    Expression(Expression),
    /// Expressions within a text: the value is always a text.
    Mixed(Vec<TextPart>),
}

/// A part of a mixed text.
#[derive(Debug)]
pub(crate) enum TextPart {
    /// A literal text.
    Literal(String),
    /// An expression to evaluate.
    Expression(Expression),
}

impl TextPart {
    /// The expression, if the part is one.
    pub(super) fn expression(&self) -> Option<&Expression> {
        match self {
            Self::Expression(expression) => Some(expression),
            Self::Literal(_) => None,
        }
    }
}

impl TextTemplate {
    /// Compiles a text.
    pub(crate) fn compile(
        source: &str,
        known: &KnownVariables<'_>,
    ) -> Result<Self, ExpressionError> {
        let mut parts = parts(source, known)?;
        Ok(match parts.len() {
            0 => Self::Constant(String::new()),
            1 => match parts.remove(0) {
                TextPart::Literal(text) => Self::Constant(text),
                TextPart::Expression(expression) => Self::Expression(expression),
            },
            _ => Self::Mixed(parts),
        })
    }

    /// Returns true if the text depends on the command or the account. A constant does not, such as
    /// the version of an API, which may be raised while a call is repeated.
    pub(super) fn depends_on_the_call(&self) -> bool {
        let expressions = self.expressions();
        !expressions.is_empty() && !expressions.iter().any(|expression| expression.may_change())
    }

    /// The expressions in the text.
    fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Expression(expression) => vec![expression],
            Self::Mixed(parts) => parts.iter().filter_map(TextPart::expression).collect(),
        }
    }

    /// The expressions in the text, each with true where its value may be missing: a single
    /// expression without a value is left out.
    pub(super) fn uses(&self) -> Vec<(&Expression, bool)> {
        let alone = matches!(self, Self::Expression(_));
        self.expressions().into_iter().map(|expression| (expression, alone)).collect()
    }

    /// Evaluates the text to JSON; `None` if it is to be left out.
    pub(crate) fn json(&self, scope: &ExpressionScope<'_>) -> Result<Option<Json>, EvalError> {
        self.value(scope).map(|value| value.map(Cow::into_owned))
    }

    /// Evaluates the text as [`json`](Self::json) does, without a copy of a value that is there
    /// already.
    pub(super) fn value<'s>(
        &self,
        scope: &'s ExpressionScope<'_>,
    ) -> Result<Option<Cow<'s, Json>>, EvalError> {
        let text = match self {
            Self::Constant(text) => text.clone(),
            Self::Expression(expression) => return expression.value(scope),
            Self::Mixed(parts) => mixed(parts, scope)?,
        };
        Ok(Some(Cow::Owned(Json::String(text))))
    }

    /// Evaluates the text to a string; `None` if it is to be left out.
    pub(crate) fn string(&self, scope: &ExpressionScope<'_>) -> Result<Option<String>, EvalError> {
        match self {
            Self::Constant(text) => Ok(Some(text.clone())),
            Self::Expression(expression) => match expression.value(scope)?.as_deref() {
                None | Some(Json::Null) => Ok(None),
                Some(value) => scalar(value).map(Some).ok_or_else(|| not_scalar(expression)),
            },
            Self::Mixed(parts) => mixed(parts, scope).map(Some),
        }
    }
}

/// Converts a text, number or truth value to text; `None` for any other value.
pub(super) fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Evaluates an expression within a text, where a value is required.
pub(super) fn inserted(
    expression: &Expression,
    scope: &ExpressionScope<'_>,
) -> Result<String, EvalError> {
    match expression.value(scope)?.as_deref() {
        None | Some(Json::Null) => Err(expression.error("has no value")),
        Some(value) => scalar(value).ok_or_else(|| not_scalar(expression)),
    }
}

fn not_scalar(expression: &Expression) -> EvalError {
    expression.error(
        "is a list or a map, which cannot stand in a text; pick a field of it or use `| tojson`",
    )
}

fn mixed(parts: &[TextPart], scope: &ExpressionScope<'_>) -> Result<String, EvalError> {
    let texts = parts.iter().map(|part| match part {
        TextPart::Literal(text) => Ok(text.clone()),
        TextPart::Expression(expression) => inserted(expression, scope),
    });
    texts.collect()
}

/// Splits a text at its `{{ … }}`.
pub(super) fn parts(
    source: &str,
    known: &KnownVariables<'_>,
) -> Result<Vec<TextPart>, ExpressionError> {
    for statement in ["{%", "{#"] {
        if source.contains(statement) {
            return Err(ExpressionError::Statement(statement));
        }
    }
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            parts.push(TextPart::Literal(rest[..open].to_owned()));
        }
        let inner = &rest[open + 2..];
        let close = closing(inner).ok_or_else(|| ExpressionError::Open(excerpt(&rest[open..])))?;
        parts.push(TextPart::Expression(Expression::compile(&inner[..close], known)?));
        rest = &inner[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(TextPart::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// The position of the `}}` that closes an expression: not within a string or a map of the
/// expression.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if text[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
