//! The error answers of ferryd: problem details (RFC 9457).

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use ferryd_domain::ledger::refusal_note::RefusalNote;

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// A parameter, a header or the path can't be read.
    InvalidRequest,
    /// The token is missing or unknown.
    Unauthorized,
    /// The token does not allow the request.
    Forbidden,
    /// The signature of the webhook does not verify.
    Unverified,
    /// The path does not exist.
    NotFound,
    /// The command is not known.
    UnknownCommand,
    /// The path has other methods.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The id is taken, by a command with another content.
    OtherContent,
    /// The command can't be cancelled any more.
    TooLate,
    /// The contents of the command can't be erased yet.
    NotErasable,
    /// The provider can't be queried about the command.
    NothingToAsk,
    /// The body is larger than a command may be.
    TooLarge,
    /// The media type of the body is not accepted.
    UnsupportedMediaType,
    /// The client sends more requests than are accepted.
    TooManyRequests,
    /// The body is no command that could be carried out.
    InvalidCommand,
    /// ferryd failed.
    Internal,
    /// The broker can't be reached.
    BrokerAway,
    /// The ledger is still being read.
    CatchingUp,
    /// A written record was not confirmed in time.
    NotConfirmed,
    /// Too many requests are running at once.
    Busy,
    /// A newer version of ferryd has recorded something about the command that this version does
    /// not understand.
    NewerVersion,
    /// ferryd is stopping.
    Stopping,
}

/// The problems of routes that need the broker, or all of the ledger.
pub(super) const NOT_READY: [ProblemKind; 4] = [
    ProblemKind::CatchingUp,
    ProblemKind::BrokerAway,
    ProblemKind::NotConfirmed,
    ProblemKind::Stopping,
];

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::InvalidRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Unverified,
        Self::NotFound,
        Self::UnknownCommand,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::OtherContent,
        Self::TooLate,
        Self::NotErasable,
        Self::NothingToAsk,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::InvalidCommand,
        Self::Internal,
        Self::BrokerAway,
        Self::CatchingUp,
        Self::NotConfirmed,
        Self::Busy,
        Self::NewerVersion,
        Self::Stopping,
    ];

    /// Returns the last part of the kind's URI, its status, and its title.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => {
                ("invalid-request", S::BAD_REQUEST, "the request can't be read")
            }
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "a token is needed"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "the token does not allow this"),
            Self::Unverified => ("unverified", S::UNAUTHORIZED, "signature verification failed"),
            Self::NotFound => ("not-found", S::NOT_FOUND, "there is nothing under this path"),
            Self::UnknownCommand => ("unknown-command", S::NOT_FOUND, "the command is not known"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "the path knows other methods")
            }
            Self::RequestTimeout => {
                ("request-timeout", S::REQUEST_TIMEOUT, "the body did not come in time")
            }
            Self::OtherContent => {
                ("other-content", S::CONFLICT, "the id is taken by another command")
            }
            Self::TooLate => ("too-late", S::CONFLICT, "the command can't be cancelled any more"),
            Self::NotErasable => ("not-erasable", S::CONFLICT, "the command can't be erased yet"),
            Self::NothingToAsk => {
                ("nothing-to-ask", S::CONFLICT, "there is nothing to ask the provider")
            }
            Self::TooLarge => ("too-large", S::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "the body is of a type that is not taken",
            ),
            Self::TooManyRequests => {
                ("too-many-requests", S::TOO_MANY_REQUESTS, "there are too many requests")
            }
            Self::InvalidCommand => {
                ("invalid-command", S::UNPROCESSABLE_ENTITY, "the command can't be carried out")
            }
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "ferryd failed"),
            Self::BrokerAway => {
                ("broker-away", S::SERVICE_UNAVAILABLE, "the broker can't be reached")
            }
            Self::CatchingUp => {
                ("catching-up", S::SERVICE_UNAVAILABLE, "the ledger is still being read")
            }
            Self::NotConfirmed => {
                ("not-confirmed", S::SERVICE_UNAVAILABLE, "the broker did not answer in time")
            }
            Self::Busy => ("busy", S::SERVICE_UNAVAILABLE, "too much is asked at once"),
            Self::NewerVersion => (
                "newer-version",
                S::SERVICE_UNAVAILABLE,
                "this version can't decide about the command",
            ),
            Self::Stopping => ("stopping", S::SERVICE_UNAVAILABLE, "ferryd is stopping"),
        }
    }

    /// Returns the last part of the kind's URI.
    #[must_use]
    pub fn slug(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status of the kind.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Returns the title of the kind.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// Returns the seconds after which a retry may succeed; `None` where a retry does not help.
    fn retry_after(self) -> Option<u16> {
        match self {
            Self::BrokerAway | Self::NotConfirmed | Self::Busy => Some(2),
            Self::CatchingUp | Self::Stopping | Self::TooManyRequests => Some(5),
            Self::NewerVersion => Some(60),
            _ => None,
        }
    }
}

