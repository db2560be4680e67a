//! The section `[webhooks]`: the address at which providers call ferryd, and the limits of these
//! calls.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::api;
use super::public_url::PublicUrl;
use super::rule::{ConfigFault, SECOND, rule, within};
use super::secret::SecretText;
use ferryd_serve::network::IpNetwork;
use ferryd_settings::units;

/// The endpoint for webhooks of providers, apart from the API. ferryd opens it if `public_url` is
/// given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// The address at which providers reach the endpoint, such as `https://hooks.example.com`,
    /// before `/webhooks/<provider>`. ferryd verifies signatures that cover the address against it.
    /// Default: none, and ferryd opens no endpoint. Environment: `FERRYD_WEBHOOKS__PUBLIC_URL`.
    pub public_url: Option<PublicUrl>,
    /// The keys of the tokens in webhook URLs and beside the ids that providers echo, for provider
    /// files that use `webhook_url` or `command_token`; the same for all instances. Does not need
    /// `public_url`. ferryd signs with the first and accepts all. 32 to 512 characters each:
    /// `openssl rand -hex 32` makes one. Each may be `${env:NAME}` or `${file:/path}`. Default:
    /// none. Environment: `FERRYD_WEBHOOKS__SIGNING_KEYS`, separated by commas.
    pub signing_keys: Vec<SecretText>,
    /// The IP address and port to listen on; port 0 chooses a free one. An address other than
    /// loopback needs TLS, or `trusted_proxies`. Default `127.0.0.1:8421`. Environment:
    /// `FERRYD_WEBHOOKS__BIND`.
    #[serde(deserialize_with = "api::address")]
    pub bind: SocketAddr,
    /// The proxies in front of the endpoint, by address or network (`10.0.0.0/8`). ferryd takes the
    /// client's address from their `X-Forwarded-For` or `Forwarded`, and they may hold all
    /// connections. Default: none. Environment: `FERRYD_WEBHOOKS__TRUSTED_PROXIES`, separated by
    /// commas.
    pub trusted_proxies: Vec<IpNetwork>,
    /// PEM file of the endpoint's own certificate with its chain; requires `tls_key_file`. Default:
    /// none, and the endpoint speaks plain HTTP to a proxy. Environment:
    /// `FERRYD_WEBHOOKS__TLS_CERT_FILE`.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file of the certificate's key. Default: none. Environment:
    /// `FERRYD_WEBHOOKS__TLS_KEY_FILE`.
    pub tls_key_file: Option<PathBuf>,
    /// The largest body of a webhook, 1 KiB to 8 MiB. Default `1MiB`. Environment:
    /// `FERRYD_WEBHOOKS__MAX_BODY_SIZE`.
    #[serde(with = "units::size")]
    #[schemars(schema_with = "units::size::schema")]
    pub max_body_size: usize,
    /// The timeout of the head of a webhook, of the TLS handshake before it, and of idle
    /// connections, 100 ms to 1 min. Default `10s`. Environment: `FERRYD_WEBHOOKS__HEADER_TIMEOUT`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub header_timeout: Duration,
    /// The timeout of the body of a webhook, 100 ms to 1 min. Default `10s`. Environment:
    /// `FERRYD_WEBHOOKS__BODY_TIMEOUT`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub body_timeout: Duration,
    /// The maximum of concurrent connections, 1 to 65535; more wait. One address that is no trusted
    /// proxy has at most a quarter. Default 512. Environment: `FERRYD_WEBHOOKS__MAX_CONNECTIONS`.
    #[schemars(range(min = 1))]
    pub max_connections: u16,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            public_url: None,
            signing_keys: Vec::new(),
            bind: (Ipv4Addr::LOCALHOST, 8421).into(),
            trusted_proxies: Vec::new(),
            tls_cert_file: None,
            tls_key_file: None,
            max_body_size: 1 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            max_connections: 512,
        }
    }
}

