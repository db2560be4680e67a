//! The signed content: a text of the file with pieces of the call in it, byte for byte.

use url::Position;

use super::form;
use ferryd_domain::name::excerpt;
use ferryd_domain::webhook::RawWebhook;

/// The fault of a text that describes the signed content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignedError {
    /// A `{{` has no `}}`.
    #[error("`{0}` opens a piece of the call and does not close it; end it with `}}}}`")]
    Open(String),
    /// The text names a piece that calls do not have.
    #[error(
        "`{0}` is no piece of a call; write one of `body`, `timestamp`, `url`, `form`, `headers['x-id']`, `query['id']`"
    )]
    Piece(String),
    /// The text has an unknown filter.
    #[error(
        "`{0}` is not known here; write `lower` or `any_case`, and only after `headers[…]` or `query[…]`"
    )]
    Filter(String),
}

/// The description of the signed content, compiled.
#[derive(Debug)]
pub(super) struct SignedPayload(Vec<PayloadSegment>);

#[derive(Debug)]
struct PayloadSegment {
    parts: Vec<SegmentPart>,
    /// True where the segment is left out if a value in it is missing.
    optional: bool,
}

#[derive(Debug)]
enum SegmentPart {
    Literal(String),
    Piece(SignedComponent),
}

/// A piece of a call.
#[derive(Debug, PartialEq, Eq)]
enum SignedComponent {
    Body,
    Timestamp,
    Url,
    Form,
    Header(String, LetterCase),
    Query(String, LetterCase),
}

/// The reason why a piece has no value in a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MissingComponent {
    /// The piece is missing.
    #[error("{0} is not there")]
    Missing(String),
    /// The piece occurs more than once.
    #[error("{0} is there more than once")]
    Doubtful(String),
}

/// The case in which a value was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetterCase {
    AsIs,
    Lower,
    /// Unchanged or in lower case: either is accepted.
    Any,
}

impl SignedPayload {
    /// Compiles one text in which no value may be missing.
    pub(super) fn whole(source: &str) -> Result<Self, SignedError> {
        Ok(Self(vec![PayloadSegment { parts: parts(source)?, optional: false }]))
    }

    /// Compiles a text that is left out if a value in it is missing, and appends it.
    pub(super) fn push_optional(&mut self, source: &str) -> Result<(), SignedError> {
        self.0.push(PayloadSegment { parts: parts(source)?, optional: true });
        Ok(())
    }

    /// Makes an empty content.
    pub(super) fn nothing() -> Self {
        Self(Vec::new())
    }

    /// Returns true if the content has the body's bytes.
    pub(super) fn has_body(&self) -> bool {
        self.has_component(|piece| *piece == SignedComponent::Body)
    }

    /// Returns true if the content has the parameters of a form.
    pub(super) fn has_form(&self) -> bool {
        self.has_component(|piece| *piece == SignedComponent::Form)
    }

    /// Returns true if the content has the time of signing.
    pub(super) fn has_timestamp(&self) -> bool {
        self.has_component(|piece| *piece == SignedComponent::Timestamp)
    }

    /// Returns true if the content has this parameter of the query, alone or within the URL.
    pub(super) fn has_query(&self, name: &str) -> bool {
        self.has_component(|piece| match piece {
            SignedComponent::Url => true,
            SignedComponent::Query(query, _) => query == name,
            _ => false,
        })
    }

