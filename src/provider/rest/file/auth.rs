//! What may stand under `auth`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// How requests are authorised. All values are expressions and may not turn out empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::provider::rest) enum AuthFile {
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
        /// Its value.
        value: String,
    },
    /// `Authorization: Bearer <token>` with an access token that ferryd asks for, keeps and renews (RFC 6749). The values may
    /// use `secrets` only.
    Oauth2 {
        /// How the token is got.
        grant: GrantFile,
        /// The token endpoint: an `https://` address, or a path behind `base_url`.
        token_url: String,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: String,
        /// What the token is to be good for, words with spaces between. Absent: what the provider gives.
        scope: Option<String>,
        /// Where id and secret are put. Default: `basic`.
        #[serde(default)]
        client_auth: ClientAuthFile,
        /// Further parameters of the token request, such as `audience`.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
}

/// How an access token is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider::rest) enum GrantFile {
    /// For the client itself, by its id and secret (RFC 6749, section 4.4).
    ClientCredentials,
}

/// Where a client puts its id and secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider::rest) enum ClientAuthFile {
    /// Into the header `Authorization: Basic …`.
    #[default]
    Basic,
    /// Into the body.
    Body,
}
