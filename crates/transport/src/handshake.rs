//! Connects to a provider by TCP and TLS without sending any HTTP.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::tls_error::describe_cause;
use ferryd_provider::HttpSettings;

/// The reason why a provider is unreachable, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeFailure(String);

/// Connects to a provider's host and makes the TLS handshake, as a call would; then disconnects.
///
/// # Errors
/// [`HandshakeFailure`]: a name that does not resolve, a refused connection, a certificate that is not
/// trusted, a time-out.
pub async fn try_handshake(
    base_url: &Url,
    settings: &HttpSettings,
) -> Result<(), HandshakeFailure> {
    let within = settings.connect_timeout;
    tokio::time::timeout(within, connect(base_url, settings)).await.unwrap_or_else(|_| {
        Err(HandshakeFailure(format!("no connection within {} s", within.as_secs_f32())))
    })
}

async fn connect(base_url: &Url, settings: &HttpSettings) -> Result<(), HandshakeFailure> {
    let failed = |error: &dyn std::fmt::Display| HandshakeFailure(error.to_string());
    let host =
        base_url.host().ok_or_else(|| HandshakeFailure("the address has no host".to_owned()))?;
    let name = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let port = base_url.port_or_known_default().unwrap_or(443);
    let tcp = TcpStream::connect((name.as_str(), port)).await.map_err(|error| failed(&error))?;
    if base_url.scheme() == "http" {
        return Ok(());
    }
    let config = client_config(settings).map_err(|error| HandshakeFailure(error.to_string()))?;
    let server = ServerName::try_from(name).map_err(|error| failed(&error))?;
    TlsConnector::from(Arc::new(config))
        .connect(server, tcp)
        .await
        .map(drop)
        .map_err(|error| HandshakeFailure(describe_cause(&error)))
}

fn client_config(
    settings: &HttpSettings,
) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    // An error means that a cryptography provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(path) = &settings.ca_file else { return Ok(ClientConfig::with_platform_verifier()?) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