    /// The headers that are required for the verification.
    pub(super) fn needed_headers(&self) -> impl Iterator<Item = &str> {
        let needed =
            self.0.iter().filter(|segment| !segment.optional).flat_map(|segment| &segment.parts);
        needed.filter_map(|part| match part {
            SegmentPart::Piece(SignedComponent::Header(name, _)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The texts that may have been signed: several where providers write a URL or a value in two
    /// ways.
    ///
    /// # Errors
    /// A piece that the call lacks.
    pub(super) fn signed_contents(
        &self,
        call: &RawWebhook,
        timestamp: Option<&str>,
    ) -> Result<Vec<Vec<u8>>, MissingComponent> {
        let mut contents = vec![Vec::new()];
        for segment in &self.0 {
            match segment.extended(&contents, call, timestamp) {
                Ok(extended) => contents = extended,
                Err(MissingComponent::Missing(_)) if segment.optional => {}
                Err(none) => return Err(none),
            }
        }
        Ok(contents)
    }

    fn has_component(&self, is: impl Fn(&SignedComponent) -> bool) -> bool {
        let mut parts = self.0.iter().flat_map(|segment| &segment.parts);
        parts.any(|part| matches!(part, SegmentPart::Piece(piece) if is(piece)))
    }
}

impl PayloadSegment {
    fn extended(
        &self,
        contents: &[Vec<u8>],
        call: &RawWebhook,
        timestamp: Option<&str>,
    ) -> Result<Vec<Vec<u8>>, MissingComponent> {
        let mut extended = contents.to_vec();
        for part in &self.parts {
            let values = match part {
                SegmentPart::Literal(text) => vec![text.clone().into_bytes()],
                SegmentPart::Piece(piece) => piece.values(call, timestamp)?,
            };
            extended = with_each(&extended, &values);
        }
        Ok(extended)
    }
}

/// Appends every value to every text.
fn with_each(texts: &[Vec<u8>], values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    texts
        .iter()
        .flat_map(|text| values.iter().map(|value| [text.as_slice(), value].concat()))
        .collect()
}

impl SignedComponent {
    /// The spellings that the piece may have.
    fn values(
        &self,
        call: &RawWebhook,
        timestamp: Option<&str>,
    ) -> Result<Vec<Vec<u8>>, MissingComponent> {
        let missing = |what: &str| MissingComponent::Missing(what.to_owned());
        match self {
            Self::Body => Ok(vec![call.body.to_vec()]),
            Self::Form => {
                Ok(vec![if form::is_form(call) { form::sorted(&call.body) } else { Vec::new() }])
            }
            Self::Timestamp => timestamp
                .map(|text| vec![text.into()])
                .ok_or_else(|| missing("the time of signing")),
            Self::Url => Ok(urls(call)),
            Self::Header(name, case) => {
                let value = call.header(name).map(str::trim).filter(|value| !value.is_empty());
                value
                    .map(|value| case.of(value))
                    .ok_or_else(|| missing(&format!("the header `{name}`")))
            }
            // Only one of two would be signed, and the other one may be read.
            Self::Query(name, _)
                if call.url.query_pairs().filter(|(key, _)| key == name).count() > 1 =>
            {
                Err(MissingComponent::Doubtful(format!("the parameter `{name}` of the query")))
            }
            Self::Query(name, case) => {
                let value = call.query(name).filter(|value| !value.is_empty());
                value
                    .map(|value| case.of(&value))
                    .ok_or_else(|| missing(&format!("the parameter `{name}` of the query")))
            }
        }
    }

    fn parse(source: &str) -> Result<Self, SignedError> {
        let mut words = source.split('|').map(str::trim);
        let name = words.next().unwrap_or_default();
        let case = match (words.next(), words.next()) {
            (None, _) => LetterCase::AsIs,
            (Some("lower"), None) => LetterCase::Lower,
            (Some("any_case"), None) => LetterCase::Any,
            (Some(_), _) => return Err(SignedError::Filter(excerpt(source.trim()))),
        };
        let piece = match name {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "url" => Self::Url,
            "form" => Self::Form,
            _ => return indexed(name, case).ok_or_else(|| SignedError::Piece(excerpt(name))),
        };
        if case == LetterCase::AsIs {
            Ok(piece)
        } else {
            Err(SignedError::Filter(excerpt(source.trim())))
        }
    }
}

/// Parses `headers['x-id']` or `query['id']`.
fn indexed(name: &str, case: LetterCase) -> Option<SignedComponent> {
    let (base, index) = name.strip_suffix(']')?.split_once('[')?;
    let quote = index.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let index = index.strip_prefix(quote)?.strip_suffix(quote)?;
    match base.trim() {
        _ if index.is_empty() || index.contains(quote) => None,
        "headers" => Some(SignedComponent::Header(index.to_ascii_lowercase(), case)),
        "query" => Some(SignedComponent::Query(index.to_owned(), case)),
        _ => None,
    }
}

impl LetterCase {
    fn of(self, value: &str) -> Vec<Vec<u8>> {
        let (same, lower) = (value.as_bytes().to_vec(), value.to_lowercase().into_bytes());
        match self {
            Self::AsIs => vec![same],
            Self::Lower => vec![lower],
            Self::Any if same == lower => vec![same],
            Self::Any => vec![same, lower],
        }
    }
}

/// The URL without and with the default port of its scheme: providers sign either.
fn urls(call: &RawWebhook) -> Vec<Vec<u8>> {
    let url = call.url.as_str();
    let mut written = vec![url.as_bytes().to_vec()];
    let implied = match call.url.scheme() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    if let (Some(port), None) = (implied, call.url.port()) {
        let (host, rest) = (&call.url[..Position::AfterHost], &call.url[Position::AfterHost..]);
        written.push(format!("{host}:{port}{rest}").into_bytes());
    }
    written
}

fn parts(source: &str) -> Result<Vec<SegmentPart>, SignedError> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            parts.push(SegmentPart::Literal(before.to_owned()));
        }
        let (inner, after) =
            after.split_once("}}").ok_or_else(|| SignedError::Open(excerpt(rest)))?;
        parts.push(SegmentPart::Piece(SignedComponent::parse(inner)?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(SegmentPart::Literal(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
#[path = "signed_payload_tests.rs"]
mod tests;
