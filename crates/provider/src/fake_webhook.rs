//! A webhook that tests can sign for, only in builds with the feature `failpoints`.
//!
//! The environment variable `FERRYD_FAKE_WEBHOOKS` names providers, separated by commas. Their
//! calls are verified if the header `x-signature` is `good`. The fake stands for the webhook of a
//! provider file in tests about the steps before and after the verification.

use std::sync::Arc;

use jiff::Timestamp;
use url::Url;

use super::webhook::{CannotSign, PrivateKey, Step};
use super::{Account, Provider, Webhook};
use serde_json::Value;

use ferryd_domain::callback::{ChallengeReply, Meaning, Notice, RawCallback, Unverified};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Failure, Success};
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
        let Account { name: own, adapter, publishers, base_url, secrets, .. } = account.as_ref();
        let (own, adapter, base_url, secrets) = (own.clone(), adapter.clone(), base_url.clone(), secrets.clone());
        let webhook = Some(Arc::new(FakeWebhook) as Arc<dyn Webhook>);
        let publishers = publishers.clone();
        (name, Arc::new(Account { name: own, adapter, webhook, publishers, base_url, secrets }))
    };
    let accounts = provider.accounts.into_iter().map(given).collect();
    Provider { accounts, ..provider }
}

/// Verifies calls by the value of `x-signature`.
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

    fn certificate_url(&self, _: &RawCallback, _: Timestamp) -> Option<Url> {
        None
    }

    fn is_verifying(&self) -> bool {
        true
    }

    /// Answers a call with the value of the query parameter `challenge`.
    fn challenge(&self, call: &RawCallback) -> Option<ChallengeReply> {
        let body = call.query("challenge")?.into_owned().into();
        Some(ChallengeReply { content_type: "text/plain".to_owned(), body, needs_token: false })
    }

    /// The body has one notice: `event`, `id`, `command`, `reference`, and a meaning, `completed`
    /// or `declined`.
    fn notices(&self, call: &RawCallback) -> UnmaskedValue<Result<Vec<Notice>, String>> {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
        let meaning = match text("means").as_deref() {
            Some("completed") => Meaning::Completed(Success::default()),
            Some("declined") => Meaning::Declined(Failure::default()),
            _ => Meaning::Nothing,
        };
        let command = text("command").and_then(|id| id.parse().ok());
        let (event, id, reference) = (text("event"), text("id"), text("reference"));
        let notice =
            Notice { event, id, command, token: None, generation: None, reference, meaning, amount: None, body };
        UnmaskedValue::new(Ok(vec![notice]))
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