impl WebhooksConfig {
    /// Returns true where the endpoint exists.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.public_url.is_some()
    }

    /// Returns true where other machines reach the endpoint in plain HTTP, because a proxy is in
    /// front of it.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.is_enabled() && self.tls_cert_file.is_none() && !self.bind.ip().is_loopback()
    }

    /// Lists every rule that the section breaks.
    pub(super) fn find_faults(&self) -> Vec<ConfigFault> {
        if !self.is_enabled() {
            // Without an endpoint the keys still sign command tokens.
            if *self == (Self { signing_keys: self.signing_keys.clone(), ..Self::default() }) {
                return self.broken_keys().collect();
            }
            let message = "is missing: write the address that providers call, such as https://hooks.example.com, or leave out \
                           all of the section but `signing_keys` to listen to none";
            return vec![rule("webhooks.public_url", message)];
        }
        let mut broken = self.reach();
        if !(1 << 10..=8 << 20).contains(&self.max_body_size) {
            broken.push(rule("webhooks.max_body_size", "write 1KiB to 8MiB"));
        }
        broken.extend(self.broken_keys());
        let range = SECOND / 10..=Duration::from_mins(1);
        broken.extend(within("webhooks.header_timeout", self.header_timeout, range.clone()));
        broken.extend(within("webhooks.body_timeout", self.body_timeout, range));
        broken
    }

    /// Lists the keys whose length is out of bounds.
    fn broken_keys(&self) -> impl Iterator<Item = ConfigFault> + '_ {
        let is_broken = |key: &SecretText| !(32..=512).contains(&key.expose().len());
        let message = "is no key of 32 to 512 characters: make one with `openssl rand -hex 32`";
        let broken = self.signing_keys.iter().enumerate().filter(move |(_, key)| is_broken(key));
        broken
            .map(move |(index, _)| (format!("webhooks.signing_keys[{index}]"), message.to_owned()))
    }

    /// Lists the rules about access: over TLS, from a proxy, or from this machine.
    fn reach(&self) -> Vec<ConfigFault> {
        let plain = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(_), Some(_)) => false,
            (None, None) => true,
            (Some(_), None) => {
                return vec![rule("webhooks.tls_cert_file", "needs webhooks.tls_key_file too")];
            }
            (None, Some(_)) => {
                return vec![rule("webhooks.tls_key_file", "needs webhooks.tls_cert_file too")];
            }
        };
        if plain && !self.bind.ip().is_loopback() && self.trusted_proxies.is_empty() {
            let message = "can be reached from other machines without TLS: add webhooks.tls_cert_file and \
                           webhooks.tls_key_file, name the proxy in webhooks.trusted_proxies, or write a loopback address \
                           such as 127.0.0.1:8421";
            return vec![rule("webhooks.bind", message)];
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, EnvironmentVariables};
    use super::*;

    fn read(text: &str) -> Result<WebhooksConfig, Vec<String>> {
        let text = format!("[webhooks]\n{text}");
        let config = Config::from_parts(
            Some((Path::new("/etc/ferryd/ferryd.toml"), &text)),
            &EnvironmentVariables::new(),
        );
        config.map(|config| config.webhooks).map_err(|error| error.lines())
    }

    const PUBLIC: &str = "public_url = 'https://hooks.example.com'\n";

    #[test]
    fn nothing_listens_without_a_public_address_and_a_forgotten_one_is_reported() {
        assert!(!read("").unwrap().is_enabled());
        assert!(read(PUBLIC).unwrap().is_enabled());
        assert!(
            !read("signing_keys = ['0123456789abcdef0123456789abcdef']").unwrap().is_enabled(),
            "for command tokens"
        );
        assert!(
            read("signing_keys = ['hunter2']").unwrap_err()[0]
                .contains("webhooks.signing_keys[0]: is no key")
        );
        for text in [
            "signing_keys = ['0123456789abcdef0123456789abcdef']\nmax_body_size = '2MiB'",
            "max_body_size = '2MiB'",
            "bind = '127.0.0.1:1'",
            "trusted_proxies = ['10.0.0.1']",
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults[0].contains(": webhooks.public_url: is missing"), "{faults:?}");
        }
    }

    #[test]
    fn files_are_found_beside_the_configuration() {
        let read =
            read(&format!("{PUBLIC}tls_cert_file = 'cert.pem'\ntls_key_file = '/run/key.pem'"))
                .unwrap();
        assert_eq!(read.tls_cert_file.as_deref(), Some(Path::new("/etc/ferryd/cert.pem")));
        assert_eq!(read.tls_key_file.as_deref(), Some(Path::new("/run/key.pem")));
    }

    #[test]
    fn every_fault_is_reported_by_its_key() {
        for (text, fault) in [
            ("bind = '0.0.0.0:8421'", Some("webhooks.bind = \"0.0.0.0:8421\": can be reached")),
            ("bind = '0.0.0.0:8421'\ntrusted_proxies = ['10.0.0.0/8']", None),
            ("bind = '0.0.0.0:8421'\ntls_cert_file = 'a'\ntls_key_file = 'b'", None),
            ("bind = '[::1]:0'", None),
            ("bind = 'localhost:1'", Some("webhooks.bind = \"localhost:1\": is no address")),
            ("tls_cert_file = 'a'", Some("webhooks.tls_cert_file = ")),
            ("tls_key_file = 'b'", Some("webhooks.tls_key_file = ")),
            (
                "trusted_proxies = ['10.0.0.1/8']",
                Some("webhooks.trusted_proxies[0] = \"10.0.0.1/8\": `10.0.0.1/8` has bits"),
            ),
            ("trusted_proxies = ['proxy']", Some("webhooks.trusted_proxies[0]")),
            ("max_body_size = '1B'", Some("webhooks.max_body_size = \"1B\": write 1KiB to 8MiB")),
            ("max_body_size = '9MiB'", Some("webhooks.max_body_size")),
            (
                "max_body_size = 4096",
                Some(
                    "webhooks.max_body_size = 4096: is a number; write text in quotes, such as \"64MiB\"",
                ),
            ),
            (
                "max_body_size = '4096'",
                Some(
                    "webhooks.max_body_size = \"4096\": is no size: write a number and a unit, such as \"512KiB\" or \"64MiB\"",
                ),
            ),
            (
                "header_timeout = '10ms'",
                Some("webhooks.header_timeout = \"10ms\": 10ms is not possible"),
            ),
            ("body_timeout = '2m'", Some("webhooks.body_timeout")),
            (
                "max_connections = 0",
                Some("webhooks.max_connections = 0: 0 is out of range; write 1 to 65535"),
            ),
            ("signing_keys = ['0123456789abcdef0123456789abcdef']", None),
            (
                "signing_keys = ['hunter2']",
                Some("webhooks.signing_keys[0]: is no key of 32 to 512 characters: make one"),
            ),
            ("signing_keys = 'hunter2'", Some("webhooks.signing_keys: is text; write a list")),
            (
                "signing_keys = ['${env:NONE}']",
                Some("webhooks.signing_keys[0]: the environment variable NONE is not set"),
            ),
            ("colour = 'red'", Some("webhooks.colour: unknown key")),
        ] {
            let faults = read(&format!("{PUBLIC}{text}")).err().unwrap_or_default();
            assert_eq!(faults.len(), usize::from(fault.is_some()), "{text}: {faults:?}");
            assert!(fault.is_none_or(|fault| faults[0].contains(fault)), "{text}: {faults:?}");
        }
        let faults = read("public_url = 'http://hooks.example.com'").unwrap_err();
        assert!(
            faults[0].contains("webhooks.public_url = \"http://hooks.example.com\": is not https"),
            "{faults:?}"
        );
    }
}
