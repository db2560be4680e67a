//! The endpoint that a call reaches, and what becomes of the call there.

use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use super::verification_trace::StepResult;
use crate::WebhookReceiver;
use ferryd_domain::webhook::{ChallengeReply, RawWebhook, VerificationError, WebhookNotice};
use ferryd_redact::UnmaskedValue;

/// The handling of a call that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookReception {
    /// The call is answered with this, and not published.
    Challenge(ChallengeReply),
    /// The call is verified, or the endpoint verifies none; it is published.
    Accepted,
}

/// Verifies a call and checks whether it is a challenge, in the order that is safe.
///
/// A `GET` may be a handshake, which is unsigned: the check for a challenge comes before the
/// verification. All other calls are verified first.
///
/// # Errors
/// [`VerificationError`]: the call must not be trusted.
pub fn receive_webhook(
    webhook: &dyn WebhookReceiver,
    call: &RawWebhook,
    now: Timestamp,
) -> Result<WebhookReception, VerificationError> {
    if call.method == "GET"
        && let Some(reply) = webhook.answer_challenge(call)
    {
        return Ok(WebhookReception::Challenge(reply));
    }
    webhook.verify(call, now)?;
    Ok(webhook
        .answer_challenge(call)
        .map_or(WebhookReception::Accepted, WebhookReception::Challenge))
}

/// The endpoint that a path of a provider leads to.
///
/// A caller must not learn which accounts exist. A call to an unknown account is received by the
/// endpoint of another account, with the same work and the same answers, but no secret of that
/// account verifies the call.
#[derive(Clone, Copy)]
pub enum CalledWebhook<'p> {
    /// The endpoint of the account that the path names.
    OfAccount(&'p Arc<dyn WebhookReceiver>),
    /// The endpoint of another account: the account that the path names does not exist.
    StandIn(&'p Arc<dyn WebhookReceiver>),
}

impl CalledWebhook<'_> {
    /// Returns false if calls are accepted without verification.
    #[must_use]
    pub fn is_verifying(&self) -> bool {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.is_verifying()
    }

    /// The address of the certificate that is needed to verify a call; `None` if none is needed, or
    /// none helps.
    #[must_use]
    pub fn certificate_url(&self, call: &RawWebhook, now: Timestamp) -> Option<Url> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.certificate_url(call, now)
    }

    /// The reason why a call was refused, for people.
    #[must_use]
    pub fn refused_for(&self, call: &RawWebhook, now: Timestamp) -> Option<String> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        let steps = webhook.explain_verification(call, now);
        steps.into_iter().find(|step| step.result == StepResult::Failed).map(|step| step.found)
    }

    /// Reads the notices of a call; all of them, or an error that describes the unreadable part,
    /// for people.
    #[must_use]
    pub fn notices(&self, call: &RawWebhook) -> UnmaskedValue<Result<Vec<WebhookNotice>, String>> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.read_notices(call)
    }

    /// Verifies a call and checks whether it is a challenge, as [`receive_webhook`] does.
    ///
    /// # Errors
    /// [`ReceiveError`]: the verification failed, or the account does not exist.
    pub fn receive(
        &self,
        call: &RawWebhook,
        now: Timestamp,
    ) -> Result<WebhookReception, ReceiveError> {
        match self {
            Self::OfAccount(webhook) => {
                receive_webhook(webhook.as_ref(), call, now).map_err(ReceiveError::Unverified)
            }
            Self::StandIn(webhook) => match receive_webhook(webhook.as_ref(), call, now) {
                // Every caller gets this answer, at every account.
                Ok(WebhookReception::Challenge(reply))
                    if !reply.needs_token && (call.method == "GET" || !webhook.is_verifying()) =>
                {
                    Ok(WebhookReception::Challenge(reply))
                }
                // Every call is accepted, at every account; the consumer of the queue drops this
                // one.
                Ok(_) if !webhook.is_verifying() => Ok(WebhookReception::Accepted),
                // A certificate that ferryd lacks is missing for every account.
                Err(VerificationError::Untrusted) => {
                    Err(ReceiveError::Unverified(VerificationError::Untrusted))
                }
                _ => Err(ReceiveError::UnknownAccount),
            },
        }
    }
}

/// The reason why a call is not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReceiveError {
    /// The verification of the call failed.
    #[error(transparent)]
    Unverified(VerificationError),
    /// The account does not exist. The caller gets the same answer as after a failed verification.
    #[error("the provider has no such account")]
    UnknownAccount,
}

impl ReceiveError {
    /// Returns true if the missing part may be ferryd's: an authority or an issuer that is unknown
    /// here.
    #[must_use]
    pub fn is_untrusted(self) -> bool {
        matches!(self, Self::Unverified(VerificationError::Untrusted))
    }
}
