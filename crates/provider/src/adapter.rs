//! The interface to a provider: builds its requests, and reads its answers and webhooks.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::webhook::{PrivateKey, SigningError, VerificationStep};
use ferryd_domain::command::Command;
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::message_call::MessageResult;
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, PollOutcome};
use ferryd_domain::query::QueryPurpose;
use ferryd_domain::token::{AccessToken, TokenUnavailable};
use ferryd_domain::webhook::{ChallengeReply, RawWebhook, VerificationError, WebhookNotice};
use ferryd_redact::UnmaskedValue;

/// Describes requests to one provider and interprets its answers.
///
/// No method has a default: an adapter that forgets one does not compile.
pub trait Adapter: Send + Sync {
    /// Describes the request of a call, or its message.
    ///
    /// # Errors
    /// The failure, of kind `invalid`, if the command lacks a value that the request needs. Nothing
    /// was sent then.
    fn build_request(
        &self,
        call: &CallContext<'_>,
    ) -> Result<OutboundRequest, UnmaskedValue<Failure>>;

    /// The amount of money that a command asks for; `None` where the file does not state it.
    fn requested_amount(&self, call: &CallContext<'_>) -> Option<MoneyAmount>;

    /// Interprets the answer to a call that is an HTTP request.
    fn interpret_reply(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<Outcome>;

    /// Interprets the result of a call that is a message.
    fn interpret_receipt(
        &self,
        call: &CallContext<'_>,
        result: &MessageResult,
    ) -> UnmaskedValue<Outcome>;

    /// Describes the request of a query about a call.
    ///
    /// # Errors
    /// The failure, if the command or its progress lacks a value that the request needs, or if the
    /// operation has no such query.
    fn build_query(
        &self,
        call: &CallContext<'_>,
        purpose: QueryPurpose,
    ) -> Result<HttpRequest, UnmaskedValue<Failure>>;

    /// Interprets the answer to a poll.
    fn interpret_poll(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<PollOutcome>;

    /// Interprets the answer to a lookup.
    fn interpret_lookup(
        &self,
        call: &CallContext<'_>,
        answer: &CallResult,
    ) -> UnmaskedValue<LookupOutcome>;

    /// The provider's own id of the transaction that the call changes, and that another command
    /// made; `None` where the call changes no other transaction.
    fn affected_reference(&self, call: &CallContext<'_>) -> Option<String>;

    /// Describes the request for an access token, which all other requests then must carry; `None`
    /// where the provider's scheme needs none.
    fn build_token_request(&self, timeout: Duration) -> Option<HttpRequest>;

    /// Reads the answer to the request for an access token.
    ///
    /// # Errors
    /// [`TokenUnavailable`]: the provider grants none, or its token endpoint is unreachable.
    fn read_token(
        &self,
        answer: &CallResult,
    ) -> Result<AccessToken, UnmaskedValue<TokenUnavailable>>;

    /// Describes the harmless request that verifies the account's credentials; `None` where there
    /// is none, or where the request for an access token suffices.
    ///
    /// # Errors
    /// The failure, if an expression of the request has no value.
    fn verification_request(&self) -> Option<Result<HttpRequest, UnmaskedValue<Failure>>>;

    /// Interprets the answer to the request that verifies the credentials.
    fn interpret_credential_check(&self, answer: &CallResult) -> UnmaskedValue<CredentialCheck>;
}

/// Verifies a provider's webhooks.
///
/// No method has a default: a provider that forgets to verify does not compile.
pub trait WebhookReceiver: Send + Sync {
    /// Verifies at this time that a call is the provider's own.
    ///
    /// # Errors
    /// [`VerificationError`]: the call must not be trusted.
    fn verify(&self, call: &RawWebhook, now: Timestamp) -> Result<(), VerificationError>;

    /// The address of the certificate that is needed to verify a call, to be fetched into
    /// [`RawWebhook::certificate`]; `None` where none is needed, or where no certificate can make
    /// the call valid.
    fn certificate_url(&self, call: &RawWebhook, now: Timestamp) -> Option<Url>;

    /// Returns false if calls are accepted without verification.
    fn is_verifying(&self) -> bool;

    /// The answer to a call that only checks who owns the endpoint; `None` for every other call.
    /// Such a call is not published. [`receive_webhook`](super::webhook::receive_webhook) knows which of these
    /// calls must be verified first.
    fn answer_challenge(&self, call: &RawWebhook) -> Option<ChallengeReply>;

    /// The notices of a verified call; all of them or none.
    ///
    /// # Errors
    /// A description of the unreadable part, for people.
    fn read_notices(&self, call: &RawWebhook) -> UnmaskedValue<Result<Vec<WebhookNotice>, String>>;

    /// Explains the verification of a call step by step, without any secret. If
    /// [`WebhookReceiver::verify`] refuses the call, a step has failed.
    fn explain_verification(&self, call: &RawWebhook, now: Timestamp) -> Vec<VerificationStep>;

    /// Signs a call as the provider would at this time, with everything that
    /// [`WebhookReceiver::verify`] checks.
    ///
    /// # Errors
    /// [`SigningError`]: there is no key to sign with, or the call lacks a part that is signed.
    fn sign(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawWebhook, SigningError>;

    /// Warnings for operators about the weaknesses of the verification; one line each.
    fn list_cautions(&self, now: Timestamp) -> Vec<String>;
}

/// One call to be made: the input of a request.
#[derive(Debug, Clone, Copy)]
pub struct CallContext<'a> {
    /// The command; its operation exists at this provider, and its payload matches the operation's
    /// schema.
    pub command: &'a Command,
    /// The idempotency key, for operations that take one.
    pub key: Option<&'a IdempotencyKey>,
    /// The generation of the command: 0 as published, each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
    /// The provider's own id of the transaction, once the provider has returned it.
    pub provider_reference: Option<&'a str>,
    /// The webhook URL that the request gives the provider; `None` where there is none.
    pub webhook_url: Option<&'a str>,
    /// The token beside the command's id; empty where the request has none.
    pub command_token: &'a str,
    /// True where an earlier call of the generation may have acted.
    pub in_doubt: bool,
}
