//! The section `[api]`: the address at which the HTTP API listens, and the clients that may use it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::rule::{ConfigFault, rule};
use super::secret::SecretText;
use ferryd_domain::command_scope::CommandScope;
use ferryd_domain::name::Name;
use ferryd_serve::network::IpNetwork;

/// The name of the token that ferryd makes for the commands of its own host.
pub(crate) const HOST_TOKEN_NAME: &str = "host";

/// The role of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Reads commands.
    Read,
    /// Also publishes and cancels commands.
    Operate,
    /// Reads commands, and has their contents erased.
    Erase,
}

impl TokenRole {
    /// Returns true where a token with this role may do what needs `needed`.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        needed == Self::Read || self == needed
    }

    /// Returns the name of the role in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Erase => "erase",
        }
    }
}

/// The HTTP API beside the queues: publishing, querying and cancelling commands, jobs, and health
/// checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// True if ferryd serves the API. Default true. Environment: `FERRYD_API__ENABLED`.
    pub enabled: bool,
    /// The IP address and port to listen on; port 0 chooses a free one. An address other than
    /// loopback needs `allow_plaintext`: the API speaks plain HTTP, TLS is for a proxy in front of
    /// it. Default `127.0.0.1:8420`. Environment: `FERRYD_API__BIND`.
    #[serde(deserialize_with = "address")]
    pub bind: SocketAddr,
    /// Permits a `bind` that other machines reach. Everybody on the network path can then read and
    /// change tokens, commands and results. Default false. Environment:
    /// `FERRYD_API__ALLOW_PLAINTEXT`.
    pub allow_plaintext: bool,
    /// The file of the host's own token, which has the role `operate`; `ferryd token` reads it.
    /// ferryd makes it with a random token at its first start; relative to the configuration file.
    /// Default `api-token` in the folder of the ledger's index (`ledger.dir`). Environment:
    /// `FERRYD_API__TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// The group whose members may read the token file too, by name or number: the file then has
    /// the mode 0640, otherwise 0600. ferryd's user has to be a member. Default: none. Environment:
    /// `FERRYD_API__TOKEN_GROUP`.
    pub token_group: Option<String>,
    /// The proxies in front of the API, by address or network (`10.0.0.0/8`), which may hold all
    /// connections. Any other address may hold at most a quarter of the connections without a known
    /// token. Default: none. Environment: `FERRYD_API__TRUSTED_PROXIES`, separated by commas.
    pub trusted_proxies: Vec<IpNetwork>,
    /// The tokens of clients other than the host itself. Default: none. Environment: none.
    pub tokens: Vec<ApiToken>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            bind: (Ipv4Addr::LOCALHOST, 8420).into(),
            allow_plaintext: false,
            token_file: None,
            token_group: None,
            trusted_proxies: Vec::new(),
            tokens: Vec::new(),
        }
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| {
        D::Error::custom(
            "is no address: write an IP address and a port, such as 127.0.0.1:8420 or [::1]:8420",
        )
    })
}

/// The token of a client of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiToken {
    /// The name of the client, in the log and in records. `host` is reserved.
    pub name: Name,
    /// The role of the client.
    #[serde(deserialize_with = "role")]
    pub role: TokenRole,
    /// The token, 16 to 512 characters of `A-Z a-z 0-9 - . _ ~ + / =`. May be `${env:NAME}` or
    /// `${file:/path}`.
    pub token: SecretText,
    /// The commands that the client may read, and with the role `erase` erase. With the role
    /// `operate`, give both `read` and `operate` or none. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<CommandScope>,
    /// The commands that the client may publish and cancel. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operate: Option<CommandScope>,
    /// The publisher for which the client publishes: a user in `publishers` of provider or account
    /// files. The client may use the `ids` of that user, and is bound by them like that user.
    /// Default: none; then a client with a scope may use no id that is bound to a publisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenRole, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "read" => Ok(TokenRole::Read),
        "operate" => Ok(TokenRole::Operate),
        "erase" => Ok(TokenRole::Erase),
        _ => Err(D::Error::custom("is no role: write read, operate or erase")),
    }
}

