//! The structure of the table `verification`, by which an account's credentials are verified.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::request::RequestFile;

/// The harmless request by which `ferryd check --connect` verifies the credentials of each account.
/// Its expressions may use `account` and `secrets`; there is no command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::rest) struct VerificationFile {
    /// The request; it must change nothing. Absent: the request for an access token alone, which
    /// needs `auth` with the scheme `oauth2`.
    pub(in crate::rest) request: Option<RequestFile>,
    /// The request's body. Absent: none.
    pub(in crate::rest) body: Option<Json>,
    /// True where a `POST` changes nothing, and may be repeated any number of times. Otherwise the
    /// method must be `GET`.
    #[serde(default)]
    pub(in crate::rest) repeatable: bool,
    /// The condition under which a 2xx means that the credentials are accepted; it may use
    /// `status`, `headers`, `body`, `text`. Default: any 2xx.
    pub(in crate::rest) success: Option<String>,
    /// The condition under which the answer means that the credentials are refused. Default:
    /// `status in [401, 403]`.
    pub(in crate::rest) declined: Option<String>,
}
