//! The section `[amqp]`: the connection to the broker.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ManagementUrl;
use super::amqp_uri::AmqpUri;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::node_addresses::NodeAddresses;
use ferryd_settings::units;

/// The connection to the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// The broker's address, `amqp://` or `amqps://`. May contain `${env:NAME}` and
    /// `${file:/path}`; ferryd percent-encodes a value within the address.
    /// `?auth_mechanism=external` takes the user from the client certificate. Default
    /// `amqp://guest:guest@127.0.0.1:5672/%2f`. Environment: `FERRYD_AMQP__URI`.
    pub uri: AmqpUri,
    /// The addresses of the nodes of one cluster, instead of `uri`: ferryd connects to the next
    /// when one cannot be reached. All have the same user and virtual host. The first also names
    /// the ledger's index on this host, so keep it first. Default: none, and `uri` is the only one.
    /// Environment: `FERRYD_AMQP__URIS`, separated by commas.
    pub uris: Vec<AmqpUri>,
    /// The address of the broker's management API, `https://`, or `http://` on this machine.
    /// `ferryd topology apply` reads the replicas of queues and streams there. The user is that of
    /// `uri`, or one in the address; it needs the tag `monitoring`. May contain `${env:NAME}` and
    /// `${file:/path}`. Default: none. Environment: `FERRYD_AMQP__MANAGEMENT_URL`.
    pub management_url: Option<ManagementUrl>,
    /// Permits `amqp://` to another host. Everybody on the network path can then read and change
    /// the password, commands and events. Default false. Environment:
    /// `FERRYD_AMQP__ALLOW_PLAINTEXT`.
    pub allow_plaintext: bool,
    /// ferryd's own AMQP user, if the client certificate determines it
    /// (`?auth_mechanism=external`), as `rabbitmqctl list_connections user` shows it. Default: the
    /// user in `uri`; with a certificate none, and then no account with `publishers` accepts
    /// commands from the API or `ferryd publish`. Environment: `FERRYD_AMQP__USER`.
    pub user: Option<String>,
    /// PEM file of the authorities to trust besides the system's, for `amqps`. Default: none.
    /// Environment: `FERRYD_AMQP__CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate with its chain; requires `client_key_file`. Default:
    /// none. Environment: `FERRYD_AMQP__CLIENT_CERT_FILE`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file (PKCS #8) of the client certificate's key. Default: none. Environment:
    /// `FERRYD_AMQP__CLIENT_KEY_FILE`.
    pub client_key_file: Option<PathBuf>,
    /// The heartbeat of connections: ferryd closes a connection that is silent for about two of
    /// these. Whole seconds, 1 s to 1 h. Default `10s`. Environment: `FERRYD_AMQP__HEARTBEAT`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub heartbeat: Duration,
    /// The timeout of the TCP, TLS and AMQP handshakes together. Default `10s`. Environment:
    /// `FERRYD_AMQP__CONNECT_TIMEOUT`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub connect_timeout: Duration,
    /// The timeout from publishing a message to the broker's confirm. Default `10s`. Environment:
    /// `FERRYD_AMQP__PUBLISH_TIMEOUT`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub publish_timeout: Duration,
    /// The maximum of unconfirmed messages for one destination, 1 to 65535. More than 200 counts as
    /// 200, so that one blocked queue cannot stop the others. Default 200. Environment:
    /// `FERRYD_AMQP__MAX_UNCONFIRMED`.
    #[schemars(range(min = 1))]
    pub max_unconfirmed: u16,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            uri: AmqpUri::default(),
            uris: Vec::new(),
            management_url: None,
            allow_plaintext: false,
            user: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            heartbeat: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            max_unconfirmed: 200,
        }
    }
}

impl AmqpConfig {
    /// Lists the addresses of the broker: `uris`, or `uri` alone where there are none.
    #[must_use]
    pub fn addresses(&self) -> &[AmqpUri] {
        if self.uris.is_empty() { std::slice::from_ref(&self.uri) } else { &self.uris }
    }

    /// The first address. Its user and its virtual host are those of all.
    #[must_use]
    pub fn first_address(&self) -> &AmqpUri {
        self.uris.first().unwrap_or(&self.uri)
    }

    /// Returns the key of an address, by its index in [`addresses`](Self::addresses).
    pub(super) fn key_of_address(&self, place: usize) -> String {
        if self.uris.is_empty() { "amqp.uri".to_owned() } else { format!("amqp.uris[{place}]") }
    }

    /// Returns the user as which the broker knows ferryd; `None` where only the client certificate
    /// decides it.
    #[must_use]
    pub fn own_user(&self) -> Option<&str> {
        let first = self.first_address();
        let of_uri = || (!first.is_external()).then(|| first.user());
        self.user.as_deref().or_else(of_uri)
    }
}

impl From<&AmqpConfig> for AmqpSettings {
    fn from(amqp: &AmqpConfig) -> Self {
        let with_heartbeat = |uri: &AmqpUri| {
            let mut uri = uri.parts().clone();
            uri.query.heartbeat = u16::try_from(amqp.heartbeat.as_secs()).ok();
            uri
        };
        let others = amqp.addresses().iter().skip(1).map(with_heartbeat).collect();
        Self {
            nodes: NodeAddresses::new(with_heartbeat(amqp.first_address()), others),
            user: amqp.own_user().map(str::to_owned),
            ca_file: amqp.ca_file.clone(),
            client_cert: amqp.client_cert_file.clone().zip(amqp.client_key_file.clone()),
            connect_timeout: amqp.connect_timeout,
            publish_timeout: amqp.publish_timeout,
            max_unconfirmed: amqp.max_unconfirmed.into(),
        }
    }
}
