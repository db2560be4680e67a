//! Providers: the outside services that ferryd calls, each described by a TOML file.
//!
//! An [`Adapter`] describes the request of a call and interprets its answer. Adapters are pure and
//! synchronous: they open no connection and read no clock; everything they need is an argument.
//! [`crate::transport`] does the I/O. The data that an adapter reads is an [`UnmaskedValue`], which
//! the caller opens with a mask.

mod account;
pub mod catalog;
mod catalog_merge;
pub mod certificate;
pub mod example;
#[cfg(any(test, feature = "failpoints"))]
pub(crate) mod fake_webhook;
#[cfg(test)]
mod fixture;
pub mod link;
pub mod misnamed;
#[cfg(test)]
mod overrides_tests;
mod parse;
mod payload;
mod proof;
mod publishers;
pub mod registry;
mod rest;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

pub use self::account::{Account, account_schema};
use self::link::{EchoTokens, Links};
pub use self::parse::file_schema;
pub use self::payload::{PayloadSchema, SchemaError};
use self::webhook::{CalledWebhook, CannotSign, PrivateKey, Step};
use crate::domain::callback::{ChallengeReply, Notice, RawCallback, Unverified};
use crate::domain::command::Command;
use crate::domain::credentials::CredentialCheck;
use crate::domain::exchange::{Answer, Request};
use crate::domain::inquiry::{LookupPolicy, PollPolicy, Purpose};
use crate::domain::key::IdempotencyKey;
use crate::domain::money::MoneyAmount;
use crate::domain::name::Name;
use crate::domain::outcome::{Failure, LookedUp, Outcome, Polled};
use crate::domain::progress::Progress;
use crate::domain::retry::RetryPolicy;
use crate::domain::token::{AccessToken, NoToken};
use crate::redact::{Mask, UnmaskedValue};

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
    /// Such a call is not published. [`webhook::receive`] knows which of these calls must be
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

/// One configured provider.
pub struct Provider {
    /// The provider's name: a word of routing keys and queue names.
    pub name: Name,
    /// The provider's type, such as `payment`.
    pub kind: Name,
    /// The accounts, each with its own credentials; there is at least one.
    pub accounts: BTreeMap<Name, Arc<Account>>,
    /// Makes and reads the provider's callback URLs; `None` where the provider has no endpoint, or
    /// the configuration lacks an address or key for them.
    pub links: Option<Links>,
    /// Makes and verifies the tokens beside the ids of the provider's commands; `None` where the
    /// configuration has no key for them.
    pub echo_tokens: Option<EchoTokens>,
    /// True where the provider's file names `command_token`.
    pub names_command_token: bool,
    /// The operations that the provider offers.
    pub operations: BTreeMap<Name, Operation>,
    /// The settings of the provider's HTTP client.
    pub http: HttpSettings,
    /// The most calls at the same time for each account.
    pub max_in_flight: u16,
    /// The most bytes of commands that are processed at the same time.
    pub max_bytes_in_flight: usize,
    /// The retry group on whose rungs the provider's messages wait; `None` for the rungs that
    /// providers without a group share.
    pub retry_group: Option<Name>,
    /// The settings of the call log.
    pub log: LogSettings,
    /// The folder of the account files; `None` where the provider file itself is the only account.
    pub accounts_dir: Option<PathBuf>,
    /// The harmless request that verifies credentials, for people: `GET /v1/balance`; `None` where
    /// the file has none.
    pub verification: Option<String>,
}

impl Provider {
    /// Finds the webhook of an account; `None` where the provider has no endpoint or the account
    /// does not exist.
    #[must_use]
    pub fn webhook(&self, account: &Name) -> Option<&Arc<dyn Webhook>> {
        self.accounts.get(account)?.webhook.as_ref()
    }

