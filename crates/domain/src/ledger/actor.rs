//! A person who decides about a command or a job.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person who decides, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The name of the person.
    pub by: String,
    /// The reason that the person states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "by {}: {reason}", self.by),
            None => write!(f, "by {}", self.by),
        }
    }
}
