//! What a provider has to say: its requests, its answers, its webhook calls.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::webhook::{CannotSign, PrivateKey, Step};
use ferryd_domain::callback::{ChallengeReply, Notice, RawCallback, Unverified};
use ferryd_domain::command::Command;
use ferryd_domain::credentials::CredentialCheck;
use ferryd_domain::exchange::{Answer, Request};
use ferryd_domain::inquiry::Purpose;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::outcome::{Failure, LookedUp, Outcome, Polled};
use ferryd_domain::token::{AccessToken, NoToken};
use ferryd_redact::UnmaskedValue;

/// Describes requests to one provider and interprets its answers.
///
/// No method has a default: an adapter that forgets one does not compile.
pub trait Adapter: Send + Sync {
    /// Describes the request of a call.
    ///
    /// # Errors
    /// The failure, of kind `invalid`, if the command lacks a value that the request needs. Nothing
    /// was sent then.
    fn request(&self, call: &Call<'_>) -> Result<Request, UnmaskedValue<Failure>>;

    /// The amount of money that a command asks for; `None` where the file does not state it.
    fn money(&self, call: &Call<'_>) -> Option<MoneyAmount>;

    /// Interprets the answer to a call.
    fn interpret(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Outcome>;

    /// Describes the request of a query about a call.
    ///
    /// # Errors
    /// The failure, if the command or its progress lacks a value that the request needs, or if the
    /// operation has no such query.
    fn inquire(&self, call: &Call<'_>, purpose: Purpose) -> Result<Request, UnmaskedValue<Failure>>;

    /// Interprets the answer to a poll.
    fn polled(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Polled>;

    /// Interprets the answer to a lookup.
    fn looked_up(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<LookedUp>;

    /// The provider's own id of the transaction that the call changes, and that another command
    /// made; `None` where the call changes no other transaction.
    fn affected(&self, call: &Call<'_>) -> Option<String>;

    /// Describes the request for an access token, which all other requests then must carry; `None`
    /// where the provider's scheme needs none.
    fn token_request(&self, timeout: Duration) -> Option<Request>;

    /// Reads the answer to the request for an access token.
    ///
    /// # Errors
    /// [`NoToken`]: the provider grants none, or its token endpoint is unreachable.
    fn token(&self, answer: &Answer) -> Result<AccessToken, UnmaskedValue<NoToken>>;

    /// Describes the harmless request that verifies the account's credentials; `None` where there
    /// is none, or where the request for an access token suffices.
    ///
    /// # Errors
    /// The failure, if an expression of the request has no value.
    fn verification_request(&self) -> Option<Result<Request, UnmaskedValue<Failure>>>;

    /// Interprets the answer to the request that verifies the credentials.
    fn verified(&self, answer: &Answer) -> UnmaskedValue<CredentialCheck>;
}

/// Verifies a provider's webhook calls.
///
/// No method has a default: a provider that forgets to verify does not compile.
pub trait Webhook: Send + Sync {
    /// Verifies at this time that a call is the provider's own.
    ///
    /// # Errors
    /// [`Unverified`]: the call must not be trusted.
    fn verify(&self, call: &RawCallback, now: Timestamp) -> Result<(), Unverified>;

    /// The address of the certificate that is needed to verify a call, to be fetched into
    /// [`RawCallback::certificate`]; `None` where none is needed, or where no certificate can make
    /// the call valid.
    fn certificate_url(&self, call: &RawCallback, now: Timestamp) -> Option<Url>;

    /// Returns false if every call is accepted, whoever made it.
    fn is_verifying(&self) -> bool;

    /// The answer to a call that only checks who owns the endpoint; `None` for every other call.
    /// Such a call is not published. [`receive`](super::webhook::receive) knows which of these calls must be
    /// verified first.
    fn challenge(&self, call: &RawCallback) -> Option<ChallengeReply>;

    /// The notices of a verified call; all of them or none.
    ///
    /// # Errors
    /// A description of the unreadable part, for people.
    fn notices(&self, call: &RawCallback) -> UnmaskedValue<Result<Vec<Notice>, String>>;

    /// Explains the verification of a call step by step, without any secret. If [`Webhook::verify`]
    /// refuses the call, a step has failed.
    fn explain(&self, call: &RawCallback, now: Timestamp) -> Vec<Step>;

    /// Signs a call as the provider would at this time, with everything that [`Webhook::verify`]
    /// checks.
    ///
    /// # Errors
    /// [`CannotSign`]: there is no key to sign with, or the call lacks a part that is signed.
    fn sign(
        &self,
        call: &RawCallback,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawCallback, CannotSign>;

    /// Warnings for operators about the weaknesses of the verification; one line each.
    fn cautions(&self, now: Timestamp) -> Vec<String>;
}

/// One call to be made: the input of a request.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
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
    /// The URL that the provider is asked to call; `None` where there is none.
    pub callback_url: Option<&'a str>,
    /// The token beside the command's id; empty where the request had none, `None` where it was
    /// sent by a version without tokens.
    pub command_token: Option<&'a str>,
    /// True where an earlier call of the generation may have acted.
    pub in_doubt: bool,
}
