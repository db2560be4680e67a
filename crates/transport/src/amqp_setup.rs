//! The settings of the link to a provider's broker, and what is made of them before anything
//! connects.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use ferryd_domain::loopback::is_loopback_host;
use ferryd_provider::{Account, Provider, ProviderLink};

/// The frame size of a link, in bytes; bodies may be of any size. lapin allocates 32 frames each
/// way for every connection.
const FRAME_MAX: u32 = 32 << 10;

/// The interval of heartbeats in seconds. A connection that was lost while idle is noticed after
/// two of them: a message published before that would be in doubt.
const HEARTBEAT: u16 = 10;

/// The settings of the link to a provider's broker.
#[derive(Debug, Clone)]
pub struct AmqpLinkSettings {
    /// The address of the broker, `amqps://host[:port]/vhost`, without credentials; `amqp` leads to
    /// this machine only.
    pub server: Url,
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
    /// The PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The PEM files of the client's certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The longest time for DNS, TCP, TLS and the AMQP handshake together.
    pub connect_timeout: Duration,
    /// The maximum number of messages that await their confirm at the same time.
    pub max_in_flight: u16,
}

impl AmqpLinkSettings {
    /// Returns the settings of an account's link; `None` where the provider is reached by HTTPS.
    #[must_use]
    pub fn of(provider: &Provider, account: &Account) -> Option<Self> {
        let ProviderLink::Amqp { username, password } = &account.link else { return None };
        Some(Self {
            server: account.base_url.clone(),
            username: username.clone(),
            password: password.clone(),
            ca_file: provider.http.ca_file.clone(),
            client_cert: None,
            connect_timeout: provider.http.connect_timeout,
            max_in_flight: provider.max_in_flight,
        })
    }
}

/// The reason why the link to a provider's broker can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum AmqpSetupError {
    /// The address is none of a broker.
    #[error("server {address} {reason}: write amqps://host:5671/vhost")]
    Server {
        /// The address.
        address: Url,
        /// The fault of the address.
        reason: &'static str,
    },
    /// A TLS file can't be read.
    #[error("{key} {path} cannot be read ({source}): name a PEM file that ferryd may read")]
    FileUnreadable {
        /// The key of the setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A TLS file holds nothing usable.
    #[error(
        "{key} {path} holds no usable PEM ({reason}): it must have a block that starts with `-----BEGIN`"
    )]
    FileUnusable {
        /// The key of the setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason, from the parser.
        reason: String,
    },
    /// TLS can't be set up with the system's authorities.
    #[error(
        "amqps cannot be set up ({0}): install the system's CA certificates, or name a ca_file"
    )]
    Tls(String),
}

/// A broker with all that is needed to connect to it.
pub(super) struct BrokerTarget {
    /// The address with its credentials; not shown anywhere.
    pub(super) uri: AMQPUri,
    /// TLS with its authorities and the client's certificate; `None` for plain TCP.
    pub(super) tls: Option<RustlsConnector>,
    /// The address as people read it.
    pub(super) address: String,
    /// The longest time for connecting.
    pub(super) connect_timeout: Duration,
}

impl BrokerTarget {
    /// Reads the TLS files; connects to nothing.
    pub(super) fn new(settings: &AmqpLinkSettings) -> Result<Self, AmqpSetupError> {
        let mut uri = parse_server(&settings.server)?;
        uri.authority.userinfo.username.clone_from(&settings.username);
        settings.password.expose_secret().clone_into(&mut uri.authority.userinfo.password);
        uri.query.frame_max = Some(FRAME_MAX);
        uri.query.heartbeat = Some(HEARTBEAT);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(RustlsConnector::from(client_config(settings)?)),
        };
        let (address, connect_timeout) = (settings.server.to_string(), settings.connect_timeout);
        Ok(Self { uri, tls, address, connect_timeout })
    }
}

/// Reads the address of a broker. Provider files with a wrong one are refused when they are read;
/// this is the second line of defence.
fn parse_server(server: &Url) -> Result<AMQPUri, AmqpSetupError> {
    let fault = |reason| AmqpSetupError::Server { address: without_login(server), reason };
    if !server.username().is_empty() || server.password().is_some() {
        return Err(fault("holds credentials, which have keys of their own"));
    }
    // lapin replaces anything but a name or an IPv4 address with `localhost`.
    let host = server.domain().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| fault("has no host name or IPv4 address"))?;
    match server.scheme() {
        "amqps" => {}
        "amqp" if is_loopback_host(host) => {}
        "amqp" => return Err(fault("would send without TLS to another host")),
        _ => return Err(fault("has another scheme than amqps")),
    }
    let uri: AMQPUri = server.as_str().parse().map_err(|_| fault("cannot be read"))?;
    if uri.vhost.is_empty() {
        return Err(fault("names the empty virtual host; /%2f is the default one"));
    }
    Ok(uri)
}

fn without_login(server: &Url) -> Url {
    let mut server = server.clone();
    // Fails only for addresses without a host, which hold no login.
    let _ = server.set_username("").and_then(|()| server.set_password(None));
    server
}

fn client_config(settings: &AmqpLinkSettings) -> Result<ClientConfig, AmqpSetupError> {
    // An error means that a cryptography provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = trusting(settings.ca_file.as_deref())?;
    let Some((cert, key)) = &settings.client_cert else { return Ok(builder.with_no_client_auth()) };
    let chain = read_certificates("client_cert_file", cert)?;
    let private = PrivateKeyDer::from_pem_slice(&read_file("client_key_file", key)?)
        .map_err(|error| unusable("client_key_file", key, describe_pem(&error)))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| unusable("client_key_file", key, error.to_string()))
}

fn trusting(
    ca_file: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, AmqpSetupError> {
    let Some(path) = ca_file else {
        let verifying = ClientConfig::builder().with_platform_verifier();
        return verifying.map_err(|error| AmqpSetupError::Tls(error.to_string()));
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates("ca_file", path)? {
        roots.add(certificate).map_err(|error| unusable("ca_file", path, error.to_string()))?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots))
}

pub(super) fn read_certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, AmqpSetupError> {
    let text = read_file(key, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|error| unusable(key, path, describe_pem(&error)))?;
    if certificates.is_empty() {
        return Err(unusable(key, path, "it has no certificate".to_owned()));
    }
    Ok(certificates)
}

fn read_file(key: &'static str, path: &Path) -> Result<Vec<u8>, AmqpSetupError> {
    std::fs::read(path).map_err(|source| AmqpSetupError::FileUnreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

fn unusable(key: &'static str, path: &Path, reason: String) -> AmqpSetupError {
    AmqpSetupError::FileUnusable { key, path: path.to_owned(), reason }
}

/// Describes a fault of a PEM file without quoting the file, which may be a key.
fn describe_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it has none of this kind".to_owned(),
        pem::Error::MissingSectionEnd { .. } => "a block has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a block has no valid beginning".to_owned(),
        pem::Error::Base64Decode(_) => "a block is not base64".to_owned(),
        _ => "it cannot be parsed".to_owned(),
    }
}

#[cfg(test)]
#[path = "amqp_setup_tests.rs"]
mod tests;
