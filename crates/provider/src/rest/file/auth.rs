//! The structure of the table `auth`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// The authorisation of requests. All values are expressions, and may not be empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::rest) enum AuthFile {
    /// `Authorization: Bearer <token>` (RFC 6750).
    Bearer {
        /// The token.
        token: String,
    },
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user name, without a colon.
        username: String,
        /// The password; `""` for none.
        password: String,
    },
    /// A header of the provider's own.
    Header {
        /// The header's name.
        name: String,
        /// The header's value.
        value: String,
    },
    /// `Authorization: Bearer <token>` with an access token that ferryd requests, keeps and renews
    /// (RFC 6749). The values may use `secrets` only.
    Oauth2 {
        /// The grant by which the token is obtained.
        grant: GrantFile,
        /// The token endpoint: an `https://` address, or a path behind `base_url`.
        token_url: String,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: String,
        /// The scopes of the token, separated by spaces. Absent: the provider's default.
        scope: Option<String>,
        /// The place of the client's id and secret. Default: `basic`.
        #[serde(default)]
        client_auth: ClientAuthFile,
        /// Further parameters of the token request, such as `audience`.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
}

/// The grant by which an access token is obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::rest) enum GrantFile {
    /// A token for the client itself, by its id and secret (RFC 6749, section 4.4).
    ClientCredentials,
}

/// The place of a client's id and secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::rest) enum ClientAuthFile {
    /// In the header `Authorization: Basic …`.
    #[default]
    Basic,
    /// In the body.
    Body,
}
