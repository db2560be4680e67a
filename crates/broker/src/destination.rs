//! The destinations of messages: each has a link, and a channel of that link.
//!
//! A message whose queue is in trouble must hold up only messages to the same destination. So every
//! destination has a channel of its own: each queue that ferryd publishes to, and the events of
//! each provider.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::message::OutgoingMessage;
use super::topology::{QueueArgument, Topology};

/// The destination of messages whose provider is none of the configured ones.
const OTHER: &str = "other";

/// A connection to the broker on which messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkPurpose {
    /// The streams: records of the ledger, and records of calls to providers.
    Ledger,
    /// The messages that ferryd itself consumes again, and dead letters.
    Continuations,
    /// Events and replies, which subscribers and requesters read.
    Events,
    /// Webhooks on their way into their queues.
    Webhooks,
}

impl LinkPurpose {
    /// All purposes.
    pub const ALL: [Self; 4] = [Self::Ledger, Self::Continuations, Self::Events, Self::Webhooks];

    /// Returns the name of the purpose in the connection's name at the broker.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "publish-ledger",
            Self::Continuations => "publish-continuations",
            Self::Events => "publish-events",
            Self::Webhooks => "publish-webhooks",
        }
    }

    /// Returns true where ferryd itself makes all headers of the messages, and few: the others take
    /// over those of a publisher.
    pub(super) fn has_few_headers(self) -> bool {
        matches!(self, Self::Ledger | Self::Events)
    }
}

/// The destination that messages share if the same trouble at the broker holds them up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishDestination {
    /// The link that leads to the destination.
    pub link: LinkPurpose,
    /// The name of a queue, or of an exchange and a provider.
    pub name: String,
}

impl fmt::Display for PublishDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The part of a message's address that decides on its destination: messages with the same one have
/// the same destination. There are few, whatever routing keys messages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DestinationAddress<'m> {
    pub(super) exchange: &'m str,
    /// A word of the routing key that the topology has, or that stands for all others.
    pub(super) word: &'m str,
}

/// Finds the destination of a message by the topology. The number of destinations is bounded by the
/// topology, whatever routing keys messages have.
#[derive(Debug, Clone, Default)]
pub(super) struct DestinationMap {
    providers: HashSet<String>,
    streams: HashSet<String>,
    /// The queues of rungs, by the first word of the routing keys that lead there.
    rungs: HashMap<String, String>,
}

impl DestinationMap {
    pub(super) fn new(topology: &Topology) -> Self {
        let mut map = Self::default();
        for queue in &topology.queues {
            if queue.arguments.get("x-queue-type")
                == Some(&QueueArgument::Text("stream".to_owned()))
            {
                map.streams.insert(queue.name.clone());
            }
            if let Some((_, provider)) = queue.name.split_once(".commands.") {
                map.providers.insert(provider.to_owned());
            }
        }
        // The prefix is a name, and names have no dot.
        let leads_to_rung =
            |exchange: &str| exchange.split_once('.').is_some_and(|(_, rest)| rest == "retry");
        for binding in topology.bindings.iter().filter(|binding| leads_to_rung(&binding.exchange)) {
            let word = binding.key.trim_end_matches(".#");
            map.rungs.insert(word.to_owned(), binding.queue.clone());
        }
        map
    }

    /// Finds the part of a message's address that decides on its destination.
    pub(super) fn address<'m>(&'m self, message: &'m OutgoingMessage) -> DestinationAddress<'m> {
        let (exchange, key) = (message.exchange.as_str(), message.routing_key.as_str());
        let word = |number: usize| key.split('.').nth(number).unwrap_or_default();
        let word = match exchange.split_once('.').map(|(_, rest)| rest) {
            None => self.streams.get(key).map_or("", String::as_str),
            Some("events" | "redeliver" | "commands") => self.provider(word(1)),
            Some("webhooks") => self.provider(word(0)),
            Some("retry") => self.rungs.get_key_value(word(0)).map_or(OTHER, |(rung, _)| rung),
            Some("dead") => self.provider(key),
            Some(_) => "",
        };
        DestinationAddress { exchange, word }
    }

