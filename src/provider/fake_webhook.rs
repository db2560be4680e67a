//! A webhook that tests can sign for, in builds with the feature `failpoints` and nowhere else.
//!
//! The providers that the environment variable `FERRYD_FAKE_WEBHOOKS` names, separated by commas, believe calls whose header
//! `x-signature` says `good`. It stands for a webhook of a provider file where tests are about what comes before and after it.

use jiff::Timestamp;

#[cfg(feature = "failpoints")]
use super::Provider;
use super::Webhook;
use super::webhook::{CannotSign, PrivateKey, Step};
use crate::domain::callback::{ChallengeReply, RawCallback, Unverified};

/// Gives a provider the webhook, if the environment says so.
#[cfg(feature = "failpoints")]
pub(super) fn apply(mut provider: Provider) -> Provider {
    let named = std::env::var("FERRYD_FAKE_WEBHOOKS").unwrap_or_default();
    if named.split(',').any(|name| name == provider.name.as_str()) {
        provider.webhook = Some(std::sync::Arc::new(FakeWebhook));
    }
    provider
}

/// Believes what `x-signature` says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FakeWebhook;

impl Webhook for FakeWebhook {
    fn verify(&self, call: &RawCallback, _: Timestamp) -> Result<(), Unverified> {
        match call.header("x-signature") {
            Some("good") => Ok(()),
            Some("stale") => Err(Unverified::Stale),
            Some(_) => Err(Unverified::Forged),
            None => Err(Unverified::Unsigned),
        }
    }

    /// The parameter `challenge` of the query is answered with itself.
    fn challenge(&self, call: &RawCallback) -> Option<ChallengeReply> {
        let body = call.query("challenge")?.into_owned().into();
        Some(ChallengeReply { content_type: "text/plain".to_owned(), body })
    }

    fn explain(&self, _: &RawCallback, _: Timestamp) -> Vec<Step> {
        Vec::new()
    }

    fn sign(&self, call: &RawCallback, _: Timestamp, _: Option<&PrivateKey>) -> Result<RawCallback, CannotSign> {
        Ok(call.clone())
    }

    fn cautions(&self, _: Timestamp) -> Vec<String> {
        Vec::new()
    }
}
