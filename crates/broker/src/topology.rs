//! The topology as data: every exchange, queue and binding that ferryd uses. It is declared at
//! start, and printed by `ferryd topology export`.
//!
//! Queue arguments are constants of a queue's name, because RabbitMQ refuses to change them. Values
//! that operators tune (lengths, retention) belong in policies, which a client can't declare: the
//! definitions hold those of the streams. `docs/ARCHITECTURE.md` draws the picture.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

pub use super::names::{TopologyNames, rung_word};
use ferryd_domain::name::Name;
use ferryd_domain::retry::Rung;

/// A delivery limit that is never reached: showing a dead letter counts as a delivery.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The number of deliveries of a command after which the broker takes it for poison. A lost
/// connection counts for every prefetched message, so this leaves room for a bad day.
const COMMAND_DELIVERY_LIMIT: i64 = 50;

/// The number of deliveries of a webhook after which the broker dead-letters it.
const WEBHOOK_DELIVERY_LIMIT: i64 = 50;

/// The retention of the ledger, in RabbitMQ's form, where `ledger.duplicate_window` in the
/// configuration is not known.
const LEDGER_MAX_AGE: &str = "60D";

/// The retention of the stream of calls, in RabbitMQ's form.
pub const CALLS_MAX_AGE: &str = "7D";

/// The size of a segment of a stream, in bytes. The broker drops whole segments, and checks their
/// age when it begins one: so messages past the retention stay until as much has been written.
/// RabbitMQ's own 500 MB are months of a quiet stream.
pub const SEGMENT_BYTES: u64 = 20_000_000;

/// The kind of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Routes by pattern.
    Topic,
    /// Routes by equality.
    Direct,
    /// Routes to every binding.
    Fanout,
}

impl ExchangeKind {
    /// Returns the name of the kind in AMQP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
        }
    }
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerExchange {
    /// The name of the exchange.
    pub name: String,
    /// The kind of routing.
    pub kind: ExchangeKind,
    /// The exchange for messages that fit no binding; without one they are dropped.
    pub alternate: Option<String>,
}

impl BrokerExchange {
    fn new(name: impl Into<String>, kind: ExchangeKind, alternate: Option<String>) -> Self {
        Self { name: name.into(), kind, alternate }
    }
}

/// The value of a queue argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueArgument {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// A durable queue: a quorum queue or a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerQueue {
    /// The name of the queue.
    pub name: String,
    /// The `x-` arguments of the queue.
    pub arguments: BTreeMap<&'static str, QueueArgument>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueBinding {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// The binding key.
    pub key: String,
}

/// A subscriber's queue on the events exchange, declared so that it exists before the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberQueue {
    /// The queue's name.
    pub queue: String,
    /// The binding keys of the queue, such as `payment.#`.
    pub bindings: Vec<String>,
}

/// The broker's policy for the queues of a name, set by operators and not by clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePolicy {
    /// The name of the queue, which is also that of the policy.
    pub queue: String,
    /// The retention of the queue's messages, such as `60D`.
    pub max_age: String,
}

/// The whole topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// The exchanges.
    pub exchanges: Vec<BrokerExchange>,
    /// The queues.
    pub queues: Vec<BrokerQueue>,
    /// The bindings.
    pub bindings: Vec<QueueBinding>,
    /// The policies: printed, never declared.
    pub policies: Vec<QueuePolicy>,
}

