//! Proofs of unsigned webhooks: tokens made by ferryd, in the URL of a call or beside the ids
//! of commands.

use jiff::Timestamp;

use super::Provider;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{RawWebhook, WebhookNotice};
use ferryd_domain::webhook_token::TokenClaims;

impl Provider {
    /// The command that the URL of a call names by a valid token.
    #[must_use]
    pub fn named_by_url(
        &self,
        account: &Name,
        call: &RawWebhook,
        now: Timestamp,
    ) -> Option<TokenClaims> {
        self.links.as_ref()?.named_by(account, call, now)?.ok()
    }

    /// Returns true if every notice of a call is about a command that a token proves: the token in
    /// the URL, or the one beside the command's id. The caller then had the token from ferryd, or
    /// from the provider.
    #[must_use]
    pub fn is_proven(
        &self,
        account: &Name,
        notices: &[WebhookNotice],
        named: Option<&TokenClaims>,
        now: Timestamp,
    ) -> bool {
        let is_by_url = |notice: &WebhookNotice| {
            named.is_some_and(|named| {
                notice.command.as_ref().is_none_or(|command| *command == named.command)
            })
        };
        let is_by_token = |notice: &WebhookNotice| {
            let beside =
                notice.command.as_ref().zip(notice.token.as_ref()).zip(self.echo_tokens.as_ref());
            beside.is_some_and(|((command, token), tokens)| {
                tokens.read(account, command, token, now).is_ok()
            })
        };
        !notices.is_empty() && notices.iter().all(|notice| is_by_url(notice) || is_by_token(notice))
    }
}
