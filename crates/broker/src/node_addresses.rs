//! The addresses of a cluster's nodes, and the choice of the one that is tried first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::uri::AMQPUri;

/// The addresses of the nodes of one cluster, or of the only node: never none. All lead to the same
/// virtual host as the same user.
#[derive(Clone)]
pub struct NodeAddresses {
    first: AMQPUri,
    others: Vec<AMQPUri>,
    /// The place of the node that was last connected to, at random before; shared by all copies.
    latest: Arc<AtomicUsize>,
}

impl NodeAddresses {
    /// Creates the list of addresses in their order.
    #[must_use]
    pub fn new(first: AMQPUri, others: Vec<AMQPUri>) -> Self {
        let latest = rand::random_range(0..=others.len());
        Self { first, others, latest: Arc::new(AtomicUsize::new(latest)) }
    }

    /// Returns the first address. All addresses have its user and virtual host.
    #[must_use]
    pub fn first(&self) -> &AMQPUri {
        &self.first
    }

    /// Lists the addresses in their order.
    pub fn iter(&self) -> impl Iterator<Item = &AMQPUri> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Returns the number of addresses.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns the place of the address that was last connected to. Instances that start together
    /// begin at different nodes.
    pub(super) fn latest(&self) -> usize {
        self.latest.load(Ordering::Relaxed)
    }

    /// Sets the place at which the next round begins.
    pub(super) fn prefer(&self, place: usize) {
        self.latest.store(place % self.count(), Ordering::Relaxed);
    }

    /// Returns the address at a place alone. Places beyond the last begin anew.
    pub(super) fn only_at(&self, place: usize) -> Self {
        self.at(place).clone().into()
    }

    /// Lists every address with its place, beginning with the one that was connected to last.
    pub(super) fn next_round(&self) -> impl Iterator<Item = (usize, &AMQPUri)> {
        let latest = self.latest();
        (latest..latest + self.count()).map(|place| (place, self.at(place)))
    }

    fn at(&self, place: usize) -> &AMQPUri {
        let place = place % self.count();
        place.checked_sub(1).and_then(|other| self.others.get(other)).unwrap_or(&self.first)
    }
}

impl From<AMQPUri> for NodeAddresses {
    fn from(only: AMQPUri) -> Self {
        Self::new(only, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> NodeAddresses {
        let [first, second, third] =
            ["one", "two", "three"].map(|host| format!("amqp://{host}/%2f").parse().unwrap());
        NodeAddresses::new(first, vec![second, third])
    }

    fn hosts<'a>(round: impl Iterator<Item = (usize, &'a AMQPUri)>) -> Vec<&'a str> {
        round.map(|(_, uri)| uri.authority.host.as_str()).collect()
    }

    #[test]
    fn a_round_tries_every_node_once_and_begins_with_the_one_that_was_reached_last() {
        let addresses = addresses();
        for (latest, round) in [
            (0, ["one", "two", "three"]),
            (1, ["two", "three", "one"]),
            (5, ["three", "one", "two"]),
        ] {
            addresses.clone().prefer(latest);
            assert_eq!(hosts(addresses.next_round()), round, "{latest}");
        }
        assert_eq!(hosts(addresses.only_at(4).next_round()), ["two"]);
        assert_eq!(addresses.first().authority.host, "one");
    }

    #[test]
    fn instances_that_begin_together_begin_at_different_nodes() {
        let begun: std::collections::BTreeSet<_> = (0..200).map(|_| addresses().latest()).collect();
        assert_eq!(begun, [0, 1, 2].into());
    }
}
