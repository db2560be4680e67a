//! Verifies calls by the token in their URL: the caller has it from ferryd, or from the provider.

use jiff::Timestamp;

use super::explain::Trail;
use super::file::WebhookFile;
use crate::link::Links;
use ferryd_domain::callback::{RawCallback, Unverified};
use ferryd_domain::callback_token::{BadToken, Named, PARAMETER};
use ferryd_domain::name::Name;
use ferryd_settings::faults::Place;

/// The context of an endpoint that verifies calls by tokens.
#[derive(Clone, Copy)]
pub(crate) struct Called<'f> {
    /// Reads callback URLs; `None` where there are none.
    pub(crate) links: Option<&'f Links>,
    /// True where a request of the file asks the provider to call a callback URL.
    pub(crate) is_asked: bool,
    /// The account of the endpoint.
    pub(crate) account: &'f Name,
}

/// Verifies calls by the tokens of an account.
pub(super) struct TokenCheck {
    links: Links,
    account: Name,
}

impl TokenCheck {
    /// The command that a call names by its token; `None` where the call has no token.
    pub(super) fn named_by(&self, call: &RawCallback, now: Timestamp) -> Option<Result<Named, BadToken>> {
        self.links.named_by(&self.account, call, now)
    }
}

/// Compiles the verification by the token in the URL. The token alone then names the command of a
/// call.
pub(super) fn compile(file: &WebhookFile, called: Called<'_>, place: &Place<'_>) -> Option<TokenCheck> {
    for (key, text) in [("command", &file.command), ("token", &file.token), ("reference", &file.reference)] {
        if text.is_some() {
            place.key(key).refuse("is not verified: the token says which command a call is about; leave it out");
        }
    }
    let links = called.links.filter(|_| called.is_asked);
    if links.is_none() {
        let text = "is \"token\", and no request has a `callback_url` with one, so every call would be refused; put \
                    `{{ callback_url }}` where the provider takes an address to call";
        place.key("verify").refuse(text);
    }
    Some(TokenCheck { links: links?.clone(), account: called.account.clone() })
}

/// Checks a call for a token that is valid at this time.
pub(super) fn examine(
    check: &TokenCheck,
    call: &RawCallback,
    now: Timestamp,
    trail: &mut Trail,
) -> Result<(), Unverified> {
    let looked_for = format!("a token in the parameter `{PARAMETER}` of the query");
    match check.named_by(call, now) {
        Some(Ok(Named { command, .. })) => {
            trail.passed(&looked_for, || format!("that of the command {}", command.as_str()));
            Ok(())
        }
        Some(Err(reason)) => {
            trail.failed(&looked_for, || reason.to_string());
            Err(match reason {
                BadToken::Forged => Unverified::ForgedToken,
                BadToken::Expired => Unverified::Stale,
            })
        }
        None => {
            trail.failed(&looked_for, || "none".to_owned());
            Err(Unverified::NoToken)
        }
    }
}
