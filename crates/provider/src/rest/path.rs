//! The address of a request: the fixed address of a provider, and paths that cannot leave it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::expression::{EvalError, Expression, ExpressionScope, KnownVariables};
use super::expression_error::ExpressionError;
use super::file::ProviderProtocol;
use super::text::{self, TextPart, TextTemplate};
use crate::account::AccountValues;
use ferryd_domain::loopback::is_loopback_host;

/// The characters that are percent-encoded in values: all but the unreserved ones (RFC 3986,
/// section 2.3).
const OF_VALUES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The characters that are percent-encoded in the path of the file: all that may not stand in a
/// segment (RFC 3986, section 3.3).
const OF_FILE: &AsciiSet = &OF_VALUES
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The schemes of a kind of broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BrokerScheme {
    /// The name of the protocol.
    name: &'static str,
    /// The scheme with TLS.
    secure: &'static str,
    /// The scheme without TLS.
    plain: &'static str,
    /// An address.
    example: &'static str,
}

/// AMQP 0-9-1.
const AMQP: BrokerScheme = BrokerScheme {
    name: "AMQP",
    secure: "amqps",
    plain: "amqp",
    example: "amqps://broker.example.com/orders",
};

/// NATS.
const NATS: BrokerScheme = BrokerScheme {
    name: "NATS",
    secure: "tls",
    plain: "nats",
    example: "tls://nats.example.com:4222",
};

/// The reason why an address is not a `base_url`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BaseUrlError {
    /// An expression in it is wrong.
    #[error("{0}; only `account.…` can stand here, because no command may choose the host")]
    Expression(#[from] ExpressionError),
    /// An expression in it has no value for the account.
    #[error("for the account `{account}`: {error}")]
    NoValue {
        /// The account.
        account: String,
        /// The error of the evaluation.
        error: EvalError,
    },
    /// The address has braces where no expressions are evaluated.
    #[error(
        "no expression can stand here; write the address itself, such as `https://api.example.com`"
    )]
    Braces,
    /// The text is not a URL with a host.
    #[error("is not an address; write one such as `https://api.example.com`")]
    NotAnAddress,
    /// Plain HTTP to another machine.
    #[error("`http` would send secrets and personal data in the clear; write `https://…`")]
    Insecure,
    /// Plain HTTP to this machine.
    #[error(
        "plain HTTP to this machine has to be allowed; write `https://…` or `allow_insecure_loopback = true`"
    )]
    Loopback,
    /// A broker without TLS on another machine.
    #[error("`{}` would send secrets and personal data in the clear; write `{}://…`", .0.plain, .0.secure)]
    InsecureBroker(&'static BrokerScheme),
    /// A broker without TLS on this machine.
    #[error(
        "plain {} to this machine has to be allowed; write `{}://…` or `allow_insecure_loopback = true`", .0.name, .0.secure
    )]
    LoopbackBroker(&'static BrokerScheme),
    /// The text is not the address of a broker.
    #[error("is not a broker's address; write one such as `{}`", .0.example)]
    NotABroker(&'static BrokerScheme),
    /// The address of a NATS server has a path.
    #[error("has a path, which means nothing for NATS; leave it out")]
    PathOfNats,
    /// The path of a broker's address has more than one segment.
    #[error(
        "names no virtual host; write its name behind the host, with `%2f` for a slash, or nothing for the host's `/`"
    )]
    VirtualHost,
    /// The scheme is neither `https` nor `http`.
    #[error("`{0}` is not spoken; write `https://…`")]
    Scheme(String),
    /// The address has user information, a query or a fragment.
    #[error("has a {part}; {remedy}")]
    Part {
        /// The part that the address has.
        part: &'static str,
        /// The advice where to write that part.
        remedy: &'static str,
    },
}

/// The fixed address of a provider.
#[derive(Debug, Clone)]
pub(super) struct BaseUrl(Url);

impl BaseUrl {
    /// The address.
    pub(super) fn as_url(&self) -> &Url {
        &self.0
    }

