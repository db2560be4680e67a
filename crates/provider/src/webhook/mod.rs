//! Webhooks of providers: their verification and their notices.
//!
//! A file describes how its provider signs (`file`, compiled into an endpoint by `compile`).
//! `described` verifies a call in steps: `place` reads the signatures and the time of signing,
//! `signed` puts together the signed content, `key` compares. `adyen` and `paypal` are schemes that
//! no file can describe, `token` reads only the URL. `verification_trace` records the steps of a
//! verification for people, and `sign` signs a call as the provider would. `challenge` answers
//! calls by which providers check who owns an endpoint. `inbound` reads messages of a queue like
//! webhooks, without any of that.
//!
//! No part of this module does I/O or reads a clock.

mod adyen;
mod called_webhook;
mod challenge;
pub(super) mod compile;
mod compile_challenge;
pub(super) mod compile_inbound;
mod compile_notices;
mod described_scheme;
pub(super) mod file;
pub(super) mod fixed_scheme;
#[cfg(test)]
mod fixture;
mod form;
mod inbound;
pub(super) mod inbound_file;
mod key;
mod missing_issuer;
mod notice;
pub(super) mod notice_meaning;
mod paypal;
mod private_key;
mod selector;
mod sign;
mod signed_payload;
pub(super) mod token;
mod verification_trace;

use jiff::Timestamp;
use url::Url;

use self::adyen::AdyenPayments;
pub use self::called_webhook::{CalledWebhook, ReceiveError, WebhookReception, receive_webhook};
use self::challenge::WebhookChallenge;
use self::described_scheme::DescribedScheme;
pub use self::inbound::InboundQueue;
use self::notice::NoticeReader;
use self::paypal::PaypalScheme;
pub use self::private_key::{InvalidPrivateKey, PrivateKey};
pub use self::sign::SigningError;
use self::token::TokenCheck;
use self::verification_trace::VerificationTrace;
pub use self::verification_trace::{StepResult, VerificationStep};
use super::WebhookReceiver;
use ferryd_domain::webhook::{ChallengeReply, RawWebhook, VerificationError, WebhookNotice};
use ferryd_redact::UnmaskedValue;

/// A provider's endpoint, compiled from its file.
struct CompiledWebhook {
    reading: NoticeReader,
    /// The variable `secrets` of expressions.
    secrets: minijinja::Value,
    verification: WebhookVerification,
    challenge: Option<WebhookChallenge>,
}

enum WebhookVerification {
    /// Every call is accepted: the file says so.
    None,
    /// Verification by the token in the URL that was called.
    Token(TokenCheck),
    /// Verification as the file describes.
    Described(Box<DescribedScheme>),
    /// Verification by the signatures in Adyen's payment notifications.
    AdyenPayments(AdyenPayments),
    /// Verification by PayPal's certificates.
    Paypal(Box<PaypalScheme>),
}

impl CompiledWebhook {
    fn verify_call(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        match &self.verification {
            WebhookVerification::None => {
                trace.note_passed("nothing", || {
                    "calls are not verified: anybody can make them".to_owned()
                });
                Ok(())
            }
            WebhookVerification::Token(check) => token::verify_token(check, call, now, trace),
            WebhookVerification::Described(scheme) => scheme.verify_call(call, now, trace),
            WebhookVerification::AdyenPayments(scheme) => scheme.verify_items(call, now, trace),
            WebhookVerification::Paypal(scheme) => scheme.verify_call(call, now, trace),
        }
    }

    /// Lists the weaknesses of the verification.
    fn cautions_of_verification(&self, now: Timestamp) -> Vec<String> {
        let (keys, unsigned_body) = match &self.verification {
            WebhookVerification::None => {
                let ends = if self.reading.decides() {
                    "; they end no command, whatever `as` says, unless a token proves them"
                } else {
                    ""
                };
                return vec![format!(
                    "calls are not verified: anyone who knows the address can send calls that make ferryd look up commands{ends}"
                )];
            }
            WebhookVerification::Token(_) => {
                return vec![
                    "`verify` is \"token\": anyone who has seen the webhook URL of a command can report its outcome"
                        .to_owned(),
                ];
            }
            WebhookVerification::Described(scheme) => (&scheme.keys, scheme.unsigned_body),
            WebhookVerification::AdyenPayments(scheme) => (&scheme.keys, false),
            WebhookVerification::Paypal(scheme) => return scheme.cautions(now),
        };
        let mut cautions = Vec::new();
        if unsigned_body {
            cautions.push(
                "nothing of the body is signed: ask the provider before acting on what it says"
                    .to_owned(),
            );
        }
        if !keys.iter().any(|key| key.is_taken(now)) {
            cautions.push("every key has passed its `until`: every call is refused".to_owned());
        }
        cautions
    }
}

impl WebhookReceiver for CompiledWebhook {
    fn verify(&self, call: &RawWebhook, now: Timestamp) -> Result<(), VerificationError> {
        self.verify_call(call, now, &mut VerificationTrace::silent())
    }

    fn is_verifying(&self) -> bool {
        !matches!(self.verification, WebhookVerification::None)
    }

    fn certificate_url(&self, call: &RawWebhook, now: Timestamp) -> Option<Url> {
        match &self.verification {
            WebhookVerification::Paypal(_) => paypal::certificate_url(call, now),
            _ => None,
        }
    }

    fn answer_challenge(&self, call: &RawWebhook) -> Option<ChallengeReply> {
        self.challenge.as_ref()?.reply(call)
    }

    fn read_notices(&self, call: &RawWebhook) -> UnmaskedValue<Result<Vec<WebhookNotice>, String>> {
        UnmaskedValue::new(self.reading.notices(call, self.secrets.clone()))
    }

    fn explain_verification(&self, call: &RawWebhook, now: Timestamp) -> Vec<VerificationStep> {
        let mut trace = VerificationTrace::recording();
        // The recorded steps have the same result.
        let _ = self.verify_call(call, now, &mut trace);
        trace.into_steps()
    }

    fn sign(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawWebhook, SigningError> {
        match &self.verification {
            WebhookVerification::None => Ok(call.clone()),
            WebhookVerification::Token(check) => match check.named_by(call, now) {
                Some(Ok(_)) => Ok(call.clone()),
                _ => Err(SigningError::NoToken),
            },
            WebhookVerification::Described(scheme) => scheme.sign(call, now, private_key),
            WebhookVerification::AdyenPayments(scheme) => scheme.sign(call, now),
            WebhookVerification::Paypal(_) => Err(SigningError::OnlyProvider),
        }
    }

    fn list_cautions(&self, now: Timestamp) -> Vec<String> {
        let mut cautions = self.cautions_of_verification(now);
        if self.reading.names_without_proof() {
            cautions.push(
                "`command` stands without `token`: an id that the provider echoes proves nothing by itself, so a call is matched \
                 by `reference` and its webhook URL alone"
                    .to_owned(),
            );
        }
        cautions
    }
}

#[cfg(test)]
mod alterations_tests;
#[cfg(test)]
mod vectors_tests;
#[cfg(test)]
mod verification_trace_tests;