impl Topology {
    /// Builds the topology for a set of providers, routes (type to provider) and subscribers.
    #[must_use]
    pub fn new<'a>(
        names: &TopologyNames,
        providers: impl IntoIterator<Item = &'a Name>,
        routes: impl IntoIterator<Item = (&'a Name, &'a Name)>,
        subscribers: &[SubscriberQueue],
    ) -> Self {
        let mut topology = Self::default();
        topology.add_exchanges(names);
        topology.add_shared_queues(names);
        topology.add_stream(names.ledger(), LEDGER_MAX_AGE);
        topology.add_stream(names.calls(), CALLS_MAX_AGE);
        for provider in providers {
            topology.add_provider(names, provider);
        }
        for (kind, provider) in routes {
            topology.bind(names.commands(), names.commands_of(provider), format!("{kind}.any.#"));
        }
        for SubscriberQueue { queue, bindings } in subscribers {
            topology.queue(queue.clone(), NO_DELIVERY_LIMIT, []);
            for key in bindings {
                topology.bind(names.events(), queue.clone(), key.clone());
            }
        }
        topology
    }

    /// Adds a queue of webhooks for each of these providers.
    #[must_use]
    pub fn with_webhooks<'a>(
        mut self,
        names: &TopologyNames,
        providers: impl IntoIterator<Item = &'a Name>,
    ) -> Self {
        for provider in providers {
            let webhooks = names.webhooks_of(provider);
            self.queue(
                webhooks.clone(),
                WEBHOOK_DELIVERY_LIMIT,
                dead_letters_to(names.webhooks_dead()),
            );
            self.bind(names.webhooks(), webhooks.clone(), format!("{provider}.*"));
            // Webhooks that wait until their command is known return by this exchange.
            self.bind(names.redeliver(), webhooks, format!("*.{provider}.*"));
        }
        self
    }

    /// Adds rungs for each of these retry groups; a group that is named more than once has them
    /// once.
    #[must_use]
    pub fn with_retry_groups<'a>(
        mut self,
        names: &TopologyNames,
        groups: impl IntoIterator<Item = &'a Name>,
    ) -> Self {
        for group in groups.into_iter().collect::<BTreeSet<_>>() {
            self.add_rungs(names, Some(group));
        }
        self
    }

    /// Adds a policy that keeps the ledger for as long as duplicates have to be recognised.
    #[must_use]
    pub fn with_duplicate_window(mut self, names: &TopologyNames, window: Duration) -> Self {
        let ledger = names.ledger();
        for policy in self.policies.iter_mut().filter(|policy| policy.queue == ledger) {
            policy.max_age = max_age(window);
        }
        self
    }

    /// Builds the topology of the ledger's stream alone, for a program that reads and writes only
    /// that.
    #[must_use]
    pub fn of_ledger(names: &TopologyNames) -> Self {
        let mut topology = Self::default();
        topology.add_stream(names.ledger(), LEDGER_MAX_AGE);
        topology
    }

    /// Returns the exchange of dead letters, if the topology has one.
    #[must_use]
    pub fn dead_letters(&self) -> Option<&str> {
        self.exchanges
            .iter()
            .find(|exchange| exchange.kind == ExchangeKind::Direct)
            .map(|exchange| exchange.name.as_str())
    }

    fn add_exchanges(&mut self, names: &TopologyNames) {
        self.exchanges = vec![
            BrokerExchange::new(names.unroutable(), ExchangeKind::Fanout, None),
            BrokerExchange::new(names.dead_other(), ExchangeKind::Fanout, None),
            BrokerExchange::new(names.poison(), ExchangeKind::Fanout, None),
            BrokerExchange::new(names.commands(), ExchangeKind::Topic, Some(names.unroutable())),
            BrokerExchange::new(names.retry(), ExchangeKind::Topic, Some(names.unroutable())),
            BrokerExchange::new(names.redeliver(), ExchangeKind::Topic, Some(names.unroutable())),
            BrokerExchange::new(names.dead(), ExchangeKind::Direct, Some(names.dead_other())),
            BrokerExchange::new(names.events(), ExchangeKind::Topic, None),
            BrokerExchange::new(names.webhooks_dead(), ExchangeKind::Fanout, None),
            BrokerExchange::new(names.webhooks(), ExchangeKind::Topic, Some(names.webhooks_dead())),
        ];
    }

    fn add_shared_queues(&mut self, names: &TopologyNames) {
        let poison = names.poison().to_owned();
        let own = [names.unroutable(), names.dead_other(), poison, names.webhooks_dead()];
        for name in own {
            self.queue(name.clone(), NO_DELIVERY_LIMIT, []);
            self.bind(name.clone(), name, String::new());
        }
        self.add_rungs(names, None);
    }

    fn add_rungs(&mut self, names: &TopologyNames, group: Option<&Name>) {
        for rung in Rung::all() {
            let name = names.retry_of(group, rung);
            let ttl = i64::try_from(rung.duration().as_millis()).unwrap_or(i64::MAX);
            let mut arguments = dead_letters_to(names.redeliver()).to_vec();
            arguments.push(("x-message-ttl", QueueArgument::Number(ttl)));
            self.queue(name.clone(), NO_DELIVERY_LIMIT, arguments);
            self.bind(names.retry(), name, format!("{}.#", rung_word(group, rung)));
        }
    }

    /// Adds a stream. The default exchange publishes to it, under its own name.
    fn add_stream(&mut self, name: String, max_age: &'static str) {
        let arguments =
            BTreeMap::from([("x-queue-type", QueueArgument::Text("stream".to_owned()))]);
        self.queues.push(BrokerQueue { name: name.clone(), arguments });
        self.policies.push(QueuePolicy { queue: name, max_age: max_age.to_owned() });
    }

    fn add_provider(&mut self, names: &TopologyNames, provider: &Name) {
        let commands = names.commands_of(provider);
        self.queue(commands.clone(), COMMAND_DELIVERY_LIMIT, dead_letters_to(names.poison()));
        self.bind(names.commands(), commands.clone(), format!("*.{provider}.#"));
        self.bind(names.redeliver(), commands, format!("*.{provider}"));
        let dead = names.dead_of(provider);
        self.queue(dead.clone(), NO_DELIVERY_LIMIT, []);
        self.bind(names.dead(), dead, provider.to_string());
    }

    fn queue(
        &mut self,
        name: String,
        limit: i64,
        more: impl IntoIterator<Item = (&'static str, QueueArgument)>,
    ) {
        let mut arguments = BTreeMap::from([
            ("x-queue-type", QueueArgument::Text("quorum".to_owned())),
            ("x-delivery-limit", QueueArgument::Number(limit)),
        ]);
        arguments.extend(more);
        self.queues.push(BrokerQueue { name, arguments });
    }

    fn bind(&mut self, exchange: impl Into<String>, queue: String, key: String) {
        self.bindings.push(QueueBinding { exchange: exchange.into(), queue, key });
    }

    /// Returns the part of RabbitMQ's definitions format that describes this topology in `vhost`
    /// (<https://www.rabbitmq.com/docs/definitions>).
    #[must_use]
    pub fn definitions(&self, vhost: &str) -> Value {
        let exchange = |exchange: &BrokerExchange| {
            let arguments = exchange
                .alternate
                .iter()
                .map(|name| ("alternate-exchange".to_owned(), json!(name)));
            json!({
                "name": exchange.name, "vhost": vhost, "type": exchange.kind.as_str(), "durable": true,
                "auto_delete": false, "internal": false, "arguments": arguments.collect::<Map<_, _>>(),
            })
        };
        let queue = |queue: &BrokerQueue| {
            let arguments =
                queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), value.to_json()));
            json!({
                "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": arguments.collect::<Map<_, _>>(),
            })
        };
        let binding = |binding: &QueueBinding| {
            json!({
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue, "destination_type": "queue",
                "routing_key": binding.key, "arguments": {},
            })
        };
        let policy = |policy: &QueuePolicy| {
            let pattern = format!("^{}$", policy.queue.replace('.', "\\."));
            json!({
                "vhost": vhost, "name": policy.queue, "pattern": pattern, "apply-to": "queues", "priority": 0,
                "definition": { "max-age": policy.max_age, "stream-max-segment-size-bytes": SEGMENT_BYTES },
            })
        };
        json!({
            "exchanges": self.exchanges.iter().map(exchange).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(queue).collect::<Vec<_>>(),
            "bindings": self.bindings.iter().map(binding).collect::<Vec<_>>(),
            "policies": self.policies.iter().map(policy).collect::<Vec<_>>(),
        })
    }
}

impl QueueArgument {
    fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Text(text) => json!(text),
        }
    }
}

/// Formats a time in RabbitMQ's form: whole days, else hours or seconds, never less than `time`.
#[must_use]
pub fn max_age(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        seconds if seconds.is_multiple_of(86_400) => format!("{}D", seconds / 86_400),
        seconds if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds => format!("{seconds}s"),
    }
}

/// Returns the arguments of a queue whose dead-lettering must not lose a message: the broker keeps
/// the message until the target confirms.
fn dead_letters_to(exchange: impl Into<String>) -> [(&'static str, QueueArgument); 3] {
    [
        ("x-dead-letter-exchange", QueueArgument::Text(exchange.into())),
        ("x-dead-letter-strategy", QueueArgument::Text("at-least-once".to_owned())),
        ("x-overflow", QueueArgument::Text("reject-publish".to_owned())),
    ]
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
