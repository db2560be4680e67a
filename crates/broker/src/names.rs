//! The names of ferryd's exchanges and queues.

use std::sync::Arc;

use ferryd_domain::name::Name;
use ferryd_domain::retry::Rung;

/// Returns the first word of the routing key under which a message waits on a rung, of a retry
/// group where the provider has one. The broker returns the message under the same key, so its
/// queue is bound by the words after it.
#[must_use]
pub fn rung_word(group: Option<&Name>, rung: Rung) -> String {
    group.map_or_else(|| rung.name().to_owned(), |group| format!("{}-{group}", rung.name()))
}

/// The names of ferryd's exchanges and queues, all under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyNames {
    prefix: Name,
    exchanges: Arc<ExchangeNames>,
}

/// The names that every message is compared with or published under.
#[derive(Debug, PartialEq, Eq)]
struct ExchangeNames {
    commands: String,
    retry: String,
    redeliver: String,
    poison: String,
    events: String,
}

impl TopologyNames {
    /// Creates the names under a prefix.
    #[must_use]
    pub fn new(prefix: Name) -> Self {
        let name = |rest: &str| format!("{prefix}.{rest}");
        let exchanges = Arc::new(ExchangeNames {
            commands: name("commands"),
            retry: name("retry"),
            redeliver: name("redeliver"),
            poison: name("poison"),
            events: name("events"),
        });
        Self { prefix, exchanges }
    }

    fn name(&self, rest: &str) -> String {
        [self.prefix.as_str(), ".", rest].concat()
    }

    /// Names the exchange to which the core application publishes commands.
    #[must_use]
    pub fn commands(&self) -> &str {
        &self.exchanges.commands
    }

    /// Names a provider's queue of commands.
    #[must_use]
    pub fn commands_of(&self, provider: &Name) -> String {
        self.name(&format!("commands.{provider}"))
    }

    /// Names the exchange of commands that wait for their next attempt.
    #[must_use]
    pub fn retry(&self) -> &str {
        &self.exchanges.retry
    }

    /// Names the delay queue of a rung: that of a retry group, or the one that all providers
    /// without a group share.
    #[must_use]
    pub fn retry_of(&self, group: Option<&Name>, rung: Rung) -> String {
        match group {
            Some(group) => self.name(&format!("retry.{group}.{}", rung.name())),
            None => self.name(&format!("retry.{}", rung.name())),
        }
    }

    /// Names the exchange that returns commands to their provider's queue, from the ladder and from
    /// replays.
    #[must_use]
    pub fn redeliver(&self) -> &str {
        &self.exchanges.redeliver
    }

    /// Names the exchange of dead letters.
    #[must_use]
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// Names a provider's queue of dead letters.
    #[must_use]
    pub fn dead_of(&self, provider: &Name) -> String {
        self.name(&format!("dead.{provider}"))
    }

    /// Names the exchange and queue of dead letters that belong to no provider.
    #[must_use]
    pub fn dead_other(&self) -> String {
        self.name("dead.other")
    }

    /// Names the exchange and queue of messages that were delivered too often.
    #[must_use]
    pub fn poison(&self) -> &str {
        &self.exchanges.poison
    }

    /// Names the exchange and queue of messages that fit no binding.
    #[must_use]
    pub fn unroutable(&self) -> String {
        self.name("unroutable")
    }

    /// Names the exchange of verified webhooks.
    #[must_use]
    pub fn webhooks(&self) -> String {
        self.name("webhooks")
    }

    /// Names a provider's queue of webhooks.
    #[must_use]
    pub fn webhooks_of(&self, provider: &Name) -> String {
        self.name(&format!("webhooks.{provider}"))
    }

    /// Names the exchange and queue of webhooks that no queue takes, or that were delivered
    /// too often. No provider may be named `dead`.
    #[must_use]
    pub fn webhooks_dead(&self) -> String {
        self.name("webhooks.dead")
    }

    /// Names the exchange to which ferryd publishes events.
    #[must_use]
    pub fn events(&self) -> &str {
        &self.exchanges.events
    }

    /// Names the stream of the ledger.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.name("ledger")
    }

    /// Names the stream of calls: requests and answers.
    #[must_use]
    pub fn calls(&self) -> String {
        self.name("calls")
    }

    /// Returns a key of the ledger of these names at a broker, which no other ledger has.
    #[must_use]
    pub fn ledger_key(&self, address: &str) -> String {
        format!("{address} {}", self.prefix)
    }

    /// Returns true if a queue or exchange name is under the prefix: a `reply_to` must not be.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.prefix.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }
}
