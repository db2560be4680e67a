//! The endpoint that a call reaches, and what becomes of the call there.

use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use super::explain::StepResult;
use crate::Webhook;
use ferryd_domain::callback::{ChallengeReply, Notice, RawCallback, Unverified};
use ferryd_redact::UnmaskedValue;

/// The handling of a call that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reception {
    /// The call is answered with this, and not published.
    Challenge(ChallengeReply),
    /// The call is the provider's own, and is published.
    Believed,
}

/// Verifies a call and checks whether it is a challenge, in the order that is safe.
///
/// A `GET` may be a handshake, which is unsigned: the check for a challenge comes before the
/// verification. All other calls are verified first.
///
/// # Errors
/// [`Unverified`]: the call must not be trusted.
pub fn receive(webhook: &dyn Webhook, call: &RawCallback, now: Timestamp) -> Result<Reception, Unverified> {
    if call.method == "GET"
        && let Some(reply) = webhook.challenge(call)
    {
        return Ok(Reception::Challenge(reply));
    }
    webhook.verify(call, now)?;
    Ok(webhook.challenge(call).map_or(Reception::Believed, Reception::Challenge))
}

/// The endpoint that a path of a provider leads to.
///
/// A caller must not learn which accounts exist. A call to an unknown account is received by the
/// endpoint of another account, with the same work and the same answers, but no secret of that
/// account verifies the call.
#[derive(Clone, Copy)]
pub enum CalledWebhook<'p> {
    /// The endpoint of the account that the path names.
    OfAccount(&'p Arc<dyn Webhook>),
    /// The endpoint of another account: the account that the path names does not exist.
    StandIn(&'p Arc<dyn Webhook>),
}

impl CalledWebhook<'_> {
    /// Returns false if every call is accepted, whoever made it.
    #[must_use]
    pub fn is_verifying(&self) -> bool {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.is_verifying()
    }

    /// The address of the certificate that is needed to verify a call; `None` if none is needed, or
    /// none helps.
    #[must_use]
    pub fn certificate_url(&self, call: &RawCallback, now: Timestamp) -> Option<Url> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.certificate_url(call, now)
    }

    /// The reason why a call was refused, for people.
    #[must_use]
    pub fn refused_for(&self, call: &RawCallback, now: Timestamp) -> Option<String> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        let steps = webhook.explain(call, now);
        steps.into_iter().find(|step| step.result == StepResult::Failed).map(|step| step.found)
    }

    /// Reads the notices of a call; all of them, or an error that describes the unreadable part,
    /// for people.
    #[must_use]
    pub fn notices(&self, call: &RawCallback) -> UnmaskedValue<Result<Vec<Notice>, String>> {
        let (Self::OfAccount(webhook) | Self::StandIn(webhook)) = self;
        webhook.notices(call)
    }

    /// Verifies a call and checks whether it is a challenge, as [`receive`] does.
    ///
    /// # Errors
    /// [`NotReceived`]: the verification failed, or the account does not exist.
    pub fn receive(&self, call: &RawCallback, now: Timestamp) -> Result<Reception, NotReceived> {
        match self {
            Self::OfAccount(webhook) => receive(webhook.as_ref(), call, now).map_err(NotReceived::Unverified),
            Self::StandIn(webhook) => match receive(webhook.as_ref(), call, now) {
                // Every caller gets this answer, at every account.
                Ok(Reception::Challenge(reply))
                    if !reply.needs_token && (call.method == "GET" || !webhook.is_verifying()) =>
                {
                    Ok(Reception::Challenge(reply))
                }
                // Every call is accepted, at every account; the consumer of the queue drops this
                // one.
                Ok(_) if !webhook.is_verifying() => Ok(Reception::Believed),
                // A certificate that ferryd lacks is missing for every account.
                Err(Unverified::Untrusted) => Err(NotReceived::Unverified(Unverified::Untrusted)),
                _ => Err(NotReceived::UnknownAccount),
            },
        }
    }
}

/// The reason why a call is not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotReceived {
    /// The verification of the call failed.
    #[error(transparent)]
    Unverified(Unverified),
    /// The account does not exist. The caller gets the same answer as after a failed verification.
    #[error("the provider has no such account")]
    UnknownAccount,
}

impl NotReceived {
    /// Returns true if the missing part may be ferryd's: an authority or an issuer that is unknown
    /// here.
    #[must_use]
    pub fn is_untrusted(self) -> bool {
        matches!(self, Self::Unverified(Unverified::Untrusted))
    }
}