    /// Reads an account's address.
    pub(super) fn read_account_url(
        text: &str,
        account: &AccountValues<'_>,
        protocol: ProviderProtocol,
        allow_insecure_loopback: bool,
    ) -> Result<Self, BaseUrlError> {
        let template = TextTemplate::compile(text, &KnownVariables::in_base_url(account.names))?;
        let scope = ExpressionScope::new([("account", account.variable().into())]);
        let no_value = |error| BaseUrlError::NoValue { account: account.name.to_string(), error };
        let text = template.string(&scope).map_err(no_value)?.unwrap_or_default();
        match protocol {
            ProviderProtocol::Rest => Self::parse(&text, allow_insecure_loopback),
            ProviderProtocol::Amqp => Self::parse_amqp(&text, allow_insecure_loopback),
            ProviderProtocol::Nats => Self::parse_nats(&text, allow_insecure_loopback),
        }
    }

    /// Parses the address of an AMQP broker (RabbitMQ URI specification, without credentials and
    /// query).
    fn parse_amqp(text: &str, allow_insecure_loopback: bool) -> Result<Self, BaseUrlError> {
        let Self(url) = Self::parse_broker(text, &AMQP, allow_insecure_loopback)?;
        if url.path() == "/" || url.path().trim_start_matches('/').contains('/') {
            return Err(BaseUrlError::VirtualHost);
        }
        Ok(Self(url))
    }

    /// Parses the address of a NATS server.
    fn parse_nats(text: &str, allow_insecure_loopback: bool) -> Result<Self, BaseUrlError> {
        let Self(url) = Self::parse_broker(text, &NATS, allow_insecure_loopback)?;
        if !matches!(url.path(), "" | "/") {
            return Err(BaseUrlError::PathOfNats);
        }
        Ok(Self(url))
    }

    /// Parses the address of a broker.
    fn parse_broker(
        text: &str,
        scheme: &'static BrokerScheme,
        allow_insecure_loopback: bool,
    ) -> Result<Self, BaseUrlError> {
        let url = Url::parse(text).map_err(|_| BaseUrlError::NotABroker(scheme))?;
        let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('{'));
        let Some(host) = host else { return Err(BaseUrlError::NotABroker(scheme)) };
        match url.scheme() {
            plain if plain == scheme.plain && !is_loopback_host(host) => {
                return Err(BaseUrlError::InsecureBroker(scheme));
            }
            plain if plain == scheme.plain && !allow_insecure_loopback => {
                return Err(BaseUrlError::LoopbackBroker(scheme));
            }
            known if known == scheme.plain || known == scheme.secure => {}
            _ => return Err(BaseUrlError::NotABroker(scheme)),
        }
        let refuse = |part, remedy| Err(BaseUrlError::Part { part, remedy });
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("user or password", "write them under `auth`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("query", "leave it out: other keys of this file set what it would");
        }
        Ok(Self(url))
    }

    /// Parses an address.
    pub(super) fn parse(text: &str, allow_insecure_loopback: bool) -> Result<Self, BaseUrlError> {
        if text.contains("{{") {
            return Err(BaseUrlError::Braces);
        }
        let url = Url::parse(text).map_err(|_| BaseUrlError::NotAnAddress)?;
        match url.scheme() {
            "http" if !url.host_str().is_some_and(is_loopback_host) => {
                return Err(BaseUrlError::Insecure);
            }
            "http" if !allow_insecure_loopback => return Err(BaseUrlError::Loopback),
            "https" | "http" => {}
            other => return Err(BaseUrlError::Scheme(other.to_owned())),
        }
        if url.host().is_none() {
            return Err(BaseUrlError::NotAnAddress);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Part {
                part: "user or password",
                remedy: "write them under `auth`",
            });
        }
        if url.query().is_some() {
            return Err(BaseUrlError::Part {
                part: "query",
                remedy: "write it as `request.query` of an operation",
            });
        }
        if url.fragment().is_some() {
            return Err(BaseUrlError::Part {
                part: "fragment",
                remedy: "leave out `#` and what follows",
            });
        }
        Ok(Self(url))
    }

    /// Appends an encoded path to the address; `None` if the path would lead elsewhere.
    pub(super) fn join(&self, path: &str) -> Option<Url> {
        let whole = format!("{}{path}", self.0.path().trim_end_matches('/'));
        let mut url = self.0.clone();
        url.set_path(&whole);
        (url.path() == whole).then_some(url)
    }
}