    /// Returns the destination of the messages with an address.
    pub(super) fn destination(
        &self,
        DestinationAddress { exchange, word }: DestinationAddress<'_>,
    ) -> PublishDestination {
        let to = |link, name: String| PublishDestination { link, name };
        let Some((prefix, rest)) = exchange.split_once('.') else {
            return match word {
                "" => to(LinkPurpose::Events, "replies".to_owned()),
                stream => to(LinkPurpose::Ledger, stream.to_owned()),
            };
        };
        match rest {
            "events" => to(LinkPurpose::Events, format!("{exchange} {word}")),
            "webhooks" => to(LinkPurpose::Webhooks, format!("{exchange}.{word}")),
            "webhooks.dead" => to(LinkPurpose::Webhooks, exchange.to_owned()),
            "retry" => {
                let rung = self.rungs.get(word).cloned();
                to(LinkPurpose::Continuations, rung.unwrap_or_else(|| format!("{exchange}.{word}")))
            }
            "dead" => to(LinkPurpose::Continuations, format!("{exchange}.{word}")),
            // Both exchanges lead into the provider's queue of commands.
            "redeliver" | "commands" => {
                to(LinkPurpose::Continuations, format!("{prefix}.commands.{word}"))
            }
            // All exchanges have ferryd's own names.
            _ => to(LinkPurpose::Continuations, exchange.to_owned()),
        }
    }

    fn provider<'w>(&self, word: &'w str) -> &'w str {
        if self.providers.contains(word) { word } else { OTHER }
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::ShortString;

    use super::*;
    use crate::topology::{SubscriberQueue, TopologyNames};
    use ferryd_domain::name::Name;

    fn destination(exchange: &str, key: &str) -> (LinkPurpose, String) {
        let names = TopologyNames::new("ferry".parse().unwrap());
        let providers: [Name; 2] = ["stripe", "adyen"].map(|name| name.parse().unwrap());
        let subscriber =
            SubscriberQueue { queue: "shop.events".to_owned(), bindings: vec!["#".to_owned()] };
        let topology = Topology::new(&names, &providers, [], &[subscriber])
            .with_webhooks(&names, &providers)
            .with_retry_groups(&names, [&"slow".parse().unwrap()]);
        let [exchange, routing_key] = [exchange, key].map(ShortString::from);
        let message = OutgoingMessage {
            exchange,
            routing_key,
            properties: BasicProperties::default(),
            body: Vec::new(),
        };
        let map = DestinationMap::new(&topology);
        let found = map.destination(map.address(&message));
        (found.link, found.name)
    }

    #[test]
    fn messages_share_a_channel_only_where_the_same_queue_would_hold_them_up() {
        use LinkPurpose::{Continuations, Events, Ledger, Webhooks};
        for (exchange, key, link, name) in [
            ("", "ferry.ledger", Ledger, "ferry.ledger"),
            ("", "ferry.calls", Ledger, "ferry.calls"),
            ("", "shop.answers", Events, "replies"),
            ("", "amq.rabbitmq.reply-to.g1h2", Events, "replies"),
            ("ferry.events", "payment.stripe.charge.completed", Events, "ferry.events stripe"),
            ("ferry.events", "payment.adyen.charge.failed", Events, "ferry.events adyen"),
            ("ferry.retry", "5s.stripe", Continuations, "ferry.retry.5s"),
            ("ferry.retry", "12h.adyen", Continuations, "ferry.retry.12h"),
            ("ferry.retry", "5s-slow.stripe", Continuations, "ferry.retry.slow.5s"),
            ("ferry.retry", "5s-slow.stripe.default", Continuations, "ferry.retry.slow.5s"),
            ("ferry.redeliver", "back.stripe", Continuations, "ferry.commands.stripe"),
            ("ferry.commands", "payment.stripe.charge", Continuations, "ferry.commands.stripe"),
            ("ferry.dead", "stripe", Continuations, "ferry.dead.stripe"),
            ("ferry.dead", "adyen", Continuations, "ferry.dead.adyen"),
            ("ferry.webhooks", "stripe.default", Webhooks, "ferry.webhooks.stripe"),
            ("ferry.webhooks", "adyen.eu", Webhooks, "ferry.webhooks.adyen"),
            ("ferry.webhooks.dead", "stripe.default", Webhooks, "ferry.webhooks.dead"),
        ] {
            assert_eq!(destination(exchange, key), (link, name.to_owned()), "{exchange} {key}");
        }
    }

    #[test]
    fn made_up_words_of_routing_keys_make_no_destinations_of_their_own() {
        for (exchange, key, name) in [
            ("ferry.events", "payment.x1.charge.failed", "ferry.events other"),
            ("ferry.events", "", "ferry.events other"),
            ("ferry.dead", "unknown", "ferry.dead.other"),
            ("ferry.commands", "payment.any.charge", "ferry.commands.other"),
            ("ferry.retry", "7s.stripe", "ferry.retry.other"),
        ] {
            assert_eq!(destination(exchange, key).1, name, "{exchange} {key}");
        }
    }
}
