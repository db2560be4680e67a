//! Access tokens (RFC 6749): what a provider grants for credentials, and why it grants none.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::exchange::{Reply, Request};
use super::outcome::{Failure, RetryAfter};

/// The header that carries a token.
const HEADER: &str = "authorization";

/// What stands in the place of a token that a provider quotes.
const MASK: &str = "***";

/// A bearer token. Its value is never shown.
#[derive(Debug, Clone)]
pub struct AccessToken {
    value: SecretString,
    /// For how long the provider takes it; `None` where it does not say.
    pub lifetime: Option<Duration>,
}

/// The text is no token: it is empty, or has characters that a header can't carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token is empty, or has characters other than visible ASCII, which a header cannot carry")]
pub struct NotAToken;

/// Why there is no token. The call that wanted one was not sent, or was refused because of the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct NoToken {
    /// What went wrong.
    pub failure: Failure,
    /// When the provider wants to be asked again.
    pub retry_after: Option<RetryAfter>,
}

impl AccessToken {
    /// A token of this text.
    ///
    /// # Errors
    /// [`NotAToken`].
    pub fn new(text: &str, lifetime: Option<Duration>) -> Result<Self, NotAToken> {
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible { Ok(Self { value: text.into(), lifetime }) } else { Err(NotAToken) }
    }

    /// The token itself, for masking it.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.value
    }

    /// The same request, authorised by this token, with so much time for it.
    #[must_use]
    pub fn authorise(&self, request: &Request, timeout: Duration) -> Request {
        let mut headers = request.headers.clone();
        headers.retain(|(name, _)| name != HEADER);
        headers.insert(0, (HEADER.to_owned(), format!("Bearer {}", self.value.expose_secret())));
        Request { headers, timeout, ..request.clone() }
    }

    /// The same answer without the token, which some providers quote in their errors.
    #[must_use]
    pub fn left_out_of(&self, mut reply: Reply) -> Reply {
        let token = self.value.expose_secret();
        // The one character of tokens that JSON may escape.
        let escaped = token.replace('/', "\\/");
        for spelling in [token, escaped.as_str()] {
            for (_, value) in reply.headers.iter_mut().filter(|(_, value)| value.contains(spelling)) {
                *value = value.replace(spelling, MASK);
            }
            if let Some(body) = without(&reply.body, spelling.as_bytes()) {
                reply.body = body.into();
            }
        }
        reply
    }
}

/// Bytes with every occurrence of others replaced; `None` where there is none.
fn without(bytes: &[u8], token: &[u8]) -> Option<Vec<u8>> {
    let find = |from: usize| bytes[from..].windows(token.len()).position(|part| part == token).map(|at| from + at);
    let mut next = find(0)?;
    let (mut left, mut from) = (Vec::with_capacity(bytes.len()), 0);
    loop {
        left.extend_from_slice(&bytes[from..next]);
        left.extend_from_slice(MASK.as_bytes());
        from = next + token.len();
        match find(from) {
            Some(at) => next = at,
            None => break,
        }
    }
    left.extend_from_slice(&bytes[from..]);
    Some(left)
}

impl NoToken {
    /// None, without a word of when to ask again.
    #[must_use]
    pub fn new(code: &str, message: impl fmt::Display) -> Self {
        Self { failure: Failure::new(code, message.to_string()), retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::exchange::Method;

    fn token(text: &str) -> AccessToken {
        AccessToken::new(text, None).unwrap()
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        for good in ["A21AA_fake", "a.b-c~d+e/f=="] {
            assert!(AccessToken::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\r\nX: y", "ä", "\u{7f}"] {
            assert_eq!(AccessToken::new(bad, None).unwrap_err(), NotAToken, "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_authorised_by_one_token_and_no_debug_shows_it() {
        let request = Request {
            method: Method::Get,
            url: "https://api.example.com/".parse().unwrap(),
            headers: vec![("accept".to_owned(), "a".to_owned())],
            asked: Vec::new(),
            body: Vec::new().into(),
            timeout: Duration::from_secs(9),
        };
        let first = token("tok-1").authorise(&request, Duration::from_secs(8));
        let second = token("tok-2").authorise(&first, Duration::from_secs(7));
        let values: Vec<_> = second.headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!((values, second.timeout.as_secs()), (vec!["Bearer tok-2", "a"], 7));
        assert_eq!(second.digest(), request.digest());
        assert!(!format!("{:?}{second:?}", token("tok-2")).contains("tok-2"));
    }

    #[test]
    fn a_quoted_token_is_left_out_of_an_answer() {
        let headers = vec![("www-authenticate".to_owned(), "Bearer error=\"a/b= is old\"".to_owned())];
        let body = r#"{"first":"a/b=","second":"a\/b=","third":"a/c"}"#.into();
        let reply = token("a/b=").left_out_of(Reply { status: 401, headers, body });
        assert_eq!(reply.headers[0].1, "Bearer error=\"*** is old\"");
        assert_eq!(reply.body.as_ref(), br#"{"first":"***","second":"***","third":"a/c"}"#);
    }
}
