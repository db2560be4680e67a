//! Webhook calls of providers: their verification and their notices.
//!
//! A file describes how its provider signs (`file`, compiled into an endpoint by `compile`).
//! `described` verifies a call in steps: `place` reads the signatures and the time of signing,
//! `signed` puts together the signed content, `key` compares. `adyen` and `paypal` are schemes that
//! no file can describe, `token` reads only the URL. `explain` records the steps of a verification
//! for people, and `sign` signs a call as the provider would. `challenge` answers calls by which
//! providers check who owns an endpoint.
//!
//! No part of this module does I/O or reads a clock.

mod adyen;
mod called;
mod challenge;
pub(super) mod compile;
mod described;
mod explain;
pub(super) mod file;
pub(super) mod fixed_scheme;
#[cfg(test)]
mod fixture;
mod form;
mod key;
mod missing_issuer;
mod notice;
mod paypal;
mod place;
mod private_key;
mod reading;
pub(super) mod sense;
mod sign;
mod signed;
pub(super) mod token;

use jiff::Timestamp;
use url::Url;

use self::adyen::AdyenPayments;
pub use self::called::{CalledWebhook, NotReceived, Reception, receive};
use self::challenge::Challenge;
use self::described::Described;
use self::explain::Trail;
pub use self::explain::{Step, StepResult};
use self::notice::Reading;
use self::paypal::PaypalScheme;
pub use self::private_key::{NoPrivateKey, PrivateKey};
pub use self::sign::CannotSign;
use self::token::TokenCheck;
use super::Webhook;
use ferryd_domain::callback::{ChallengeReply, Notice, RawCallback, Unverified};
use ferryd_redact::UnmaskedValue;

/// A provider's endpoint, compiled from its file.
struct Endpoint {
    reading: Reading,
    /// The variable `secrets` of expressions.
    secrets: minijinja::Value,
    verification: Verification,
    challenge: Option<Challenge>,
}

enum Verification {
    /// Every call is accepted: the file says so.
    None,
    /// Verification by the token in the URL that was called.
    Token(TokenCheck),
    /// Verification as the file describes.
    Described(Box<Described>),
    /// Verification by the signatures in Adyen's payment notifications.
    AdyenPayments(AdyenPayments),
    /// Verification by PayPal's certificates.
    Paypal(Box<PaypalScheme>),
}

impl Endpoint {
    fn examine(&self, call: &RawCallback, now: Timestamp, trail: &mut Trail) -> Result<(), Unverified> {
        match &self.verification {
            Verification::None => {
                trail.passed("nothing", || "calls are not verified: anybody can make them".to_owned());
                Ok(())
            }
            Verification::Token(check) => token::examine(check, call, now, trail),
            Verification::Described(scheme) => scheme.examine(call, now, trail),
            Verification::AdyenPayments(scheme) => scheme.examine(call, now, trail),
            Verification::Paypal(scheme) => scheme.examine(call, now, trail),
        }
    }

    /// Lists the weaknesses of the verification.
    fn cautions_of_verification(&self, now: Timestamp) -> Vec<String> {
        let (keys, unsigned_body) = match &self.verification {
            Verification::None => {
                let ends = if self.reading.decides() {
                    "; they end none, whatever `as` says, unless a token proves them"
                } else {
                    ""
                };
                return vec![format!(
                    "calls are not verified: whoever knows the address can send some, and have commands looked up{ends}"
                )];
            }
            Verification::Token(_) => {
                return vec![
                    "`verify` is \"token\": whoever has seen the callback URL of a command can say what became of it"
                        .to_owned(),
                ];
            }
            Verification::Described(scheme) => (&scheme.keys, scheme.unsigned_body),
            Verification::AdyenPayments(scheme) => (&scheme.keys, false),
            Verification::Paypal(scheme) => return scheme.cautions(now),
        };
        let mut cautions = Vec::new();
        if unsigned_body {
            cautions.push("nothing of the body is signed: ask the provider before acting on what it says".to_owned());
        }
        if !keys.iter().any(|key| key.is_taken(now)) {
            cautions.push("every key has passed its `until`: every call is refused".to_owned());
        }
        cautions
    }
}

impl Webhook for Endpoint {
    fn verify(&self, call: &RawCallback, now: Timestamp) -> Result<(), Unverified> {
        self.examine(call, now, &mut Trail::untold())
    }

    fn is_verifying(&self) -> bool {
        !matches!(self.verification, Verification::None)
    }

    fn certificate_url(&self, call: &RawCallback, now: Timestamp) -> Option<Url> {
        match &self.verification {
            Verification::Paypal(_) => paypal::certificate_url(call, now),
            _ => None,
        }
    }

    fn challenge(&self, call: &RawCallback) -> Option<ChallengeReply> {
        self.challenge.as_ref()?.reply(call)
    }

    fn notices(&self, call: &RawCallback) -> UnmaskedValue<Result<Vec<Notice>, String>> {
        UnmaskedValue::new(self.reading.notices(call, self.secrets.clone()))
    }

    fn explain(&self, call: &RawCallback, now: Timestamp) -> Vec<Step> {
        let mut trail = Trail::told();
        // The recorded steps have the same result.
        let _ = self.examine(call, now, &mut trail);
        trail.into_steps()
    }

    fn sign(
        &self,
        call: &RawCallback,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawCallback, CannotSign> {
        match &self.verification {
            Verification::None => Ok(call.clone()),
            Verification::Token(check) => match check.named_by(call, now) {
                Some(Ok(_)) => Ok(call.clone()),
                _ => Err(CannotSign::NoToken),
            },
            Verification::Described(scheme) => scheme.sign(call, now, private_key),
            Verification::AdyenPayments(scheme) => scheme.sign(call, now),
            Verification::Paypal(_) => Err(CannotSign::OnlyProvider),
        }
    }

    fn cautions(&self, now: Timestamp) -> Vec<String> {
        let mut cautions = self.cautions_of_verification(now);
        if self.reading.names_without_proof() {
            cautions.push(
                "`command` stands without `token`: an id that the provider echoes proves nothing by itself, so a call is matched \
                 by `reference` and its callback URL alone"
                    .to_owned(),
            );
        }
        cautions
    }
}

#[cfg(test)]
mod alterations_tests;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod vectors_tests;
