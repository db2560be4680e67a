//! The address under which providers reach ferryd.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use ferryd_domain::loopback::is_https_or_loopback;

/// An `https://` address, with or without the beginning of a path: `https://hooks.example.com`.
/// Plain HTTP is for this machine only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PublicUrl(String);

/// The reason why a text is no [`PublicUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicUrl {
    /// The text is no URL.
    #[error("is no address: write https://hooks.example.com")]
    NoUrl,
    /// Providers would have to call without TLS.
    #[error("is not https: providers call over TLS, ferryd's own or a proxy's; write https://…")]
    NotHttps,
    /// The URL has more than a host, a port and a path.
    #[error(
        "has a user, a query or a fragment: write the beginning that all webhook addresses share"
    )]
    TooMuch,
}

impl PublicUrl {
    /// Returns the address that was called, with the path and query of the call.
    ///
    /// The received text is appended to the text of this address and not encoded anew, because
    /// signatures cover it: only quotation marks, which no query should hold as they are, become
    /// `%22` and `%27`. `None` where the result is no URL.
    #[must_use]
    pub fn called(&self, path_and_query: &str) -> Option<Url> {
        Url::parse(&format!("{}{path_and_query}", self.0)).ok()
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = InvalidPublicUrl;

    fn try_from(text: String) -> Result<Self, InvalidPublicUrl> {
        let url = Url::parse(&text).map_err(|_| InvalidPublicUrl::NoUrl)?;
        if !is_https_or_loopback(url.scheme(), url.host_str().ok_or(InvalidPublicUrl::NoUrl)?) {
            return Err(InvalidPublicUrl::NotHttps);
        }
        let user = !url.username().is_empty() || url.password().is_some();
        if user || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidPublicUrl::TooMuch);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.0
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> Result<PublicUrl, InvalidPublicUrl> {
        PublicUrl::try_from(text.to_owned())
    }

    #[test]
    fn the_called_address_is_the_public_one_with_the_path_and_query_as_they_came() {
        for (base, target, url) in [
            ("https://hooks.example.com", "/webhooks/a", "https://hooks.example.com/webhooks/a"),
            ("https://hooks.example.com/", "/webhooks/a?", "https://hooks.example.com/webhooks/a?"),
            (
                "https://example.com:8443/ferry/",
                "/webhooks/a",
                "https://example.com:8443/ferry/webhooks/a",
            ),
            ("http://localhost:8421", "/webhooks/a", "http://localhost:8421/webhooks/a"),
        ] {
            assert_eq!(public(base).unwrap().called(target).unwrap().as_str(), url);
        }
        let base = public("https://hooks.example.com").unwrap();
        for query in [
            "a=%2f%2F",
            "a=b+c%20d",
            "&&a&=b&a",
            "a=%zz",
            "a=[1]{2}|^`",
            "a=~!$()*,;:@/?",
            "bodySHA256=ab12",
        ] {
            let target = format!("/webhooks/twilio?{query}");
            let called = base.called(&target).unwrap();
            assert_eq!(called.as_str(), format!("https://hooks.example.com{target}"));
        }
    }

    #[test]
    fn what_is_no_public_address_is_refused() {
        use InvalidPublicUrl::{NoUrl, NotHttps, TooMuch};
        for (text, error) in [
            ("hooks.example.com", NoUrl),
            ("mailto:a@example.com", NoUrl),
            ("http://hooks.example.com", NotHttps),
            ("http://10.0.0.1", NotHttps),
            ("https://user@hooks.example.com", TooMuch),
            ("https://hooks.example.com/?a", TooMuch),
            ("https://hooks.example.com/#a", TooMuch),
        ] {
            assert_eq!(public(text), Err(error), "{text}");
        }
    }
}
