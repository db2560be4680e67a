//! Reads the notices of a webhook call, as far as a signature or token proves them.

use tracing::debug;

use super::callbacks::Callbacks;
use super::log::mask_of_notices;
use ferryd_broker::callback::Callback;
use ferryd_domain::callback::{Notice, UnverifiedNotice};
use ferryd_provider::webhook::CalledWebhook;
use ferryd_redact::MaskableValue as _;

impl Callbacks {
    /// Reads the notices of a call. Returns them, and true where a signature or token proves them.
    pub(super) fn notices(&self, callback: &Callback) -> Result<(Vec<Notice>, bool), String> {
        let Callback { provider, account, received_at, is_verified, call, .. } = callback;
        let webhook = match self.provider.called_webhook(account) {
            Some(CalledWebhook::OfAccount(webhook)) => webhook,
            // Anybody can make such a call, to any account.
            Some(CalledWebhook::StandIn(_)) if !is_verified => {
                debug!(%provider, %account, "an unverified webhook call is for no account");
                return Ok((Vec::new(), false));
            }
            _ => return Err("the provider's file has no such account or no `webhook` any more".to_owned()),
        };
        let mask = mask_of_notices(&self.lanes, callback);
        if !is_verified {
            let notices: Vec<UnverifiedNotice> =
                serde_json::from_slice(&call.body).map_err(|error| format!("no list of notices: {error}"))?;
            let notices: Vec<_> = notices.into_iter().map(Notice::from).collect();
            return Ok((notices.masked(&mask), false));
        }
        let notices = webhook.notices(call).masked(&mask)?;
        let is_proven = || {
            let named = self.provider.named_by_url(account, call, *received_at);
            self.provider.is_proven(account, &notices, named.as_ref(), *received_at)
        };
        if webhook.is_verifying() || is_proven() {
            return Ok((notices, true));
        }
        // An earlier version kept the call whole, or verified it by settings that the provider file
        // no longer has.
        Ok((notices.iter().map(UnverifiedNotice::of).map(Notice::from).collect(), false))
    }
}