impl ApiConfig {
    /// Returns true where other machines reach the API in plain HTTP.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.enabled && !self.bind.ip().is_loopback()
    }

    /// Lists every rule that the section breaks.
    pub(super) fn find_faults(&self) -> Vec<ConfigFault> {
        let mut broken = Vec::new();
        if self.is_exposed() && !self.allow_plaintext {
            let message = "can be reached from other machines in plain HTTP, so tokens and payloads can be read on the way: \
                           write a loopback address such as 127.0.0.1:8420, with a proxy with TLS in front of it, or \
                           `api.allow_plaintext = true` where everybody on the network path may read them";
            broken.push(rule("api.bind", message));
        }
        if self.token_group.as_ref().is_some_and(|group| group.trim().is_empty()) {
            broken.push(rule(
                "api.token_group",
                "is empty: write the name or number of a group, or leave it out",
            ));
        }
        for (index, token) in self.tokens.iter().enumerate() {
            broken.extend(token.find_faults(index, &self.tokens[..index]));
        }
        broken
    }
}

impl ApiToken {
    /// Lists every rule that the entry at this index breaks. `earlier` are the entries before it.
    fn find_faults(&self, index: usize, earlier: &[Self]) -> Vec<ConfigFault> {
        let Self { name, token, .. } = self;
        let mut broken = Vec::new();
        if !is_bearer_token(token.expose()) {
            let message = "has to be 16 to 512 characters long, of A-Z a-z 0-9 - . _ ~ + / =: make one with `openssl rand -hex 32`";
            broken.push((format!("api.tokens[{index}].token"), message.to_owned()));
        } else if earlier.iter().any(|other| other.token == *token) {
            let message = "is the token of another entry: everybody needs their own";
            broken.push((format!("api.tokens[{index}].token"), message.to_owned()));
        }
        if name.as_str() == HOST_TOKEN_NAME {
            let message =
                format!("is the name of the token in api.token_file: `{name}` needs another name");
            broken.push((format!("api.tokens[{index}].name"), message));
        } else if earlier.iter().any(|other| other.name == *name) {
            broken.push((
                format!("api.tokens[{index}].name"),
                format!("is there twice: `{name}` needs another name"),
            ));
        }
        broken.extend(self.broken_scopes(index));
        broken
    }

    /// Lists every rule between role and scopes that the entry at this index breaks.
    fn broken_scopes(&self, index: usize) -> Vec<ConfigFault> {
        let mut broken = Vec::new();
        if self.publisher.is_some() && self.role != TokenRole::Operate {
            let role = self.role.as_str();
            let message = format!(
                "has no effect: the role {role} does not publish; leave it out, or write the role operate"
            );
            broken.push((format!("api.tokens[{index}].publisher"), message));
        }
        let all = "{} for all commands";
        match (self.role, &self.read, &self.operate) {
            (role @ (TokenRole::Read | TokenRole::Erase), _, Some(_)) => {
                let role = role.as_str();
                let message = format!(
                    "has no effect: the role {role} does not operate; leave it out, or write the role operate"
                );
                broken.push((format!("api.tokens[{index}].operate"), message));
            }
            (TokenRole::Operate, Some(_), None) => {
                let message = format!(
                    "needs the key `operate` too, where it has `read`: write a table, {all}"
                );
                broken.push((format!("api.tokens[{index}]"), message));
            }
            (TokenRole::Operate, None, Some(_)) => {
                let message = format!(
                    "needs the key `read` too, where it has `operate`: write a table, {all}"
                );
                broken.push((format!("api.tokens[{index}]"), message));
            }
            _ => {}
        }
        for (key, scope) in [("read", &self.read), ("operate", &self.operate)] {
            let Some(CommandScope { types, providers, accounts }) = scope else { continue };
            let lists = [
                ("types", types.as_ref().map(BTreeSet::is_empty)),
                ("providers", providers.as_ref().map(BTreeSet::is_empty)),
                ("accounts", accounts.as_ref().map(BTreeSet::is_empty)),
            ];
            let empty = lists.into_iter().filter(|(_, is_empty)| *is_empty == Some(true));
            let message = "is empty, which allows nothing: leave it out for all";
            broken.extend(empty.map(|(list, _)| {
                (format!("api.tokens[{index}].{key}.{list}"), message.to_owned())
            }));
        }
        broken
    }
}

/// Returns true for a text that can be sent as a token (RFC 6750) and has the length of one.
pub(crate) fn is_bearer_token(token: &str) -> bool {
    (16..=512).contains(&token.len())
        && token.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c))
}
