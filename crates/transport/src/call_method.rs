//! The method of a recorded call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use ferryd_domain::http_call::HttpMethod;

/// The way a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallMethod {
    /// Read something by HTTP.
    Get,
    /// Do something by HTTP.
    Post,
    /// Replace something by HTTP.
    Put,
    /// Change something by HTTP.
    Patch,
    /// Remove something by HTTP.
    Delete,
    /// Publish a message to the provider's broker.
    Publish,
}

impl CallMethod {
    /// Returns the method as records spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => HttpMethod::Get.as_str(),
            Self::Post => HttpMethod::Post.as_str(),
            Self::Put => HttpMethod::Put.as_str(),
            Self::Patch => HttpMethod::Patch.as_str(),
            Self::Delete => HttpMethod::Delete.as_str(),
            Self::Publish => "PUBLISH",
        }
    }
}

impl From<HttpMethod> for CallMethod {
    fn from(method: HttpMethod) -> Self {
        match method {
            HttpMethod::Get => Self::Get,
            HttpMethod::Post => Self::Post,
            HttpMethod::Put => Self::Put,
            HttpMethod::Patch => Self::Patch,
            HttpMethod::Delete => Self::Delete,
        }
    }
}
