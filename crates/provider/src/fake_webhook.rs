//! A webhook that tests can sign for, only in builds with the feature `failpoints`.
//!
//! The environment variable `FERRYD_FAKE_WEBHOOKS` names providers, separated by commas. Their
//! calls are verified if the header `x-signature` is `good`. The fake stands for the webhook of a
//! provider file in tests about the steps before and after the verification.

use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use super::webhook::{PrivateKey, SigningError, VerificationStep};
use super::{Account, Provider, WebhookReceiver};
use serde_json::Value;

use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Failure, Success};
use ferryd_domain::webhook::{
    ChallengeReply, NoticeMeaning, RawWebhook, VerificationError, WebhookNotice,
};
use ferryd_redact::UnmaskedValue;

/// Gives a provider the fake webhook, if the environment names the provider.
#[cfg(feature = "failpoints")]
pub(crate) fn apply(provider: Provider) -> Provider {
    let named = std::env::var("FERRYD_FAKE_WEBHOOKS").unwrap_or_default();
    let named = named.split(',').any(|name| name == provider.name.as_str());
    if named { given(provider) } else { provider }
}

/// The provider with the fake webhook, for each of its accounts.
#[must_use]
pub fn given(provider: Provider) -> Provider {
    let given = |(name, account): (Name, Arc<Account>)| {
        let Account { name: own, adapter, inbound, publishers, base_url, link, secrets, .. } =
            Account::clone(&account);
        let webhook = Some(Arc::new(FakeWebhook) as Arc<dyn WebhookReceiver>);
        let account =
            Account { name: own, adapter, webhook, inbound, publishers, base_url, link, secrets };
        (name, Arc::new(account))
    };
    let accounts = provider.accounts.into_iter().map(given).collect();
    Provider { accounts, ..provider }
}

/// Verifies calls by the value of `x-signature`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FakeWebhook;

impl WebhookReceiver for FakeWebhook {
    fn verify(&self, call: &RawWebhook, _: Timestamp) -> Result<(), VerificationError> {
        match call.header("x-signature") {
            Some("good") => Ok(()),
            Some("stale") => Err(VerificationError::Stale),
            Some(_) => Err(VerificationError::Forged),
            None => Err(VerificationError::Unsigned),
        }
    }

    fn certificate_url(&self, _: &RawWebhook, _: Timestamp) -> Option<Url> {
        None
    }

    fn is_verifying(&self) -> bool {
        true
    }

    /// Answers a call with the value of the query parameter `challenge`.
    fn answer_challenge(&self, call: &RawWebhook) -> Option<ChallengeReply> {
        let body = call.query("challenge")?.into_owned().into();
        Some(ChallengeReply { content_type: "text/plain".to_owned(), body, needs_token: false })
    }

    /// The body has one notice: `event`, `id`, `command`, `reference`, and a meaning, `completed`
    /// or `declined`.
    fn read_notices(&self, call: &RawWebhook) -> UnmaskedValue<Result<Vec<WebhookNotice>, String>> {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let meaning = match text("means").as_deref() {
            Some("completed") => NoticeMeaning::Completed(Success::default()),
            Some("declined") => NoticeMeaning::Declined(Failure::default()),
            _ => NoticeMeaning::Nothing,
        };
        let command = text("command").and_then(|id| id.parse().ok());
        let (event, id, reference) = (text("event"), text("id"), text("reference"));
        let notice = WebhookNotice {
            event,
            id,
            command,
            token: None,
            generation: None,
            reference,
            meaning,
            amount: None,
            body,
        };
        UnmaskedValue::new(Ok(vec![notice]))
    }

    fn explain_verification(&self, _: &RawWebhook, _: Timestamp) -> Vec<VerificationStep> {
        Vec::new()
    }

    fn sign(
        &self,
        call: &RawWebhook,
        _: Timestamp,
        _: Option<&PrivateKey>,
    ) -> Result<RawWebhook, SigningError> {
        Ok(call.clone())
    }

    fn list_cautions(&self, _: Timestamp) -> Vec<String> {
        Vec::new()
    }
}
