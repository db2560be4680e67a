//! Opening one connection to the broker, over TCP or TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::error::BrokerError;
use super::frame_size;
use super::node_addresses::NodeAddresses;

/// The longest time for the broker to answer the closing of a connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// The frame size of a connection whose messages have few headers, in bytes; their bodies may be of
/// any size. lapin allocates 32 frames each way before it sends anything, which at RabbitMQ's 128
/// KiB takes 8 MiB of memory and 4 ms.
const SMALL_FRAME: u32 = 16 << 10;

/// The use of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionRole {
    /// The connection publishes messages.
    Publishing,
    /// The connection publishes or reads messages of which none has more headers than a [small
    /// frame](SMALL_FRAME) takes.
    FewHeaders,
    /// The connection accepts header frames larger than the frame size, and must not publish.
    Consuming,
}

/// The settings of connections to the broker.
#[derive(Clone)]
pub struct AmqpSettings {
    /// The addresses of the broker's nodes, with user and password; not shown in logs.
    pub nodes: NodeAddresses,
    /// The user by which the broker knows ferryd's connections, where the configuration names it.
    pub user: Option<String>,
    /// The PEM file of an authority to trust besides the system's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// The PEM files of the client's certificate and its PKCS #8 key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The longest time for DNS, TCP, TLS and the AMQP handshake together.
    pub connect_timeout: Duration,
    /// The longest time from a publish to its confirm, while the broker does not block publishers.
    pub publish_timeout: Duration,
    /// The maximum number of publishes to one destination that await their confirm at the same
    /// time.
    pub max_unconfirmed: usize,
}

impl AmqpSettings {
    /// Returns the broker's addresses, without user or password.
    #[must_use]
    pub fn address(&self) -> String {
        self.nodes.iter().map(address).collect::<Vec<_>>().join(", ")
    }

    /// Returns the first address, which stands for the cluster whichever node is connected to.
    #[must_use]
    pub fn first_address(&self) -> String {
        address(self.nodes.first())
    }

    /// Lists the same settings once for each node, with the address of that one alone.
    pub fn each_node(&self) -> impl Iterator<Item = Self> {
        (0..self.nodes.count()).map(|place| self.of_node(place))
    }

    /// Returns the same settings with the address of one node alone. Places beyond the last begin
    /// anew.
    pub(super) fn of_node(&self, place: usize) -> Self {
        Self { nodes: self.nodes.only_at(place), ..self.clone() }
    }

    /// Opens a connection that the broker lists as `ferryd:<purpose>@<host>`, to the node that was
    /// connected to last or, where it can't be reached, to the next.
    ///
    /// # Errors
    /// [`BrokerError`]: a TLS file that can't be used, a refusal, or no answer in time, of every node.
    pub async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        self.connect_as(ConnectionRole::Publishing, purpose).await
    }

    /// Opens a connection as [`connect`](Self::connect) does, in less time and with less memory, for
    /// messages that have few headers.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_for_few_headers(&self, purpose: &str) -> Result<Connection, BrokerError> {
        self.connect_as(ConnectionRole::FewHeaders, purpose).await
    }

    /// Opens a connection that takes header frames larger than the frame size, as the broker
    /// delivers them, and must not publish.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_consuming(&self, purpose: &str) -> Result<Connection, BrokerError> {
        self.connect_as(ConnectionRole::Consuming, purpose).await
    }

    async fn connect_as(
        &self,
        role: ConnectionRole,
        purpose: &str,
    ) -> Result<Connection, BrokerError> {
        let mut failures = Vec::new();
        for (place, uri) in self.nodes.next_round() {
            match self.connect_to(uri, role, purpose).await {
                Ok(connection) => {
                    self.nodes.prefer(place);
                    return Ok(connection);
                }
                // All nodes use the same files.
                Err(error @ BrokerError::TlsFile { .. }) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(BrokerError::of_all_nodes(failures))
    }

    async fn connect_to(
        &self,
        uri: &AMQPUri,
        role: ConnectionRole,
        purpose: &str,
    ) -> Result<Connection, BrokerError> {
        let (action, tls) = (format!("connect to {}", address(uri)), self.tls(uri)?);
        let (mut uri, properties) = (uri.clone(), properties(purpose));
        if role == ConnectionRole::FewHeaders {
            uri.query.frame_max =
                Some(uri.query.frame_max.map_or(SMALL_FRAME, |size| size.min(SMALL_FRAME)));
        }
        let connecting = async {
            match role {
                ConnectionRole::Publishing | ConnectionRole::FewHeaders => {
                    let runtime = lapin::runtime::default_runtime()?;
                    Connection::connect_uri_with_config(uri, properties, tls, runtime).await
                }
                ConnectionRole::Consuming => {
                    frame_size::connect_consuming(uri, properties, tls).await
                }
            }
        };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(BrokerError::while_doing(action)),
            Err(_) => Err(BrokerError::Timeout { action, after: self.connect_timeout }),
        }
    }

    fn tls(&self, uri: &AMQPUri) -> Result<OwnedTLSConfig, BrokerError> {
        if uri.scheme != AMQPScheme::AMQPS {
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

/// Closes a connection in good order. Waits for the broker's answer for a second at most: lapin
/// 4.12 can end a connection without waking the task that closes it.
pub async fn say_goodbye(connection: &Connection) {
    let _ = tokio::time::timeout(GOODBYE, connection.close(200, "done".into())).await;
}

/// Formats an address, without user or password.
fn address(AMQPUri { scheme, authority, vhost, .. }: &AMQPUri) -> String {
    let vhost = vhost.replace('/', "%2f");
    format!("{scheme}://{}:{}/{vhost}", authority.host, authority.port)
}

fn properties(purpose: &str) -> ConnectionProperties {
    let host = gethostname::gethostname();
    let name = format!("ferryd:{purpose}@{}", host.to_string_lossy());
    ConnectionProperties::default().with_connection_name(name.into())
}

fn read_pem(path: &Path) -> Result<String, BrokerError> {
    let fault = |message: String| BrokerError::TlsFile { path: path.to_owned(), message };
    let text =
        std::fs::read_to_string(path).map_err(|error| fault(format!("failed to read: {error}")))?;
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
