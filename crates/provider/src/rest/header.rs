//! Headers of requests: names are checked when the file is read, values when they are rendered.

use std::collections::BTreeMap;

use http::HeaderName;
use secrecy::SecretString;

use super::credential::{basic, refuse_written};
use super::expression::{EvalError, ExpressionScope, KnownVariables};
use super::file::AuthFile;
use super::text::TextTemplate;
use super::token::{GrantContext, GrantSource, TokenRequest};
use crate::account::NatsLogin;
use ferryd_settings::findings::SettingsCursor;

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

/// The fault of a header's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderNameError {
    /// The name has characters that header names can't have.
    #[error("`{0}` is not a header name; use letters, digits and `-`")]
    Invalid(String),
    /// The header is set by ferryd itself.
    #[error("`{0}` is set by ferryd itself; leave it out")]
    NotYours(String),
}

/// The reason why a command has no value for a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderValueError {
    /// An expression has no value.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// The value has line breaks or other characters that are not visible ASCII.
    #[error(
        "the value has characters other than visible ASCII and spaces, which a header cannot carry"
    )]
    Invisible,
    /// The user name has a colon, at which the receiver would cut it.
    #[error("the user name has a colon, which RFC 7617 does not allow")]
    Colon,
    /// The value of a credential is empty.
    #[error("the value is empty, so the request would not be authorised")]
    Empty,
}

/// A header's name in lower case.
pub(super) fn name(text: &str) -> Result<String, HeaderNameError> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| HeaderNameError::Invalid(text.to_owned()))?;
    if NOT_YOURS.contains(&name.as_str()) {
        return Err(HeaderNameError::NotYours(text.to_owned()));
    }
    Ok(name.as_str().to_owned())
}

/// Returns a header's value if it can be sent.
pub(super) fn value(text: String) -> Result<String, HeaderValueError> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(text)
    } else {
        Err(HeaderValueError::Invisible)
    }
}

/// Compiles a table of headers.
pub(super) fn compile(
    table: &BTreeMap<String, String>,
    known: &KnownVariables<'_>,
    place: &SettingsCursor<'_>,
) -> BTreeMap<String, TextTemplate> {
    let mut headers = BTreeMap::new();
    for (key, source) in table {
        let place = place.key(key);
        let (name, text) =
            (place.check(name(key)), place.check(TextTemplate::compile(source, known)));
        if let (Some(name), Some(text)) = (name, text)
            && headers.insert(name, text).is_some()
        {
            place.refuse("stands here twice in different spelling; keep one");
        }
    }
    headers
}

/// The authorisation of requests, compiled.
#[derive(Debug)]
pub(super) enum RequestAuth {
    /// The scheme `Bearer` (RFC 6750).
    Bearer(TextTemplate),
    /// The scheme `Basic` (RFC 7617).
    Basic(TextTemplate, TextTemplate),
    /// A header of the provider's own.
    Header(String, TextTemplate),
    /// A bearer token, which the sender puts into the request.
    Token(TokenRequest),
}

impl RequestAuth {
    /// Compiles the table `auth`.
    pub(super) fn compile(
        file: &AuthFile,
        known: &KnownVariables<'_>,
        context: &GrantContext<'_>,
        place: &SettingsCursor<'_>,
    ) -> Option<Self> {
        let text =
            |key: &str, source: &str| place.key(key).check(TextTemplate::compile(source, known));
        let credential =
            |key: &str, source: &str| without_credential(text(key, source)?, &place.key(key));
        match file {
            AuthFile::Bearer { token } => credential("token", token).map(Self::Bearer),
            AuthFile::Basic { username, password } => {
                let (username, password) =
                    (text("username", username), credential("password", password));
                Some(Self::Basic(username?, password?))
            }
            AuthFile::Header { name: header, value } => {
                let (header, value) =
                    (place.key("name").check(name(header)), credential("value", value));
                Some(Self::Header(header?, value?))
            }
            AuthFile::Oauth2 {
                grant,
                token_url,
                client_id,
                client_secret,
                scope,
                client_auth,
                parameters,
            } => {
                let (grant, scope, client_auth) = (*grant, scope.as_ref(), *client_auth);
                let source = GrantSource {
                    grant,
                    token_url,
                    client_id,
                    client_secret,
                    scope,
                    client_auth,
                    parameters,
                };
                TokenRequest::compile(&source, context, place).map(Self::Token)
            }
        }
    }