/// A problem, as it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiProblem {
    /// The kind of the problem.
    pub kind: ProblemKind,
    detail: String,
    more: Map<String, Value>,
    headers: HeaderMap,
}

/// A problem (RFC 9457). Some kinds have more fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody {
    /// `urn:ferryd:problem:` and the kind of problem.
    pub r#type: String,
    /// The title of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The fault of this request, and what to do about it.
    pub detail: String,
    /// Of `invalid-command`: the code that the event of kind `invalid` would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of `invalid-command`: every fault of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<String>>,
    /// Of `too-late`: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of `unknown-command`: the messages that were refused under the id, some of them where there
    /// are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<RefusalNote>>,
    /// Of `catching-up`: the records of the ledger that were read so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    #[serde(flatten)]
    #[schemars(skip)]
    more: Map<String, Value>,
}

/// The beginning of the URI of every problem.
const URI_PREFIX: &str = "urn:ferryd:problem:";

impl ProblemBody {
    /// Returns the kind of the problem; `None` for a kind that this version does not know.
    #[must_use]
    pub fn kind(&self) -> Option<ProblemKind> {
        let slug = self.r#type.strip_prefix(URI_PREFIX)?;
        ProblemKind::ALL.into_iter().find(|kind| kind.slug() == slug)
    }

    /// Describes the problem in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let faults = self.faults.iter().flatten();
        faults.fold(self.detail.clone(), |sentence, fault| format!("{sentence}; {fault}"))
    }
}

impl ApiProblem {
    /// Makes a problem of this kind. `detail` states the fault of the request, and what to do about
    /// it.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if kind == ProblemKind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ferryd\""));
        }
        if kind == ProblemKind::Forbidden {
            let challenge =
                "Bearer realm=\"ferryd\", error=\"insufficient_scope\", scope=\"operate\"";
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Self { kind, detail: detail.into(), more: Map::new(), headers }
    }

    /// Makes the problem of a token whose role does not include `needed`.
    pub(super) fn insufficient_role(needed: &str, detail: String) -> Self {
        let challenge =
            format!("Bearer realm=\"ferryd\", error=\"insufficient_scope\", scope=\"{needed}\"");
        let problem = Self::new(ProblemKind::Forbidden, detail);
        match HeaderValue::from_str(&challenge) {
            Ok(challenge) => problem.with_header(WWW_AUTHENTICATE, challenge),
            Err(_) => problem,
        }
    }

    /// Replaces the detail of the problem.
    pub(super) fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Adds a field.
    #[must_use]
    pub fn with_field(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let Self { kind, detail, more, headers } = self;
        let (slug, status, title) = kind.row();
        let body = ProblemBody {
            r#type: format!("{URI_PREFIX}{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            code: None,
            faults: None,
            reason: None,
            refused: None,
            records: None,
            more,
        };
        let media_type = [(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        (status, headers, media_type, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_problem_says_its_kind_in_a_uri_in_words_and_as_a_status() {
        for kind in ProblemKind::ALL {
            let response =
                ApiProblem::new(kind, "so it is").with_field("code", "x").into_response();
            assert_eq!(response.status(), kind.status());
            assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
            let passes = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]
                .contains(&kind.status());
            assert_eq!(response.headers().contains_key(RETRY_AFTER), passes, "{kind:?}");
            let body: Value =
                serde_json::from_slice(&to_bytes(response.into_body(), 4096).await.unwrap())
                    .unwrap();
            let expected = json!({
                "type": format!("urn:ferryd:problem:{}", kind.slug()), "title": kind.title(),
                "status": kind.status().as_u16(), "detail": "so it is", "code": "x",
            });
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn every_kind_has_a_uri_of_its_own() {
        let slugs: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
    }
}
