//! The reasons why a webhook call is refused, with the answer to the caller and the line in the
//! log.

use std::net::IpAddr;

use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, WWW_AUTHENTICATE};
use tracing::{info, warn};

use super::queue::NotKept;
use crate::config::Webhooks;
use crate::web::body::{Unread, hang_up};
use crate::web::problem::{Kind, Problem};
use ferryd_domain::callback::Unverified;
use ferryd_domain::name::Name;
use ferryd_provider::webhook::NotReceived;

/// The most bytes of an unproven call's body.
pub(super) const MAX_UNVERIFIED_BODY: usize = 16 << 10;

/// The reason why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(super) enum Refusal {
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
    #[error("the body is larger than webhooks.max_body")]
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
    #[error("nothing proves the call, and what it tells can't be read")]
    Unreadable,
    /// The body did not come in time.
    #[error("the body did not come within webhooks.body_timeout")]
    Slow,
    /// The body ended early, or the path is invalid.
    #[error("the request ends before its end, or its address can't be read")]
    Broken,
    /// The call does not verify, or its account does not exist.
    #[error("{0}")]
    NotReceived(NotReceived),
    /// The call verifies, but could not be stored.
    #[error("{0}")]
    NotKept(NotKept),
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
}

/// A refused call.
pub(super) struct RefusedCall {
    /// The reason of the refusal.
    pub(super) refusal: Refusal,
    /// The thing that ferryd lacks to verify the call, for the log.
    pub(super) missing: Option<String>,
}

impl From<Refusal> for RefusedCall {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, missing: None }
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::TooLarge,
            Unread::Late => Self::Slow,
            Unread::Broken => Self::Broken,
        }
    }
}

impl Refusal {
    /// Returns the answer to the caller. The answer to a call that does not verify gives no detail.
    pub(super) fn problem(self, settings: &Webhooks) -> Problem {
        match self {
            Self::NoEndpoint => Problem::new(Kind::NotFound, "providers call /webhooks/<provider>"),
            Self::OtherMethod => allow("GET, POST", "send calls with POST"),
            Self::OnlyPost => allow("POST", "GET is for challenges of the provider; send calls with POST"),
            Self::MediaType => {
                let detail = "send JSON, XML, a form, text or plain bytes, and say which in `Content-Type`";
                Problem::new(Kind::UnsupportedMediaType, detail)
            }
            Self::Encoded => Problem::new(Kind::UnsupportedMediaType, "send the body as it is, not compressed")
                .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            Self::TooLarge => {
                hang_up(Problem::new(Kind::TooLarge, format!("a body has at most {} bytes", settings.max_body)))
            }
            Self::TooLargeUnverified => {
                let detail = format!("a body has at most {MAX_UNVERIFIED_BODY} bytes where calls are not signed");
                hang_up(Problem::new(Kind::TooLarge, detail))
            }
            Self::TooMany => Problem::new(Kind::TooManyRequests, "there are too many calls; call again"),
            Self::Unreadable => Problem::new(Kind::InvalidRequest, "what the call tells can't be read"),
            Self::Slow => {
                let seconds = settings.body_timeout.as_secs_f32();
                hang_up(Problem::new(Kind::RequestTimeout, format!("send the body within {seconds} s")))
            }
            Self::Broken => hang_up(Problem::new(Kind::InvalidRequest, "the request can't be read to its end")),
            Self::NoCertificate => {
                Problem::new(Kind::Busy, "the certificate of the signature can't be had; call again")
            }
            // The call may be the provider's own: ferryd lacks an authority.
            Self::NotReceived(NotReceived::Unverified(Unverified::Untrusted)) => {
                Problem::new(Kind::Busy, "the certificate of the signature can't be checked; call again")
            }
            // One answer for all of them, so that callers do not learn which accounts exist.
            Self::NotReceived(_) => Problem::new(Kind::Unverified, "its signature is missing, wrong or too old")
                .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Signature realm=\"ferryd\"")),
            Self::NotKept(NotKept::BrokerAway) => {
                Problem::new(Kind::BrokerAway, "ferryd has no connection to RabbitMQ and goes on trying; call again")
            }
            Self::NotKept(NotKept::Blocked) => {
                Problem::new(Kind::NotConfirmed, "RabbitMQ takes nothing now; call again")
            }
            Self::NotKept(NotKept::NotInTime) => {
                Problem::new(Kind::NotConfirmed, "RabbitMQ did not confirm in time; call again")
            }
            Self::NotKept(NotKept::Busy) => Problem::new(Kind::Busy, "too many calls are under way; call again"),
            Self::NotKept(NotKept::Stopping) | Self::Stopping => {
                hang_up(Problem::new(Kind::Stopping, "call again: another instance takes it, or this one once it runs"))
            }
            Self::NotKept(NotKept::Failed) => Problem::new(Kind::Internal, "ferryd failed; see its log"),
        }
    }

    /// Logs `count` calls that were refused for this reason, without their contents, only with the
    /// provider and the address of the last. A lack of ferryd's own is a warning, and `missing`
    /// names it where it is known.
    pub(super) fn write_line(self, provider: Option<&Name>, client: Option<IpAddr>, missing: Option<&str>, count: u64) {
        let (provider, client) = (provider.map(Name::as_str), client.map(|client| client.to_string()));
        let is_own = matches!(
            self,
            Self::NotKept(_) | Self::NoCertificate | Self::NotReceived(NotReceived::Unverified(Unverified::Untrusted))
        );
        if is_own {
            warn!(provider, client, reason = %self, missing, count, "refused a webhook call");
        } else {
            info!(provider, client, reason = %self, count, "refused a webhook call");
        }
    }
}

fn allow(methods: &'static str, detail: &str) -> Problem {
    Problem::new(Kind::MethodNotAllowed, detail).with_header(ALLOW, HeaderValue::from_static(methods))
}
