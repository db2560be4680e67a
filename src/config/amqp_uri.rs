//! The broker's address, which holds a password.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use ferryd_domain::loopback::is_loopback_host;

/// The query parameters that an address may have. Other parameters have keys of their own, or would
/// be ignored silently.
const PARAMETERS: [&str; 3] = ["auth_mechanism", "channel_max", "frame_max"];

/// An AMQP 0-9-1 address as RabbitMQ's URI specification writes it:
/// `amqps://user:password@host:5671/vhost`.
///
/// The password is masked wherever the address is printed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct AmqpUri {
    text: SecretString,
    redacted: String,
    parsed: AMQPUri,
}

/// The reason why a text is no [`AmqpUri`]. The message never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmqpUri {
    /// The text is no URI at all.
    #[error(
        "is no URI: write amqp://user:password@host:5672/vhost, with special characters percent-encoded"
    )]
    NotUri,
    /// The scheme is neither `amqp` nor `amqps`.
    #[error("has the scheme `{0}`: write `amqp` or, with TLS, `amqps`")]
    Scheme(String),
    /// The host is missing, or the AMQP client does not understand it.
    #[error("has no host name or IPv4 address: write amqp://user:password@host:5672/vhost")]
    Host,
    /// The virtual host has the empty name.
    #[error("names the empty virtual host: write /%2f at its end for RabbitMQ's default one")]
    EmptyVhost,
    /// A parameter has no effect here.
    #[error("has the parameter `{0}`: only auth_mechanism, channel_max and frame_max are known")]
    Parameter(String),
    /// The value of a parameter cannot be read.
    #[error(
        "has a parameter that cannot be read: write auth_mechanism=plain or external, channel_max and frame_max as numbers"
    )]
    Value,
}

impl AmqpUri {
    /// Returns the whole address, with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// Returns the address in its parts, with its password.
    #[must_use]
    pub fn parts(&self) -> &AMQPUri {
        &self.parsed
    }

    /// Returns the user in the address; `guest` where it names none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.parsed.authority.userinfo.username
    }

    /// Returns true where the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.parsed.scheme == AMQPScheme::AMQPS
    }

    /// Returns true where the traffic can be read on the way: the address leads to another host,
    /// without TLS.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.is_tls() && !is_loopback_host(&self.parsed.authority.host)
    }

    /// Returns true where the broker takes the user from the client's certificate
    /// (`?auth_mechanism=external`).
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.parsed.query.auth_mechanism == Some(SASLMechanism::External)
    }
}

impl TryFrom<String> for AmqpUri {
    type Error = InvalidAmqpUri;

    fn try_from(text: String) -> Result<Self, InvalidAmqpUri> {
        let url = url::Url::parse(&text).map_err(|_| InvalidAmqpUri::NotUri)?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err(InvalidAmqpUri::Scheme(url.scheme().to_owned()));
        }
        // The AMQP client replaces anything but a name or an IPv4 address with `localhost`.
        if url.domain().is_none_or(str::is_empty) {
            return Err(InvalidAmqpUri::Host);
        }
        if let Some((name, _)) =
            url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref()))
        {
            return Err(InvalidAmqpUri::Parameter(name.into_owned()));
        }
        let parsed: AMQPUri = text.parse().map_err(|_| InvalidAmqpUri::Value)?;
        if parsed.vhost.is_empty() {
            return Err(InvalidAmqpUri::EmptyVhost);
        }
        Ok(Self { redacted: redact(url), parsed, text: text.into() })
    }
}

/// Masks the password, unless it is the one of every fresh installation.
pub(super) fn redact(mut url: url::Url) -> String {
    if url.password().is_some_and(|password| password != "guest") {
        // Fails only for addresses without a host, which are refused before.
        url.set_password(Some("***")).ok();
    }
    url.into()
}

impl Default for AmqpUri {
    /// Returns the address of a broker on this machine as it is after installation.
    #[expect(clippy::expect_used, reason = "a constant, held by a test")]
    fn default() -> Self {
        Self::try_from("amqp://guest:guest@127.0.0.1:5672/%2f".to_owned()).expect("a valid address")
    }
}

impl PartialEq for AmqpUri {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Display for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for AmqpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmqpUri({self})")
    }
}

impl Serialize for AmqpUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AmqpUri, InvalidAmqpUri> {
        AmqpUri::try_from(text.to_owned())
    }

    #[test]
    fn the_scheme_decides_about_tls_and_the_parameter_about_external() {
        for (text, tls, external) in [
            ("amqp://host", false, false),
            ("amqp://user:pw@10.0.0.1:5673/shop", false, false),
            ("amqps://host/%2f", true, false),
            ("amqps://host/%2f?auth_mechanism=external", true, true),
            ("amqps://host/%2f?auth_mechanism=plain&channel_max=100&frame_max=131072", true, false),
        ] {
            let uri = parse(text).unwrap();
            assert_eq!((uri.is_tls(), uri.is_external(), uri.expose()), (tls, external, text));
        }
    }

    #[test]
    fn only_another_host_without_tls_is_exposed() {
        for (text, is_exposed) in [
            ("amqp://localhost/%2f", false),
            ("amqp://u:p@127.0.0.1:5672/%2f", false),
            ("amqp://rabbitmq/%2f", true),
            ("amqp://u:localhost@10.0.0.1/%2f", true),
            ("amqp://localhost.example.com/%2f", true),
            ("amqps://rabbitmq/%2f", false),
        ] {
            assert_eq!(parse(text).unwrap().is_exposed(), is_exposed, "{text}");
        }
    }

    #[test]
    fn what_the_client_would_misread_is_refused() {
        use InvalidAmqpUri as E;
        let table = [
            ("", E::NotUri),
            ("localhost", E::NotUri),
            ("http://host/", E::Scheme("http".to_owned())),
            ("amqp:///%2f", E::Host),
            ("amqp://[::1]:5672/%2f", E::Host),
            ("amqp://host/", E::EmptyVhost),
            ("amqp://host/%2f?heartbeat=5", E::Parameter("heartbeat".to_owned())),
            ("amqps://host/%2f?cacertfile=/x", E::Parameter("cacertfile".to_owned())),
            ("amqp://host/%2f?auth_mechanism=magic", E::Value),
            ("amqp://host/%2f?frame_max=large", E::Value),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_password_is_never_printed() {
        let uri = parse("amqp://ferry:hunter2@host:5672/%2f").unwrap();
        let shown = format!("{uri} {uri:?} {}", serde_json::to_string(&uri).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(uri.to_string(), "amqp://ferry:***@host:5672/%2f");
    }
}
