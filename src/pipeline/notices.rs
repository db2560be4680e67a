//! Reads the notices of a webhook, as far as a signature or token proves them.

use tracing::debug;

use super::log::mask_of_notices;
use super::webhook_handler::WebhookHandler;
use ferryd_broker::webhook_message::{WebhookMessage, WebhookOrigin};
use ferryd_domain::webhook::{UnverifiedNotice, WebhookNotice};
use ferryd_provider::webhook::CalledWebhook;
use ferryd_redact::MaskableValue as _;

impl WebhookHandler {
    /// Reads the notices of a call. Returns them, and true where a signature or token proves them.
    pub(super) fn read_notices(
        &self,
        webhook_message: &WebhookMessage,
    ) -> Result<(Vec<WebhookNotice>, bool), String> {
        let WebhookMessage { provider, account, received_at, is_verified, call, .. } =
            webhook_message;
        if webhook_message.origin == WebhookOrigin::Queue {
            let inbound = self
                .provider
                .inbound(account)
                .ok_or("the provider's file has no such account or no `inbound` any more")?;
            let mask = mask_of_notices(&self.lanes, webhook_message);
            return Ok((inbound.read_notices(call).masked(&mask)?, true));
        }
        // Only calls to the endpoint come here: what `inbound` trusts proves nothing about them.
        let webhook = match self.provider.called_webhook(account) {
            Some(CalledWebhook::OfAccount(webhook)) => webhook,
            // Anybody can make such a call, to any account.
            Some(CalledWebhook::StandIn(_)) if !is_verified => {
                debug!(%provider, %account, "an unverified webhook is for no account");
                return Ok((Vec::new(), false));
            }
            _ => {
                return Err(
                    "the provider's file has no such account or no `webhook` any more".to_owned()
                );
            }
        };
        let mask = mask_of_notices(&self.lanes, webhook_message);
        if !is_verified {
            let notices: Vec<UnverifiedNotice> = serde_json::from_slice(&call.body)
                .map_err(|error| format!("no list of notices: {error}"))?;
            let notices: Vec<_> = notices.into_iter().map(WebhookNotice::from).collect();
            return Ok((notices.masked(&mask), false));
        }
        let notices = webhook.read_notices(call).masked(&mask)?;
        let is_proven = || {
            let named = self.provider.named_by_url(account, call, *received_at);
            self.provider.is_proven(account, &notices, named.as_ref(), *received_at)
        };
        if webhook.is_verifying() || is_proven() {
            return Ok((notices, true));
        }
        // The call was verified by settings that the provider file no longer has.
        Ok((notices.iter().map(UnverifiedNotice::of).map(WebhookNotice::from).collect(), false))
    }
}
