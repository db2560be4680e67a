//! The reasons why a webhook is refused, with the answer to the caller and the line in the
//! log.

use std::net::IpAddr;

use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, WWW_AUTHENTICATE};
use tracing::{info, warn};

use super::sink::SinkError;
use crate::config::WebhooksConfig;
use crate::web::body::{BodyError, hang_up};
use crate::web::problem::{ApiProblem, ProblemKind};
use ferryd_domain::name::Name;
use ferryd_domain::webhook::VerificationError;
use ferryd_provider::webhook::ReceiveError;

/// The most bytes of an unproven call's body.
pub(super) const MAX_UNVERIFIED_BODY: usize = 16 << 10;

/// The reason why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum WebhookRefusal {
    /// The path names no provider, or one without a webhook.
    #[error("there is no such endpoint")]
    NoEndpoint,
    /// The method is neither `POST` nor `GET`.
    #[error("the method is neither POST nor GET")]
    OtherMethod,
    /// The call is a `GET` and no challenge.
    #[error("a GET that is no challenge")]
    OnlyPost,
    /// The media type of the body is not accepted.
    #[error("the media type is not taken")]
    MediaType,
    /// The body is compressed.
    #[error("the body is compressed")]
    Encoded,
    /// The body is too large.
    #[error("the body is larger than webhooks.max_body_size")]
    TooLarge,
    /// The body is larger than an unproven call's may be, or has too many notices.
    #[error("nothing proves the call, and it is larger than such a call may be")]
    TooLargeUnverified,
    /// The certificate of the signer can't be fetched.
    #[error("the certificate of its signature can't be fetched")]
    NoCertificate,
    /// There are too many unproven calls.
    #[error("there are too many calls that nothing proves")]
    TooMany,
    /// The call is unproven, and its notices can't be read.
    #[error("the webhook is not verified, and its notices can't be read")]
    Unreadable,
    /// The body did not come in time.
    #[error("the body did not come within webhooks.body_timeout")]
    Slow,
    /// The body ended early, or the path is invalid.
    #[error("the request ends before its end, or its address can't be read")]
    Broken,
    /// The call does not verify, or its account does not exist.
    #[error("{0}")]
    NotReceived(ReceiveError),
    /// The call verifies, but could not be stored.
    #[error("{0}")]
    NotKept(SinkError),
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
}

/// A refused call.
pub(super) struct RefusedCall {
    /// The reason of the refusal.
    pub(super) refusal: WebhookRefusal,
    /// The thing that ferryd lacks to verify the call, for the log.
    pub(super) missing: Option<String>,
}

impl From<WebhookRefusal> for RefusedCall {
    fn from(refusal: WebhookRefusal) -> Self {
        Self { refusal, missing: None }
    }
}

impl From<BodyError> for WebhookRefusal {
    fn from(unread: BodyError) -> Self {
        match unread {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Late => Self::Slow,
            BodyError::Broken => Self::Broken,
        }
    }
}