    /// The endpoint of an account, or of another account in place of one that does not exist;
    /// `None` where the provider has no endpoint.
    #[must_use]
    pub fn called_webhook(&self, account: &Name) -> Option<CalledWebhook<'_>> {
        let known = self.webhook(account).map(CalledWebhook::OfAccount);
        let stand_in = || self.accounts.values().find_map(|account| account.webhook.as_ref());
        known.or_else(|| stand_in().map(CalledWebhook::StandIn))
    }

    /// The account of commands that name none; `None` where there is no such account.
    #[must_use]
    pub fn default_account(&self) -> Option<&Arc<Account>> {
        self.accounts.get(&Name::default_account())
    }

    /// Makes the mask for the calls of an account.
    #[must_use]
    pub fn mask_of(&self, account: &Account) -> Mask {
        Mask::new(&account.secrets, &self.log.mask)
    }

    /// Makes the mask for a webhook call to an account; if the account does not exist, the mask of
    /// all accounts.
    #[must_use]
    pub fn mask_of_called(&self, account: &Name) -> Mask {
        self.accounts.get(account).map_or_else(|| self.mask_of_all(), |account| self.mask_of(account))
    }

    /// Makes the mask for messages and calls whose account is unknown: the mask hides the secrets
    /// of all accounts.
    #[must_use]
    pub fn mask_of_all(&self) -> Mask {
        let secrets: Vec<_> = self.accounts.values().flat_map(|account| account.secrets.iter().cloned()).collect();
        Mask::new(&secrets, &self.log.mask)
    }

    /// Returns true if the provider has an endpoint for webhook calls.
    #[must_use]
    pub fn is_called_back(&self) -> bool {
        self.accounts.values().any(|account| account.webhook.is_some())
    }
}

/// An operation of a provider.
pub struct Operation {
    /// The provider's idempotency guarantee; `None` where the provider offers none.
    pub idempotency: Option<Idempotency>,
    /// The most time for a call.
    pub timeout: Duration,
    /// The retry policy of the operation's calls.
    pub retry: RetryPolicy,
    /// The time in which the provider has to finish an accepted command.
    pub deadline: Duration,
    /// The schedule of polls; `None` where the operation has no poll.
    pub poll: Option<PollPolicy>,
    /// The policy of lookups; `None` where the operation has no lookup.
    pub lookup: Option<LookupPolicy>,
    /// Validates payloads.
    pub payload: PayloadSchema,
    /// True where the request may be repeated whatever its outcome: it is a `GET` (RFC 9110,
    /// section 9.2.1), or the file says that a repetition does no harm.
    pub repeatable: bool,
}

impl Operation {
    /// The remedies that the provider offers against doubt about the operation's calls, for a
    /// command with this progress.
    #[must_use]
    pub fn remedies(&self, progress: &Progress) -> Remedies {
        Remedies { idempotency: self.idempotency, lookup: progress.askable(self.lookup) }
    }
}

/// The provider's remedies against doubt about whether it acted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remedies {
    /// The idempotency guarantee, by which the call can be repeated without acting twice.
    pub idempotency: Option<Idempotency>,
    /// The lookup, by which the provider can be queried.
    pub lookup: Option<LookupPolicy>,
}

/// A provider's guarantee to act only once under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// The time for which the provider remembers a key.
    pub retention: Duration,
    /// The most characters of a key.
    pub max_length: Option<usize>,
}

/// The settings of a provider's HTTPS connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most time for DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The largest response body that is read, in bytes.
    pub response_cap: usize,
}

/// The settings of a provider's call log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// True where bodies are logged.
    pub bodies: bool,
    /// The names of fields whose values are masked, at any depth of a body and in the query.
    pub mask: Vec<String>,
}

#[cfg(test)]
mod catalog_callback_tests;
#[cfg(test)]
mod catalog_inquiry_tests;
#[cfg(test)]
mod catalog_requests_tests;
#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod catalog_verification_tests;
#[cfg(test)]
mod constraint_tests;
#[cfg(test)]
mod docs_tests;
#[cfg(test)]
mod file_error_tests;
#[cfg(test)]
mod payload_limits;
