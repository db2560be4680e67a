//! The failures of commands that lack a value for their request or message.

use std::fmt;

use serde_json::Value as Json;

use super::expression::ExpressionScope;
use super::tree::{LeafErrorPolicy, TreeError, TreeKey, TreeTemplate};
use ferryd_domain::outcome::Failure;

/// The failure of a command that lacks a value for its request.
pub(super) fn invalid(place: &str, problem: &dyn fmt::Display) -> Failure {
    Failure::new("invalid_request", format!("{place}: {problem}"))
}

/// Renders a tree; `None` where there is none, or where it has no value.
pub(super) fn filled_tree(
    tree: Option<&TreeTemplate>,
    name: &str,
    scope: &ExpressionScope<'_>,
) -> Result<Option<Json>, Failure> {
    let Some(tree) = tree else { return Ok(None) };
    tree.json(scope, TreeKey::Root(name), &mut LeafErrorPolicy::Fail)
        .map_err(|error| unfilled(&error))
}

/// The failure of a command that lacks a value of a tree.
pub(super) fn unfilled(error: &TreeError) -> Failure {
    Failure::new("invalid_request", error.to_string())
}