impl WebhookRefusal {
    /// Returns the answer to the caller. The answer to a call that does not verify gives no detail.
    pub(super) fn problem(self, settings: &WebhooksConfig) -> ApiProblem {
        match self {
            Self::NoEndpoint => {
                ApiProblem::new(ProblemKind::NotFound, "providers call /webhooks/<provider>")
            }
            Self::OtherMethod => allow("GET, POST", "send calls with POST"),
            Self::OnlyPost => {
                allow("POST", "GET is for challenges of the provider; send calls with POST")
            }
            Self::MediaType => {
                let detail =
                    "send JSON, XML, a form, text or plain bytes, and say which in `Content-Type`";
                ApiProblem::new(ProblemKind::UnsupportedMediaType, detail)
            }
            Self::Encoded => ApiProblem::new(
                ProblemKind::UnsupportedMediaType,
                "send the body as it is, not compressed",
            )
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            Self::TooLarge => hang_up(ApiProblem::new(
                ProblemKind::TooLarge,
                format!("a body has at most {} bytes", settings.max_body_size),
            )),
            Self::TooLargeUnverified => {
                let detail = format!(
                    "a body has at most {MAX_UNVERIFIED_BODY} bytes where calls are not signed"
                );
                hang_up(ApiProblem::new(ProblemKind::TooLarge, detail))
            }
            Self::TooMany => ApiProblem::new(
                ProblemKind::TooManyRequests,
                "there are too many calls; call again",
            ),
            Self::Unreadable => ApiProblem::new(
                ProblemKind::InvalidRequest,
                "the notices of the webhook can't be read",
            ),
            Self::Slow => {
                let seconds = settings.body_timeout.as_secs_f32();
                hang_up(ApiProblem::new(
                    ProblemKind::RequestTimeout,
                    format!("send the body within {seconds} s"),
                ))
            }
            Self::Broken => hang_up(ApiProblem::new(
                ProblemKind::InvalidRequest,
                "the request can't be read to its end",
            )),
            Self::NoCertificate => ApiProblem::new(
                ProblemKind::Busy,
                "the certificate of the signature can't be had; call again",
            ),
            // The call may be the provider's own: ferryd lacks an authority.
            Self::NotReceived(ReceiveError::Unverified(VerificationError::Untrusted)) => {
                ApiProblem::new(
                    ProblemKind::Busy,
                    "the certificate of the signature can't be checked; call again",
                )
            }
            // One answer for all of them, so that callers do not learn which accounts exist.
            Self::NotReceived(_) => ApiProblem::new(
                ProblemKind::Unverified,
                "its signature is missing, wrong or too old",
            )
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Signature realm=\"ferryd\"")),
            Self::NotKept(SinkError::BrokerAway) => ApiProblem::new(
                ProblemKind::BrokerAway,
                "ferryd has no connection to RabbitMQ and goes on trying; call again",
            ),
            Self::NotKept(SinkError::Blocked) => {
                ApiProblem::new(ProblemKind::NotConfirmed, "RabbitMQ takes nothing now; call again")
            }
            Self::NotKept(SinkError::NotInTime) => ApiProblem::new(
                ProblemKind::NotConfirmed,
                "RabbitMQ did not confirm in time; call again",
            ),
            Self::NotKept(SinkError::Busy) => {
                ApiProblem::new(ProblemKind::Busy, "too many calls are under way; call again")
            }
            Self::NotKept(SinkError::Stopping) | Self::Stopping => hang_up(ApiProblem::new(
                ProblemKind::Stopping,
                "call again: another instance takes it, or this one once it runs",
            )),
            Self::NotKept(SinkError::Failed) => {
                ApiProblem::new(ProblemKind::Internal, "ferryd failed; see its log")
            }
        }
    }

    /// Logs `count` calls that were refused for this reason, without their contents, only with the
    /// provider and the address of the last. A lack of ferryd's own is a warning, and `missing`
    /// names it where it is known.
    pub(super) fn write_line(
        self,
        provider: Option<&Name>,
        client: Option<IpAddr>,
        missing: Option<&str>,
        count: u64,
    ) {
        let (provider, client) =
            (provider.map(Name::as_str), client.map(|client| client.to_string()));
        let is_own = matches!(
            self,
            Self::NotKept(_)
                | Self::NoCertificate
                | Self::NotReceived(ReceiveError::Unverified(VerificationError::Untrusted))
        );
        if is_own {
            warn!(provider, client.address = client, reason = %self, missing, count, "refused a webhook");
        } else {
            info!(provider, client.address = client, reason = %self, count, "refused a webhook");
        }
    }
}

fn allow(methods: &'static str, detail: &str) -> ApiProblem {
    ApiProblem::new(ProblemKind::MethodNotAllowed, detail)
        .with_header(ALLOW, HeaderValue::from_static(methods))
}