    /// The grant for access tokens that must be put into requests; `None` for other schemes.
    pub(super) fn grant(&self) -> Option<&TokenRequest> {
        match self {
            Self::Token(grant) => Some(grant),
            Self::Bearer(_) | Self::Basic(..) | Self::Header(..) => None,
        }
    }

    /// The encoded credentials of the scheme `Basic`, which contain the secret; `None` where there
    /// are none, or where they depend on the command.
    pub(super) fn basic_credentials(&self, scope: &ExpressionScope<'_>) -> Option<SecretString> {
        let value = match self {
            Self::Basic(..) => self.value(scope).ok()??,
            Self::Token(grant) => grant.authorization()?.to_owned(),
            Self::Bearer(_) | Self::Header(..) => return None,
        };
        value.strip_prefix("Basic ").map(SecretString::from)
    }

    /// The user and password of the scheme `Basic`, for a broker; `None` for other schemes.
    pub(super) fn login(
        &self,
        scope: &ExpressionScope<'_>,
    ) -> Option<Result<(String, SecretString), HeaderValueError>> {
        let Self::Basic(username, password) = self else { return None };
        let login = || Ok((filled(username, scope)?, filled(password, scope)?.into()));
        Some(login())
    }

    /// The login of the scheme `Basic` or the token of `Bearer`, for a NATS server; `None` for other
    /// schemes.
    pub(super) fn nats_login(
        &self,
        scope: &ExpressionScope<'_>,
    ) -> Option<Result<NatsLogin, HeaderValueError>> {
        if let Self::Bearer(token) = self {
            return Some(filled(token, scope).map(|token| NatsLogin::Token(token.into())));
        }
        let login = self.login(scope)?;
        Some(login.map(|(username, password)| NatsLogin::User { username, password }))
    }

    /// The name of the header that is set.
    pub(super) fn header(&self) -> &str {
        match self {
            Self::Bearer(_) | Self::Basic(..) | Self::Token(_) => "authorization",
            Self::Header(name, _) => name,
        }
    }

    /// The value of the header; `None` where the sender puts it in.
    pub(super) fn value(
        &self,
        scope: &ExpressionScope<'_>,
    ) -> Result<Option<String>, HeaderValueError> {
        let text = match self {
            Self::Bearer(token) => format!("Bearer {}", filled(token, scope)?),
            Self::Basic(username, password) => {
                let username = filled(username, scope)?;
                if username.contains(':') {
                    return Err(HeaderValueError::Colon);
                }
                let password = match password {
                    TextTemplate::Constant(text) => text.clone(),
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

/// Refuses a credential that is written literally into the file, where nothing would mask it in the
/// log.
fn without_credential(text: TextTemplate, place: &SettingsCursor<'_>) -> Option<TextTemplate> {
    match &text {
        TextTemplate::Constant(written) if !written.is_empty() => {
            refuse_written(place);
            None
        }
        _ => Some(text),
    }
}

fn filled(text: &TextTemplate, scope: &ExpressionScope<'_>) -> Result<String, HeaderValueError> {
    text.string(scope)?.filter(|value| !value.is_empty()).ok_or(HeaderValueError::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_those_of_the_connection_refused() {
        assert_eq!(name("Stripe-Version").unwrap(), "stripe-version");
        for bad in
            ["", "a b", "a:b", "é", "Host", "content-length", "Transfer-Encoding", "Connection"]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_that_could_begin_another_header_are_refused() {
        for good in ["", "a b", "Bearer x~!", "{}"] {
            assert!(value(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["a\r\nX: y", "a\n", "\0", "\u{7f}", "ü", "a\tb"] {
            assert_eq!(value(bad.to_owned()), Err(HeaderValueError::Invisible), "{bad:?}");
        }
    }
}
