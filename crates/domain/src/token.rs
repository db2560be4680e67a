//! Access tokens (RFC 6749) that a provider grants for credentials, and the error where it grants
//! none.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::http_call::HttpRequest;
use super::outcome::{Failure, RetryAfter};

/// The header that carries a token.
const HEADER: &str = "authorization";

/// The scheme before the token in that header.
const SCHEME: &str = "Bearer ";

/// A bearer token. Its value is masked in every output.
#[derive(Debug, Clone)]
pub struct AccessToken {
    value: SecretString,
    /// The time for which the token is valid; `None` where the provider does not state it.
    pub lifetime: Option<Duration>,
}

/// An error: a text is empty, or has characters that a header can't carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the access token is empty, or has characters other than visible ASCII, which a header cannot carry"
)]
pub struct InvalidToken;

/// An error: the provider granted no token. The call that needed one was not sent, or was refused
/// because of the previous token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenUnavailable {
    /// The failure of the request for a token.
    pub failure: Failure,
    /// The time at which the provider allows the next request.
    pub retry_after: Option<RetryAfter>,
}

impl AccessToken {
    /// Creates a token from a text.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn new(text: &str, lifetime: Option<Duration>) -> Result<Self, InvalidToken> {
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible { Ok(Self { value: text.into(), lifetime }) } else { Err(InvalidToken) }
    }

    /// Returns the token itself, for masking it.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.value
    }

    /// Returns the same request, authorised by this token, with this time for it.
    #[must_use]
    pub fn authorise(&self, request: &HttpRequest, timeout: Duration) -> HttpRequest {
        let mut headers = request.headers.clone();
        headers.retain(|(name, _)| name != HEADER);
        headers.insert(0, (HEADER.to_owned(), format!("{SCHEME}{}", self.value.expose_secret())));
        HttpRequest { headers, timeout, ..request.clone() }
    }
}

/// Finds the token that authorises a request.
#[must_use]
pub fn bearer_token(headers: &[(String, String)]) -> Option<&str> {
    headers
        .iter()
        .find(|(name, _)| name == HEADER)
        .and_then(|(_, value)| value.strip_prefix(SCHEME))
}

impl TokenUnavailable {
    /// Creates the error without a time of the next request.
    #[must_use]
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { failure: Failure::new(code, message.to_string()), retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_call::HttpMethod;

    fn token(text: &str) -> AccessToken {
        AccessToken::new(text, None).unwrap()
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        for good in ["A21AA_fake", "a.b-c~d+e/f=="] {
            assert!(AccessToken::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\r\nX: y", "ä", "\u{7f}"] {
            assert_eq!(AccessToken::new(bad, None).unwrap_err(), InvalidToken, "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_authorised_by_one_token_and_no_debug_shows_it() {
        let request = HttpRequest {
            method: HttpMethod::Get,
            url: "https://api.example.com/".parse().unwrap(),
            headers: vec![("accept".to_owned(), "a".to_owned())],
            input_headers: Vec::new(),
            body: Vec::new().into(),
            timeout: Duration::from_secs(9),
        };
        let first = token("tok-1").authorise(&request, Duration::from_secs(8));
        let second = token("tok-2").authorise(&first, Duration::from_secs(7));
        let values: Vec<_> = second.headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!((values, second.timeout.as_secs()), (vec!["Bearer tok-2", "a"], 7));
        assert_eq!(
            [&request, &first].map(|request| bearer_token(&request.headers)),
            [None, Some("tok-1")]
        );
        assert_eq!(second.digest(), request.digest());
        assert!(!format!("{:?}{second:?}", token("tok-2")).contains("tok-2"));
    }
}
