//! Verifies calls by the token in their URL: the caller has it from ferryd, or from the provider.

use jiff::Timestamp;

use super::file::WebhookFile;
use super::verification_trace::VerificationTrace;
use crate::webhook_links::WebhookLinks;
use ferryd_domain::name::Name;
use ferryd_domain::webhook::{RawWebhook, VerificationError};
use ferryd_domain::webhook_token::{PARAMETER, TokenClaims, TokenError};
use ferryd_settings::findings::SettingsCursor;

/// The context of an endpoint that verifies calls by tokens.
#[derive(Clone, Copy)]
pub(crate) struct WebhookUrlContext<'f> {
    /// Reads webhook URLs; `None` where there are none.
    pub(crate) links: Option<&'f WebhookLinks>,
    /// True where a request of the file gives the provider a webhook URL.
    pub(crate) is_requested: bool,
    /// The account of the endpoint.
    pub(crate) account: &'f Name,
}

/// Verifies calls by the tokens of an account.
pub(super) struct TokenCheck {
    links: WebhookLinks,
    account: Name,
}

impl TokenCheck {
    /// The command that a call names by its token; `None` where the call has no token.
    pub(super) fn named_by(
        &self,
        call: &RawWebhook,
        now: Timestamp,
    ) -> Option<Result<TokenClaims, TokenError>> {
        self.links.named_by(&self.account, call, now)
    }
}

/// Compiles the verification by the token in the URL. The token alone then names the command of a
/// call.
pub(super) fn compile(
    file: &WebhookFile,
    called: WebhookUrlContext<'_>,
    place: &SettingsCursor<'_>,
) -> Option<TokenCheck> {
    for (key, text) in
        [("command", &file.command), ("token", &file.token), ("reference", &file.reference)]
    {
        if text.is_some() {
            place.key(key).refuse(
                "is not verified: the token says which command a call is about; leave it out",
            );
        }
    }
    let links = called.links.filter(|_| called.is_requested);
    if links.is_none() {
        let text = "is \"token\", and no request has a `webhook_url` with one, so every call would be refused; put \
                    `{{ webhook_url }}` where the provider takes an address to call";
        place.key("verify").refuse(text);
    }
    Some(TokenCheck { links: links?.clone(), account: called.account.clone() })
}

/// Checks a call for a token that is valid at this time.
pub(super) fn verify_token(
    check: &TokenCheck,
    call: &RawWebhook,
    now: Timestamp,
    trace: &mut VerificationTrace,
) -> Result<(), VerificationError> {
    let looked_for = format!("a token in the parameter `{PARAMETER}` of the query");
    match check.named_by(call, now) {
        Some(Ok(TokenClaims { command, .. })) => {
            trace.note_passed(&looked_for, || format!("that of the command {}", command.as_str()));
            Ok(())
        }
        Some(Err(reason)) => {
            trace.note_failed(&looked_for, || reason.to_string());
            Err(match reason {
                TokenError::Forged => VerificationError::ForgedToken,
                TokenError::Expired => VerificationError::Stale,
            })
        }
        None => {
            trace.note_failed(&looked_for, || "none".to_owned());
            Err(VerificationError::NoToken)
        }
    }
}
