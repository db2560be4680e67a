//! The part of a provider's file that says how an account's credentials are tried.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::RequestFile;

/// The harmless request by which `ferryd check --connect` tries the credentials of each account. Its expressions may use
/// `account` and `secrets`; no command is there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::provider::rest) struct VerificationFile {
    /// The request; it must change nothing. Absent: the request for an access token alone, which needs `auth` with the scheme
    /// `oauth2`.
    pub(in crate::provider::rest) request: Option<RequestFile>,
    /// The request's body. Absent: none.
    pub(in crate::provider::rest) body: Option<Json>,
    /// Whether a `POST` changes nothing, and may be made any number of times. Without it the method has to be `GET`.
    #[serde(default)]
    pub(in crate::provider::rest) repeatable: bool,
    /// The condition under which a 2xx says that the credentials are taken; it may use `status`, `headers`, `body`, `text`.
    /// Default: any 2xx does.
    pub(in crate::provider::rest) success: Option<String>,
    /// The condition under which the answer says that they are refused. Default: `status in [401, 403]`.
    pub(in crate::provider::rest) declined: Option<String>,
}
