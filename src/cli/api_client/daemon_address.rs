//! Finds the address of the daemon, and the token for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use super::super::error::CommandError;
use super::error::{ApiError, innermost_cause};
use crate::config::{Config, SecretText, is_bearer_token};
use crate::web::api_address::ApiAddressFile;
use crate::web::host_token::HostToken;
use ferryd_domain::loopback::is_loopback_host;

/// The variable that holds a token.
const TOKEN_VARIABLE: &str = "FERRYD_TOKEN";

/// The address of an API, with or without the beginning of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct ApiUrl(Url);

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no_address =
            || "is no address: write one such as https://ferryd.example.com".to_owned();
        let url = Url::parse(text).map_err(|_| no_address())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(no_address());
        }
        let user = !url.username().is_empty() || url.password().is_some();
        if user || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "has a user, a query or a fragment: write the beginning that all addresses share"
                    .to_owned(),
            );
        }
        Ok(Self(url))
    }
}

/// The address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DaemonAddress {
    url: Url,
    /// True where no address was given, so that the daemon of this host is meant.
    is_default: bool,
}

/// A token, and its origin.
#[derive(Debug, Clone)]
pub(super) struct ApiCredential {
    pub(super) token: SecretText,
    origin: String,
}

/// Reads the token from the environment.
pub(super) fn given_token() -> Option<String> {
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty())
}

/// Finds the daemon and the token. The configuration is read only for those that are not given.
pub(super) fn find(
    url: Option<&ApiUrl>,
    allow_plaintext: bool,
    given: Option<&str>,
    config: Option<&Path>,
) -> Result<(DaemonAddress, ApiCredential), CommandError> {
    let place = match url {
        Some(ApiUrl(url)) => DaemonAddress::of(url.clone(), allow_plaintext)?,
        None => DaemonAddress::of_host(&Config::load(config)?)?,
    };
    let credential = match given {
        Some(token) => ApiCredential::of_variable(token)?,
        None if place.is_host() => ApiCredential::of_host(&Config::load(config)?)?,
        // The token of this host is never sent to an address that was given.
        None => return Err(ApiError::NoToken { url: place.url.to_string() }.into()),
    };
    Ok((place, credential))
}

impl ApiCredential {
    fn of_variable(token: &str) -> Result<Self, ApiError> {
        if !is_bearer_token(token) {
            return Err(ApiError::InvalidToken);
        }
        Ok(Self { token: token.into(), origin: format!("in {TOKEN_VARIABLE}") })
    }

    fn of_host(config: &Config) -> Result<Self, CommandError> {
        let file = config.host_token_file()?;
        let token = HostToken::load(&file)?;
        Ok(Self { token: token.token().clone(), origin: format!("in the file {}", file.display()) })
    }
}

impl DaemonAddress {
    /// Takes the address that was given.
    fn of(url: Url, allow_plaintext: bool) -> Result<Self, ApiError> {
        let place = Self { url, is_default: false };
        if place.is_plain() && !place.is_host() && !allow_plaintext {
            return Err(ApiError::Plaintext { url: place.url.to_string() });
        }
        Ok(place)
    }

    /// Finds the address of this host's daemon: in its configuration, else in the file that the
    /// daemon writes.
    fn of_host(config: &Config) -> Result<Self, CommandError> {
        if !config.api.enabled {
            return Err(ApiError::Disabled.into());
        }
        let address = match config.api.bind.port() {
            0 => running(config)?,
            _ => config.api.bind,
        };
        let ip = match address.ip() {
            IpAddr::V4(all) if all.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(all) if all.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            one => one,
        };
        let url = Url::parse(&format!("http://{}", SocketAddr::new(ip, address.port())));
        let url = url.map_err(|error| ApiError::Setup(error.to_string()))?;
        Ok(Self { url, is_default: true })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Returns true where the address can only be this host.
    fn is_host(&self) -> bool {
        self.is_default || self.url.host_str().is_some_and(is_loopback_host)
    }

    fn name(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        let (url, why) = (self.name(), innermost_cause(error));
        if error.is_connect() {
            return ApiError::NoDaemon { url, why };
        }
        ApiError::BrokenOff { url, why }
    }

    pub(super) fn too_late(&self, after: Duration) -> ApiError {
        ApiError::NoAnswer { url: self.name(), after }
    }

    pub(super) fn unreadable(&self, why: &str) -> ApiError {
        ApiError::Unreadable { url: self.name(), why: why.to_owned() }
    }

    pub(super) fn no_ferryd(&self, status: u16) -> ApiError {
        ApiError::NoFerryd { url: self.name(), status }
    }

    pub(super) fn unknown_token(&self, credential: &ApiCredential) -> ApiError {
        ApiError::UnknownToken { url: self.name(), origin: credential.origin.clone() }
    }
}

/// Reads the address at which the daemon of this host listens.
fn running(config: &Config) -> Result<SocketAddr, CommandError> {
    let file = ApiAddressFile::beside(&config.host_token_file()?);
    let path = file.path().display().to_string();
    match file.read() {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(ApiError::NotRunning { path }.into()),
        Err(error) => Err(ApiError::NoAddress { path, error }.into()),
    }
}
