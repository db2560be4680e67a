//! The settings of the link to a provider's NATS server, and what is made of them before anything
//! connects.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::Auth;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::amqp_setup::{AmqpSetupError, read_certificates};
use ferryd_domain::loopback::is_loopback_host;
use ferryd_provider::{Account, NatsLogin, Provider, ProviderLink};

/// The scheme of an address with TLS.
const TLS: &str = "tls";

/// The settings of the link to a provider's NATS server.
#[derive(Debug, Clone)]
pub struct NatsLinkSettings {
    /// The address of the server, `tls://host[:port]`, without credentials; `nats` leads to this
    /// machine only.
    pub server: Url,
    /// The login.
    pub login: NatsLogin,
    /// The PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest time for DNS, TCP, TLS and the login together.
    pub connect_timeout: Duration,
    /// The maximum number of messages that await their acknowledgement at the same time.
    pub max_in_flight: u16,
}

impl NatsLinkSettings {
    /// Returns the settings of an account's link; `None` where the provider is not reached by NATS.
    #[must_use]
    pub fn of(provider: &Provider, account: &Account) -> Option<Self> {
        let ProviderLink::Nats(login) = &account.link else { return None };
        Some(Self {
            server: account.base_url.clone(),
            login: login.clone(),
            ca_file: provider.http.ca_file.clone(),
            connect_timeout: provider.http.connect_timeout,
            max_in_flight: provider.max_in_flight,
        })
    }
}

/// The reason why the link to a provider's NATS server can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum NatsSetupError {
    /// The address is none of a NATS server.
    #[error("server {0}: write tls://host:4222, without credentials")]
    Server(&'static str),
    /// The CA file can't be used.
    #[error(transparent)]
    CaFile(AmqpSetupError),
}

/// A server with all that is needed to connect to it.
pub(super) struct NatsTarget {
    pub(super) settings: NatsLinkSettings,
}

impl NatsTarget {
    /// Reads the CA file; connects to nothing. Provider files with a wrong address are refused when
    /// they are read; the check here is the second line of defence.
    pub(super) fn new(settings: NatsLinkSettings) -> Result<Self, NatsSetupError> {
        // An error means that a cryptography provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = &settings.server;
        if !server.username().is_empty() || server.password().is_some() {
            return Err(NatsSetupError::Server("holds credentials, which have keys of their own"));
        }
        let host = server.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(NatsSetupError::Server("has no host"))?;
        match server.scheme() {
            TLS => {}
            "nats" if is_loopback_host(host) => {}
            "nats" => {
                return Err(NatsSetupError::Server("would send without TLS to another host"));
            }
            _ => return Err(NatsSetupError::Server("has another scheme than tls")),
        }
        if let Some(path) = &settings.ca_file {
            read_certificates("ca_file", path).map_err(NatsSetupError::CaFile)?;
        }
        Ok(Self { settings })
    }

    /// Returns true if nothing is sent without TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.settings.server.scheme() == TLS
    }

    /// Returns the login as the client takes it.
    pub(super) fn auth(&self) -> Auth {
        let text = |secret: &SecretString| Some(secret.expose_secret().to_owned());
        let mut auth = Auth::new();
        match &self.settings.login {
            NatsLogin::User { username, password } => {
                auth.username = Some(username.clone());
                auth.password = text(password);
            }
            NatsLogin::Token(token) => auth.token = text(token),
        }
        auth
    }
}

#[cfg(test)]
#[path = "nats_setup_tests.rs"]
mod tests;
