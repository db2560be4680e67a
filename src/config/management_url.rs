//! The address of the broker's management API, which may hold a password.

use std::fmt;

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::amqp_uri::redact;
use ferryd_domain::loopback::is_https_or_loopback;

/// An `https://` address such as `https://rabbit1.internal:15671`, with or without user and
/// password. Plain HTTP is for this machine only.
///
/// The password is masked wherever the address is printed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct ManagementUrl {
    text: SecretString,
    redacted: String,
}

/// The reason why a text is no [`ManagementUrl`]. The message never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManagementUrl {
    /// The text is no URL.
    #[error("is no address: write https://rabbit1.internal:15671")]
    NoUrl,
    /// The password would cross a network without TLS.
    #[error(
        "is not https, and leads to another host: write https://…, or ask on a node of the broker"
    )]
    NotHttps,
    /// The URL has more than user, host, port and path.
    #[error("has a query or a fragment: write what stands before /api")]
    TooMuch,
}

impl ManagementUrl {
    /// Returns the address, with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl TryFrom<String> for ManagementUrl {
    type Error = InvalidManagementUrl;

    fn try_from(text: String) -> Result<Self, InvalidManagementUrl> {
        let url = Url::parse(&text).map_err(|_| InvalidManagementUrl::NoUrl)?;
        if !is_https_or_loopback(url.scheme(), url.host_str().ok_or(InvalidManagementUrl::NoUrl)?) {
            return Err(InvalidManagementUrl::NotHttps);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidManagementUrl::TooMuch);
        }
        let base = |text: &str| text.trim_end_matches('/').to_owned();
        let text = base(url.as_str()).into();
        Ok(Self { text, redacted: base(&redact(url)) })
    }
}

impl PartialEq for ManagementUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Display for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagementUrl({self})")
    }
}

impl Serialize for ManagementUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ManagementUrl, InvalidManagementUrl> {
        text.to_owned().try_into()
    }

    #[test]
    fn only_tls_or_this_machine_is_queried_and_the_password_is_never_printed() {
        use InvalidManagementUrl::{NoUrl, NotHttps, TooMuch};
        for text in
            ["https://rabbit1:15671", "http://127.0.0.1:15672", "http://localhost:15672/broker"]
        {
            assert_eq!(parse(&format!("{text}/")).unwrap().expose(), text);
        }
        for (text, error) in [
            ("rabbit1", NoUrl),
            ("mailto:a@b", NoUrl),
            ("http://rabbit1:15672", NotHttps),
            ("ftp://localhost", NotHttps),
            ("https://rabbit1/?a=b", TooMuch),
            ("https://rabbit1/#a", TooMuch),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
        let url = parse("https://monitor:hunter2@rabbit1:15671").unwrap();
        let shown = format!("{url} {url:?} {}", serde_json::to_string(&url).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(url.to_string(), "https://monitor:***@rabbit1:15671");
    }
}
