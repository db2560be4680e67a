//! Opening one connection to the broker, over TCP or TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::error::BrokerError;
use super::tolerant;

/// How the broker is reached.
#[derive(Clone)]
pub struct AmqpSettings {
    /// Where, with user and password; not shown in logs.
    pub uri: AMQPUri,
    /// The user as which the broker knows ferryd's connections, where that is known.
    pub user: Option<String>,
    /// PEM file of an authority to trust besides the system's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the client's certificate and its PKCS #8 key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The most time for DNS, TCP, TLS and the AMQP handshake together.
    pub connect_timeout: Duration,
    /// The most time from a publish to its confirm, while the broker does not block publishers.
    pub publish_timeout: Duration,
    /// The most publishes to one destination awaiting their confirm at the same time.
    pub max_unconfirmed: usize,
}

impl AmqpSettings {
    /// The broker's address, without user or password.
    #[must_use]
    pub fn address(&self) -> String {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        let vhost = vhost.replace('/', "%2f");
        format!("{scheme}://{}:{}/{vhost}", authority.host, authority.port)
    }

    /// Opens a connection that the broker lists as `ferryd:<purpose>@<host>`.
    ///
    /// # Errors
    /// [`BrokerError`]: a TLS file that can't be used, a refusal, or no answer in time.
    pub async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let (action, tls) = (self.connecting(), self.tls()?);
        let runtime = lapin::runtime::default_runtime().map_err(BrokerError::during(&action))?;
        let properties = properties(purpose);
        self.in_time(Connection::connect_uri_with_config(self.uri.clone(), properties, tls, runtime)).await
    }

    /// Opens a connection that takes header frames larger than the frame size, as the broker delivers them, and must not publish.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_consuming(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let tls = self.tls()?;
        self.in_time(tolerant::connect_consuming(self.uri.clone(), properties(purpose), tls)).await
    }

    fn connecting(&self) -> String {
        format!("connect to {}", self.address())
    }

    async fn in_time(
        &self,
        connecting: impl Future<Output = lapin::Result<Connection>>,
    ) -> Result<Connection, BrokerError> {
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(BrokerError::during(self.connecting())),
            Err(_) => Err(BrokerError::Timeout { action: self.connecting(), after: self.connect_timeout }),
        }
    }

    fn tls(&self) -> Result<OwnedTLSConfig, BrokerError> {
        if self.uri.scheme != AMQPScheme::AMQPS {
            return Ok(OwnedTLSConfig::default());
        }
        let cert_chain = self.ca_file.as_deref().map(read_pem).transpose()?;
        let identity = self.client_cert.as_ref().map(|(cert, key)| {
            let [pem, key] = [read_pem(cert)?, read_pem(key)?].map(String::into_bytes);
            Ok::<_, BrokerError>(OwnedIdentity::PKCS8 { pem, key })
        });
        Ok(OwnedTLSConfig { identity: identity.transpose()?, cert_chain })
    }
}

fn properties(purpose: &str) -> ConnectionProperties {
    let host = gethostname::gethostname();
    let name = format!("ferryd:{purpose}@{}", host.to_string_lossy());
    ConnectionProperties::default().with_connection_name(name.into())
}

fn read_pem(path: &Path) -> Result<String, BrokerError> {
    let fault = |message: String| BrokerError::TlsFile { path: path.to_owned(), message };
    let text = std::fs::read_to_string(path).map_err(|error| fault(format!("failed to read: {error}")))?;
    if text.contains("-----BEGIN ") {
        Ok(text)
    } else {
        Err(fault("holds no PEM section; give the file that starts with `-----BEGIN`".to_owned()))
    }
}

impl std::fmt::Debug for AmqpSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpSettings").field("address", &self.address()).finish_non_exhaustive()
    }
}
