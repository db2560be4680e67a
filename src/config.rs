//! The daemon's settings: defaults, a TOML file and the environment, in this order, parsed into
//! domain types.
//!
//! The file is the one given with `--config`, else `$FERRYD_CONFIG`, else `/etc/ferryd/ferryd.toml`
//! where that exists. Every key can be set by an environment variable too: `FERRYD_`, then the key
//! in capitals with `__` between its levels, such as `FERRYD_AMQP__URI`. An empty variable counts
//! as unset. Lists are separated by commas. `FERRYD_LOG` is short for `FERRYD_LOG__FILTER`.
//! `deploy/ferryd.example.toml` explains every key.

mod amqp;
mod amqp_uri;
mod api;
mod check;
mod environment;
mod error;
mod layers;
mod load;
mod management_url;
mod public_url;
mod rule;
mod secret;
mod sections;
mod webhooks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use amqp::AmqpConfig;
pub use amqp_uri::{AmqpUri, InvalidAmqpUri};
pub use api::{ApiConfig, ApiToken, TokenRole};
pub(crate) use api::{HOST_TOKEN_NAME, is_bearer_token};
pub use environment::EnvironmentVariables;
pub use error::ConfigError;
pub use management_url::{InvalidManagementUrl, ManagementUrl};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use secret::SecretText;
pub use sections::{
    EventsConfig, InvalidFilter, LedgerConfig, LogConfig, LogFilter, LogFormat, ProvidersConfig,
    RetryConfig, ShutdownConfig, SubscriberConfig,
};
pub use webhooks::WebhooksConfig;

use ferryd_domain::name::Name;
use ferryd_domain::retry::RetryPolicy;
use ferryd_domain::webhook_token::TokenKey;
use ferryd_provider::registry::ProviderDefaults;
use ferryd_provider::webhook_links::LinkSettings;

/// The configuration file that is read where none is named, if it exists.
pub const DEFAULT_PATH: &str = "/etc/ferryd/ferryd.toml";

/// All settings of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "ferryd configuration")]
pub struct Config {
    /// The first word of the names of all exchanges and queues. Default `ferry`. Environment:
    /// `FERRYD_PREFIX`.
    pub prefix: Name,
    /// The connection to the broker.
    pub amqp: AmqpConfig,
    /// The provider files, and defaults for them.
    pub providers: ProvidersConfig,
    /// The retries of commands, unless the provider file has its own.
    pub retry: RetryConfig,
    /// The provider for commands of a type that name no provider: `payment = "stripe"`. Default: no
    /// routes. Environment: `FERRYD_ROUTES__PAYMENT` for the type `payment`.
    pub routes: BTreeMap<Name, Name>,
    /// The events about commands, and their subscribers.
    pub events: EventsConfig,
    /// The record of what happened to each command.
    pub ledger: LedgerConfig,
    /// The HTTP API beside the queues.
    pub api: ApiConfig,
    /// The endpoint for webhooks of providers.
    pub webhooks: WebhooksConfig,
    /// The shutdown of the daemon.
    pub shutdown: ShutdownConfig,
    /// The log on the standard error.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefix: default_prefix(),
            amqp: AmqpConfig::default(),
            providers: ProvidersConfig::default(),
            retry: RetryConfig::default(),
            routes: BTreeMap::new(),
            events: EventsConfig::default(),
            ledger: LedgerConfig::default(),
            api: ApiConfig::default(),
            webhooks: WebhooksConfig::default(),
            shutdown: ShutdownConfig::default(),
            log: LogConfig::default(),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant, held by a test")]
fn default_prefix() -> Name {
    "ferry".parse().expect("a valid name")
}

impl Config {
    /// The folder of the ledger's index, for this process.
    ///
    /// # Errors
    /// Where a variable of ferryd's is not UTF-8.
    pub fn ledger_folder(&self) -> Result<PathBuf, ConfigError> {
        Ok(self.ledger.folder(&environment::of_process()?))
    }

    /// The file of the host's own API token, for this process.
    ///
    /// # Errors
    /// Where a variable of ferryd's is not UTF-8.
    pub fn host_token_file(&self) -> Result<PathBuf, ConfigError> {
        let file = match &self.api.token_file {
            Some(file) => file.clone(),
            None => self.ledger_folder()?.join("api-token"),
        };
        Ok(std::path::absolute(&file).unwrap_or(file))
    }

    /// Returns the defaults for keys that provider files leave out.
    #[must_use]
    pub fn provider_defaults(&self) -> ProviderDefaults {
        ProviderDefaults {
            retry: RetryPolicy::from(&self.retry),
            max_in_flight: self.providers.max_in_flight,
            max_bytes_in_flight: self.providers.max_bytes_in_flight,
            links: self.links().map(Arc::new),
        }
    }

    /// Returns the address and the keys with which tokens are made; `None` where there is no key. A
    /// token is valid for as long as the ledger keeps a command.
    fn links(&self) -> Option<LinkSettings> {
        let WebhooksConfig { public_url, signing_keys, .. } = &self.webhooks;
        let keys: Vec<_> = signing_keys.iter().map(|key| TokenKey::new(key.expose())).collect();
        let public_url = public_url.as_ref().map(ToString::to_string);
        (!keys.is_empty()).then_some(LinkSettings {
            public_url,
            keys,
            lifetime: self.ledger.duplicate_window,
        })
    }

    /// Returns the JSON Schema of the configuration file, so that editors complete it.
    #[must_use]
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }
}

#[cfg(test)]
mod addresses_tests;
#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod reference_tests;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
