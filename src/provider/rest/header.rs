//! Headers of requests: names checked when the file is read, values when they are filled in.

use std::collections::BTreeMap;

use http::HeaderName;
use secrecy::SecretString;

use super::credential::{basic, refuse_written};
use super::expression::{EvalError, Known, Scope};
use super::file::AuthFile;
use super::text::Text;
use super::token::{Grant, GrantContext, GrantSource};
use crate::settings::faults::Place;

/// Headers that belong to the connection or are computed from the request.
const NOT_YOURS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is wrong with a header's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderNameError {
    /// It has characters that no header's name has.
    #[error("`{0}` is not a header name; use letters, digits and `-`")]
    Invalid(String),
    /// ferryd sets it itself.
    #[error("`{0}` is set by ferryd itself; leave it out")]
    NotYours(String),
}

/// Why a command has no value for a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHeader {
    /// An expression has no value.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// The value has line breaks or other characters that are not visible ASCII.
    #[error("the value has characters other than visible ASCII and spaces, which a header cannot carry")]
    Invisible,
    /// A user name with a colon, at which it would be cut.
    #[error("the user name has a colon, which RFC 7617 does not allow")]
    Colon,
    /// The value is empty where it authorises.
    #[error("the value is empty, so the request would not be authorised")]
    Empty,
}

/// A header's name in lower case.
pub(super) fn name(text: &str) -> Result<String, HeaderNameError> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| HeaderNameError::Invalid(text.to_owned()))?;
    if NOT_YOURS.contains(&name.as_str()) {
        return Err(HeaderNameError::NotYours(text.to_owned()));
    }
    Ok(name.as_str().to_owned())
}

/// A header's value, if it can be sent.
pub(super) fn value(text: String) -> Result<String, NoHeader> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) { Ok(text) } else { Err(NoHeader::Invisible) }
}

/// Compiles a table of headers.
pub(super) fn compile(
    table: &BTreeMap<String, String>,
    known: &Known<'_>,
    place: &Place<'_>,
) -> BTreeMap<String, Text> {
    let mut headers = BTreeMap::new();
    for (key, source) in table {
        let place = place.key(key);
        let (name, text) = (place.check(name(key)), place.check(Text::compile(source, known)));
        if let (Some(name), Some(text)) = (name, text)
            && headers.insert(name, text).is_some()
        {
            place.refuse("stands here twice in different spelling; keep one");
        }
    }
    headers
}

/// How requests are authorised, compiled.
#[derive(Debug)]
pub(super) enum Auth {
    /// RFC 6750.
    Bearer(Text),
    /// RFC 7617.
    Basic(Text, Text),
    /// A header of the provider's own.
    Header(String, Text),
    /// A bearer token, which whoever sends the request puts into it.
    Token(Grant),
}

impl Auth {
    /// Compiles the table `auth`.
    pub(super) fn compile(
        file: &AuthFile,
        known: &Known<'_>,
        context: &GrantContext<'_>,
        place: &Place<'_>,
    ) -> Option<Self> {
        let text = |key: &str, source: &str| place.key(key).check(Text::compile(source, known));
        let credential = |key: &str, source: &str| unwritten(text(key, source)?, &place.key(key));
        match file {
            AuthFile::Bearer { token } => credential("token", token).map(Self::Bearer),
            AuthFile::Basic { username, password } => {
                let (username, password) = (text("username", username), credential("password", password));
                Some(Self::Basic(username?, password?))
            }
            AuthFile::Header { name: header, value } => {
                let (header, value) = (place.key("name").check(name(header)), credential("value", value));
                Some(Self::Header(header?, value?))
            }
            AuthFile::Oauth2 { grant, token_url, client_id, client_secret, scope, client_auth, parameters } => {
                let (grant, scope, client_auth) = (*grant, scope.as_ref(), *client_auth);
                let source = GrantSource { grant, token_url, client_id, client_secret, scope, client_auth, parameters };
                Grant::compile(&source, context, place).map(Self::Token)
            }
        }
    }

    /// Where the tokens come from that have to be put into requests.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Token(grant) => Some(grant),
            Self::Bearer(_) | Self::Basic(..) | Self::Header(..) => None,
        }
    }

    /// The encoded credentials of the scheme `Basic`, which whoever sees them has the secret by; `None` where there are none, or
    /// they depend on the command.
    pub(super) fn basic_credentials(&self, scope: &Scope) -> Option<SecretString> {
        let value = match self {
            Self::Basic(..) => self.value(scope).ok()??,
            Self::Token(grant) => grant.authorization()?.to_owned(),
            Self::Bearer(_) | Self::Header(..) => return None,
        };
        value.strip_prefix("Basic ").map(SecretString::from)
    }

    /// The header that is set.
    pub(super) fn header(&self) -> &str {
        match self {
            Self::Bearer(_) | Self::Basic(..) | Self::Token(_) => "authorization",
            Self::Header(name, _) => name,
        }
    }

    /// Its value; `None` where it is not known yet.
    pub(super) fn value(&self, scope: &Scope) -> Result<Option<String>, NoHeader> {
        let text = match self {
            Self::Bearer(token) => format!("Bearer {}", filled(token, scope)?),
            Self::Basic(username, password) => {
                let username = filled(username, scope)?;
                if username.contains(':') {
                    return Err(NoHeader::Colon);
                }
                let password = match password {
                    Text::Constant(text) => text.clone(),
                    text => filled(text, scope)?,
                };
                basic(&username, &password)
            }
            Self::Header(_, text) => filled(text, scope)?,
            Self::Token(_) => return Ok(None),
        };
        value(text).map(Some)
    }
}

/// A credential that does not stand in the file itself, where nothing would keep it out of the log.
fn unwritten(text: Text, place: &Place<'_>) -> Option<Text> {
    match &text {
        Text::Constant(written) if !written.is_empty() => {
            refuse_written(place);
            None
        }
        _ => Some(text),
    }
}

fn filled(text: &Text, scope: &Scope) -> Result<String, NoHeader> {
    text.string(scope)?.filter(|value| !value.is_empty()).ok_or(NoHeader::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_those_of_the_connection_refused() {
        assert_eq!(name("Stripe-Version").unwrap(), "stripe-version");
        for bad in ["", "a b", "a:b", "é", "Host", "content-length", "Transfer-Encoding", "Connection"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_that_could_begin_another_header_are_refused() {
        for good in ["", "a b", "Bearer x~!", "{}"] {
            assert!(value(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["a\r\nX: y", "a\n", "\0", "\u{7f}", "ü", "a\tb"] {
            assert_eq!(value(bad.to_owned()), Err(NoHeader::Invisible), "{bad:?}");
        }
    }
}