/// The fault of a path as the file states it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// The path does not begin with a slash.
    #[error("does not begin with `/`; write one such as `/v1/charges`")]
    Relative,
    /// The path has a character with a meaning in URLs.
    #[error("`{0}` cannot stand in a path; {1}")]
    Character(char, &'static str),
    /// The path has an empty or a dot segment.
    #[error("the segment `{0}` leads elsewhere; leave it out")]
    Segment(String),
    /// An expression is wrong.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

/// The reason why a command has no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathValueError {
    /// A value is missing.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// A segment is empty or a dot segment.
    #[error("a segment is empty, `.` or `..`, which would lead elsewhere")]
    Segment,
}

/// The path of an operation. Each of its segments stays one segment, whatever the values are.
#[derive(Debug)]
pub(super) struct PathTemplate {
    segments: Vec<Vec<TextPart>>,
    /// The encoded path, where no expression is in it.
    constant: Option<String>,
}

impl PathTemplate {
    /// Compiles a path.
    pub(super) fn compile(source: &str, known: &KnownVariables<'_>) -> Result<Self, PathError> {
        if !source.starts_with('/') {
            return Err(PathError::Relative);
        }
        let mut segments: Vec<Vec<TextPart>> = Vec::new();
        for part in text::parts(source, known)? {
            match part {
                TextPart::Literal(ref literal) => push_literal(literal, &mut segments)?,
                TextPart::Expression(_) => {
                    if let Some(segment) = segments.last_mut() {
                        segment.push(part);
                    }
                }
            }
        }
        let last = segments.len().saturating_sub(1);
        for (n, segment) in segments.iter().enumerate() {
            check_segment(segment, n == last)?;
        }
        let constant = segments.iter().map(|segment| constant_segment(segment)).collect();
        Ok(Self { segments, constant })
    }

    /// The expressions in the path, none of which may be missing.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.segments.iter().flatten().filter_map(TextPart::expression)
    }

    /// The encoded path of a command.
    pub(super) fn render(&self, scope: &ExpressionScope<'_>) -> Result<String, PathValueError> {
        if let Some(path) = &self.constant {
            return Ok(path.clone());
        }
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            path.push_str(&render_segment(segment, scope)?);
        }
        Ok(path)
    }
}

fn push_literal(literal: &str, segments: &mut Vec<Vec<TextPart>>) -> Result<(), PathError> {
    for c in literal.chars() {
        let remedy = match c {
            '?' => "write the query as `request.query`",
            '#' | '\\' => "leave it out",
            '%' => "write the character itself; it is encoded when the request is built",
            _ if c.is_control() => "leave it out",
            _ => continue,
        };
        return Err(PathError::Character(c, remedy));
    }
    for (n, piece) in literal.split('/').enumerate() {
        if n > 0 {
            segments.push(Vec::new());
        }
        if let Some(segment) = segments.last_mut().filter(|_| !piece.is_empty()) {
            segment.push(TextPart::Literal(piece.to_owned()));
        }
    }
    Ok(())
}

/// Refuses empty and dot segments; only the last may be empty, for a path that ends with a slash.
fn check_segment(segment: &[TextPart], is_last: bool) -> Result<(), PathError> {
    match segment {
        [] if !is_last => Err(PathError::Segment(String::new())),
        [TextPart::Literal(text)] if is_dots(text) => Err(PathError::Segment(text.clone())),
        _ => Ok(()),
    }
}

/// The slash and the encoded segment, where no expression is in it.
fn constant_segment(segment: &[TextPart]) -> Option<String> {
    let encoded = segment.iter().map(|part| match part {
        TextPart::Literal(text) => Some(utf8_percent_encode(text, OF_FILE).to_string()),
        TextPart::Expression(_) => None,
    });
    encoded.collect::<Option<String>>().map(|encoded| format!("/{encoded}"))
}

fn render_segment(
    segment: &[TextPart],
    scope: &ExpressionScope<'_>,
) -> Result<String, PathValueError> {
    let mut plain = String::new();
    let mut encoded = String::new();
    for part in segment {
        let (text, set) = match part {
            TextPart::Literal(text) => (Cow::Borrowed(text), OF_FILE),
            TextPart::Expression(expression) => {
                (Cow::Owned(text::inserted(expression, scope)?), OF_VALUES)
            }
        };
        encoded.extend(utf8_percent_encode(&text, set));
        plain.push_str(&text);
    }
    let filled_in = segment.iter().any(|part| matches!(part, TextPart::Expression(_)));
    if filled_in && (plain.is_empty() || is_dots(&plain)) {
        Err(PathValueError::Segment)
    } else {
        Ok(encoded)
    }
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
