//! The part of a provider file that describes a request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use ferryd_domain::http_call::HttpMethod;

/// A request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::rest) struct RequestFile {
    /// The method.
    pub(in crate::rest) method: Option<HttpMethod>,
    /// The path behind `base_url`, beginning with `/`; expressions, each of which stays within its
    /// segment.
    pub(in crate::rest) path: Option<String>,
    /// The encoding of the body. Default: `json`.
    pub(in crate::rest) encoding: Option<BodyEncoding>,
    /// The encoding of lists in the query and in a form. Default: `brackets`.
    pub(in crate::rest) lists: Option<ListEncoding>,
    /// The query as a map; expressions. Maps nest with brackets: `a[b]=c`.
    pub(in crate::rest) query: Option<Map<String, Json>>,
    /// Headers; expressions. A header whose single path is missing is left out.
    #[serde(default)]
    pub(in crate::rest) headers: BTreeMap<String, String>,
}

/// The encoding of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::rest) enum BodyEncoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// The body is a text and is sent as it is; `text/plain; charset=utf-8` where no header says
    /// otherwise.
    Raw,
}

/// The encoding of lists in a query or form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::rest) enum ListEncoding {
    /// `a[0]=x&a[1]=y`.
    #[default]
    Brackets,
    /// `a=x&a=y`.
    Repeat,
}
