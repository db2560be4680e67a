//! What ferryd's exchanges and queues are called.

use crate::domain::name::Name;
use crate::domain::retry::Rung;

/// The first word of the routing key under which a message waits on a rung, of a retry group where it has one. The broker gives
/// it back under the same key, so the words after it are what its queue is bound by.
#[must_use]
pub fn rung_word(group: Option<&Name>, rung: Rung) -> String {
    group.map_or_else(|| rung.name().to_owned(), |group| format!("{}-{group}", rung.name()))
}

/// The names of ferryd's exchanges and queues, all under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Name);

impl Names {
    /// The names under a prefix.
    #[must_use]
    pub fn new(prefix: Name) -> Self {
        Self(prefix)
    }

    fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.0)
    }

    /// Where the core application publishes commands.
    #[must_use]
    pub fn commands(&self) -> String {
        self.name("commands")
    }

    /// A provider's queue of commands.
    #[must_use]
    pub fn commands_of(&self, provider: &Name) -> String {
        self.name(&format!("commands.{provider}"))
    }

    /// Where commands are published to wait for their next attempt.
    #[must_use]
    pub fn retry(&self) -> String {
        self.name("retry")
    }

    /// The delay queue of a rung: that of a retry group, or the one that all share who have none.
    #[must_use]
    pub fn retry_of(&self, group: Option<&Name>, rung: Rung) -> String {
        match group {
            Some(group) => self.name(&format!("retry.{group}.{}", rung.name())),
            None => self.name(&format!("retry.{}", rung.name())),
        }
    }

    /// Where commands come back to their provider's queue, from the ladder and from replays.
    #[must_use]
    pub fn redeliver(&self) -> String {
        self.name("redeliver")
    }

    /// Where dead letters are published.
    #[must_use]
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// A provider's queue of dead letters.
    #[must_use]
    pub fn dead_of(&self, provider: &Name) -> String {
        self.name(&format!("dead.{provider}"))
    }

    /// Exchange and queue of dead letters that belong to no provider.
    #[must_use]
    pub fn dead_other(&self) -> String {
        self.name("dead.other")
    }

    /// Exchange and queue of messages that were delivered too often.
    #[must_use]
    pub fn poison(&self) -> String {
        self.name("poison")
    }

    /// Exchange and queue of messages that fit no binding.
    #[must_use]
    pub fn unroutable(&self) -> String {
        self.name("unroutable")
    }

    /// Exchange and queue of words to ferryd itself.
    #[must_use]
    pub fn control(&self) -> String {
        self.name("control")
    }

    /// Where webhook calls of providers are published that were verified.
    #[must_use]
    pub fn callbacks(&self) -> String {
        self.name("callbacks")
    }

    /// A provider's queue of webhook calls.
    #[must_use]
    pub fn callbacks_of(&self, provider: &Name) -> String {
        self.name(&format!("callbacks.{provider}"))
    }

    /// Exchange and queue of webhook calls that no queue takes, or that were delivered too often. No provider may be named
    /// `dead`.
    #[must_use]
    pub fn callbacks_dead(&self) -> String {
        self.name("callbacks.dead")
    }

    /// Where ferryd publishes events.
    #[must_use]
    pub fn events(&self) -> String {
        self.name("events")
    }

    /// The stream of decisions.
    #[must_use]
    pub fn ledger(&self) -> String {
        self.name("ledger")
    }

    /// The stream of requests and answers.
    #[must_use]
    pub fn exchanges(&self) -> String {
        self.name("exchanges")
    }

    /// What tells the ledger of these names at a broker from every other.
    #[must_use]
    pub fn ledger_key(&self, address: &str) -> String {
        format!("{address} {}", self.0)
    }

    /// Whether a queue or exchange name is under the prefix: a `reply_to` must not be.
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }
}
