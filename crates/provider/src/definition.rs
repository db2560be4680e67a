//! A configured provider, as its file defines it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::adapter::WebhookReceiver;
use super::payload::PayloadSchema;
use super::webhook::{CalledWebhook, InboundQueue};
use super::webhook_links::{EchoTokens, WebhookLinks};
use ferryd_domain::name::Name;
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{LookupPolicy, PollPolicy};
use ferryd_domain::retry::RetryPolicy;
use ferryd_redact::Mask;

/// One configured provider.
pub struct Provider {
    /// The provider's name: a word of routing keys and queue names.
    pub name: Name,
    /// The provider's type, such as `payment`.
    pub kind: Name,
    /// The accounts, each with its own credentials; there is at least one.
    pub accounts: BTreeMap<Name, Arc<Account>>,
    /// Makes and reads the provider's webhook URLs; `None` where the provider has no endpoint, or
    /// the configuration lacks an address or key for them.
    pub links: Option<WebhookLinks>,
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
    pub fn webhook(&self, account: &Name) -> Option<&Arc<dyn WebhookReceiver>> {
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

    /// Makes the mask for a webhook to an account; if the account does not exist, the mask of
    /// all accounts.
    #[must_use]
    pub fn mask_of_called(&self, account: &Name) -> Mask {
        self.accounts
            .get(account)
            .map_or_else(|| self.mask_of_all(), |account| self.mask_of(account))
    }

    /// Makes the mask for messages and calls whose account is unknown: the mask hides the secrets
    /// of all accounts.
    #[must_use]
    pub fn mask_of_all(&self) -> Mask {
        let secrets: Vec<_> =
            self.accounts.values().flat_map(|account| account.secrets.iter().cloned()).collect();
        Mask::new(&secrets, &self.log.mask)
    }

    /// Finds the queue of an account's answers at the provider's broker.
    #[must_use]
    pub fn inbound(&self, account: &Name) -> Option<&Arc<InboundQueue>> {
        self.accounts.get(account)?.inbound.as_ref()
    }

    /// Returns true if the provider has an endpoint for webhooks.
    #[must_use]
    pub fn has_endpoint(&self) -> bool {
        self.accounts.values().any(|account| account.webhook.is_some())
    }

    /// Returns true if the provider calls back, by webhooks or by messages: both are kept in its
    /// queue of webhooks.
    #[must_use]
    pub fn is_called_back(&self) -> bool {
        self.has_endpoint() || self.accounts.values().any(|account| account.inbound.is_some())
    }
}

/// An operation of a provider.
pub struct Operation {
    /// The provider's idempotency guarantee; `None` where the provider offers none.
    pub idempotency: Option<IdempotencyPolicy>,
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
    /// Returns the recovery options that the provider offers after a call with an unknown outcome,
    /// for a command with this progress.
    #[must_use]
    pub fn recovery_options(&self, progress: &GenerationProgress) -> RecoveryOptions {
        RecoveryOptions {
            idempotency: self.idempotency,
            lookup: progress.askable_lookup(self.lookup),
        }
    }
}

/// The provider's options for recovery where it is unknown whether the provider acted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// The idempotency guarantee, by which the call can be repeated without acting twice.
    pub idempotency: Option<IdempotencyPolicy>,
    /// The lookup, by which the provider can be queried.
    pub lookup: Option<LookupPolicy>,
}

/// A provider's guarantee to act only once under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyPolicy {
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
    pub max_response_size: usize,
}

/// The settings of a provider's call log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// True where bodies are logged.
    pub bodies: bool,
    /// The names of fields whose values are masked, at any depth of a body and in the query.
    pub mask: Vec<String>,
}
