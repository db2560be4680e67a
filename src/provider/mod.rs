//! Providers: the outside services ferryd calls, each described by a TOML file.
//!
//! An [`Adapter`] describes the request of a call and interprets the answer to it. It is pure and synchronous: it opens no
//! connection, reads no clock, and everything it needs is handed to it. [`crate::transport`] does the I/O. What it reads is
//! [`UnmaskedValue`], and opened by the mask of whoever made the call.

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
    /// The failure, of kind `invalid`, where the command does not hold what the request needs. Nothing has been sent then.
    fn request(&self, call: &Call<'_>) -> Result<Request, UnmaskedValue<Failure>>;

    /// Says how much money a command asks for; `None` where nothing says so.
    fn money(&self, call: &Call<'_>) -> Option<MoneyAmount>;

    /// Says what came of the call.
    fn interpret(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Outcome>;

    /// Describes the request of a question about a call.
    ///
    /// # Errors
    /// The failure, where the command or what is known of it does not hold what the request needs, or where the provider
    /// can't be asked that.
    fn inquire(&self, call: &Call<'_>, purpose: Purpose) -> Result<Request, UnmaskedValue<Failure>>;

    /// Says what came of a poll.
    fn polled(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<Polled>;

    /// Says what came of a lookup.
    fn looked_up(&self, call: &Call<'_>, answer: &Answer) -> UnmaskedValue<LookedUp>;

    /// The provider's own id for what another command did, and this one changes; `None` where it changes nothing of another's.
    fn affected(&self, call: &Call<'_>) -> Option<String>;

    /// Describes the request for an access token, which every other request then has to carry; `None` where requests carry
    /// already all that authorises them.
    fn token_request(&self, timeout: Duration) -> Option<Request>;

    /// Reads the answer to it.
    ///
    /// # Errors
    /// [`NoToken`]: the provider grants none, or its token endpoint can't be reached.
    fn token(&self, answer: &Answer) -> Result<AccessToken, UnmaskedValue<NoToken>>;

    /// Describes the harmless request by which the account's credentials are tried; `None` where there is none, or where the
    /// request for an access token is all of it.
    ///
    /// # Errors
    /// The failure, where an expression of the request has no value.
    fn verification_request(&self) -> Option<Result<Request, UnmaskedValue<Failure>>>;

    /// Says what the answer to it means for the credentials.
    fn verified(&self, answer: &Answer) -> UnmaskedValue<CredentialCheck>;
}

/// Believes or refuses a provider's webhook calls.
///
/// No method has a default: a provider that forgets to verify does not compile.
pub trait Webhook: Send + Sync {
    /// Whether a call is the provider's own, at this time.
    ///
    /// # Errors
    /// [`Unverified`]: it is not to be believed.
    fn verify(&self, call: &RawCallback, now: Timestamp) -> Result<(), Unverified>;

    /// The address of the certificate that a call has to be verified with, to be fetched into [`RawCallback::certificate`]; `None`
    /// where none is needed, or none can make the call good.
    fn certificate_url(&self, call: &RawCallback, now: Timestamp) -> Option<Url>;

    /// False where every call is taken, whoever made it.
    fn is_verifying(&self) -> bool;

    /// What to answer where the provider only asks whether the endpoint is really its owner's; `None` for every other call.
    /// A call that is answered so is not published. [`webhook::receive`] knows which calls have to be verified before.
    fn challenge(&self, call: &RawCallback) -> Option<ChallengeReply>;

    /// What a verified call tells; all of it or nothing.
    ///
    /// # Errors
    /// What can't be read, for people.
    fn notices(&self, call: &RawCallback) -> UnmaskedValue<Result<Vec<Notice>, String>>;

    /// The verification of a call told step by step, without any secret. Where [`Webhook::verify`] refuses it, a step has failed.
    fn explain(&self, call: &RawCallback, now: Timestamp) -> Vec<Step>;

    /// The call as the provider would send it at this time: with everything that [`Webhook::verify`] looks for.
    ///
    /// # Errors
    /// [`CannotSign`]: there is no key to sign with, or the call lacks what is signed.
    fn sign(
        &self,
        call: &RawCallback,
        now: Timestamp,
        private_key: Option<&PrivateKey>,
    ) -> Result<RawCallback, CannotSign>;

    /// What an operator should know about how little a verified call proves; one line each.
    fn cautions(&self, now: Timestamp) -> Vec<String>;
}

/// One call to be made: what a request is rendered from.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The command; its operation exists at this provider, its payload matches the operation's schema.
    pub command: &'a Command,
    /// The key, at operations that take one.
    pub key: Option<&'a IdempotencyKey>,
    /// The generation.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
    /// The provider's own id for what it does, once it has told it.
    pub provider_reference: Option<&'a str>,
    /// The URL for the provider to call about it; `None` where there is none.
    pub callback_url: Option<&'a str>,
    /// The token beside the command's id; empty where there is none, `None` where the request was sent by a version that knew
    /// none.
    pub command_token: Option<&'a str>,
    /// True where an earlier call of the generation may have acted.
    pub in_doubt: bool,
}

/// One configured provider.
pub struct Provider {
    /// Its name: a word of routing keys and queue names.
    pub name: Name,
    /// Its type.
    pub kind: Name,
    /// Whose credentials it can be called with; there is at least one.
    pub accounts: BTreeMap<Name, Arc<Account>>,
    /// Makes and reads its callback URLs; `None` where it has no endpoint, or the daemon no address or no key for them.
    pub links: Option<Links>,
    /// Makes and reads the tokens beside its commands' ids; `None` where the daemon has no key for them.
    pub echo_tokens: Option<EchoTokens>,
    /// True where the provider's file names `command_token`.
    pub names_command_token: bool,
    /// What it can do.
    pub operations: BTreeMap<Name, Operation>,
    /// How it is reached.
    pub http: HttpSettings,
    /// The most calls at the same time for each account.
    pub max_in_flight: u16,
    /// The most bytes of commands being worked on at the same time.
    pub max_bytes_in_flight: usize,
    /// The group on whose rungs its messages wait; `None` for those that providers without a group share.
    pub retry_group: Option<Name>,
    /// What the exchange log shows.
    pub log: LogSettings,
    /// The folder of its account files; `None` where it is one account by itself.
    pub accounts_dir: Option<PathBuf>,
    /// The harmless request by which credentials are tried, for people: `GET /v1/balance`; `None` where its file has none.
    pub verification: Option<String>,
}

impl Provider {
    /// Verifies the webhook calls of an account; `None` where there is no such endpoint.
    #[must_use]
    pub fn webhook(&self, account: &Name) -> Option<&Arc<dyn Webhook>> {
        self.accounts.get(account)?.webhook.as_ref()
    }

    /// The endpoint of an account, or of another one that stands in for an account that does not exist; `None` where the provider
    /// has no endpoint.
    #[must_use]
    pub fn called_webhook(&self, account: &Name) -> Option<CalledWebhook<'_>> {
        let known = self.webhook(account).map(CalledWebhook::OfAccount);
        let stand_in = || self.accounts.values().find_map(|account| account.webhook.as_ref());
        known.or_else(|| stand_in().map(CalledWebhook::StandIn))
    }

    /// The account that commands mean which name none; `None` where there is no such account.
    #[must_use]
    pub fn default_account(&self) -> Option<&Arc<Account>> {
        self.accounts.get(&Name::default_account())
    }

    /// Makes the mask for the calls of an account.
    #[must_use]
    pub fn mask_of(&self, account: &Account) -> Mask {
        Mask::new(&account.secrets, &self.log.mask)
    }

    /// Makes the mask for a call to an account; for an account that does not exist that of all accounts.
    #[must_use]
    pub fn mask_of_called(&self, account: &Name) -> Mask {
        self.accounts.get(account).map_or_else(|| self.mask_of_all(), |account| self.mask_of(account))
    }

    /// Makes the mask for messages and calls of which nobody knows the account: it hides the secrets of all accounts.
    #[must_use]
    pub fn mask_of_all(&self) -> Mask {
        let secrets: Vec<_> = self.accounts.values().flat_map(|account| account.secrets.iter().cloned()).collect();
        Mask::new(&secrets, &self.log.mask)
    }

    /// Whether it has endpoints for webhook calls.
    #[must_use]
    pub fn is_called_back(&self) -> bool {
        self.accounts.values().any(|account| account.webhook.is_some())
    }
}

/// What a provider can do.
pub struct Operation {
    /// How calls are made repeatable; `None` where the provider offers nothing.
    pub idempotency: Option<Idempotency>,
    /// The most time for a call.
    pub timeout: Duration,
    /// How often and how long it is tried.
    pub retry: RetryPolicy,
    /// How long the provider may take to finish what it has accepted.
    pub deadline: Duration,
    /// How it is polled meanwhile; `None` where it can't be.
    pub poll: Option<PollPolicy>,
    /// What a lookup is worth; `None` where there is none.
    pub lookup: Option<LookupPolicy>,
    /// Checks a payload; says what is wrong, one line for each fault.
    pub payload: PayloadSchema,
    /// True where its request may be made again whatever came of it: it only asks for something (GET; RFC 9110, 9.2.1), or its file
    /// says that another one does no harm.
    pub repeatable: bool,
}

impl Operation {
    /// The remedies that the provider offers against doubt about the operation's calls, for a command that has come so
    /// far.
    #[must_use]
    pub fn remedies(&self, progress: &Progress) -> Remedies {
        Remedies { idempotency: self.idempotency, lookup: progress.askable(self.lookup) }
    }
}

/// What a provider offers against doubt about whether it acted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remedies {
    /// To be called again without acting again.
    pub idempotency: Option<Idempotency>,
    /// To be asked.
    pub lookup: Option<LookupPolicy>,
}

/// A provider's promise to act once under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// For how long it remembers a key.
    pub retention: Duration,
    /// The most characters of a key.
    pub max_length: Option<usize>,
}

/// How a provider is reached over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most time for DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// The largest response body that is read, in bytes.
    pub response_cap: usize,
}

/// What the exchange log shows of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether bodies are logged at all.
    pub bodies: bool,
    /// Names of fields whose values are masked, at any depth of a body and in the query.
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
