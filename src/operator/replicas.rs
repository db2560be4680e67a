//! The replicas that queues and streams have, and those that they lack.
//!
//! A queue or stream that is declared while fewer nodes are up has fewer replicas for ever. AMQP
//! does not show this, and cannot add replicas.

use std::collections::BTreeSet;

use serde::Serialize;

use super::management::{ClusterNode, ListedQueue};

/// The number of replicas that RabbitMQ gives a quorum queue, where there are as many nodes.
const QUORUM_REPLICAS: usize = 3;

/// The kinds of queues that have replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicatedKind {
    /// A quorum queue: it lives as long as most of its replicas.
    Quorum,
    /// A stream: it is read at a node that has a replica.
    Stream,
}

/// A queue or stream that has fewer replicas than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LackingQueue {
    /// The name of the queue or stream.
    pub name: String,
    /// The kind of the queue or stream.
    pub kind: ReplicatedKind,
    /// The number of its replicas.
    pub replicas: usize,
    /// The nodes that run and are to have a replica too.
    pub lacking_at: Vec<String>,
}

/// The replicas of a topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaReport {
    /// The nodes of the cluster.
    pub nodes: Vec<String>,
    /// The nodes that do not run.
    pub down: Vec<String>,
    /// Queues and streams with fewer replicas than nodes, and quorum queues with fewer than three.
    pub lacking: Vec<LackingQueue>,
    /// Queues and streams for which the broker reports no replicas (yet).
    pub unknown: Vec<String>,
    /// Commands for a shell on a node of the broker, which add the replicas that are lacking.
    pub commands: Vec<String>,
}

impl ReplicaReport {
    /// Holds the queues of these `names` against the nodes of the cluster.
    #[must_use]
    pub fn new<'a>(
        vhost: &str,
        names: impl IntoIterator<Item = &'a str>,
        nodes: &[ClusterNode],
        queues: &[ListedQueue],
    ) -> Self {
        let (mut lacking, mut unknown) = (Vec::new(), Vec::new());
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            let listed = queues.iter().find(|queue| queue.name == name);
            let kind = match listed.map(|queue| queue.r#type.as_str()) {
                Some("quorum") => ReplicatedKind::Quorum,
                Some("stream") => ReplicatedKind::Stream,
                // It exists with other arguments, and has no replicas.
                Some(_) => continue,
                None => {
                    unknown.push(name.to_owned());
                    continue;
                }
            };
            match listed.and_then(|queue| queue.members.as_deref()) {
                Some(members) => lacking.extend(find_lack(name, kind, members, nodes)),
                None => unknown.push(name.to_owned()),
            }
        }
        let down =
            nodes.iter().filter(|node| !node.running).map(|node| node.name.clone()).collect();
        let commands = commands(vhost, &lacking);
        Self {
            nodes: nodes.iter().map(|node| node.name.clone()).collect(),
            down,
            lacking,
            unknown,
            commands,
        }
    }
}

fn find_lack(
    name: &str,
    kind: ReplicatedKind,
    members: &[String],
    nodes: &[ClusterNode],
) -> Option<LackingQueue> {
    let wanted = match kind {
        ReplicatedKind::Quorum => nodes.len().min(QUORUM_REPLICAS),
        ReplicatedKind::Stream => nodes.len(),
    };
    let missing = wanted.checked_sub(members.len()).filter(|missing| *missing > 0)?;
    let without = nodes.iter().filter(|node| node.running && !members.contains(&node.name));
    let lacking_at = without.take(missing).map(|node| node.name.clone()).collect();
    Some(LackingQueue { name: name.to_owned(), kind, replicas: members.len(), lacking_at })
}

/// One command for all quorum queues of a node, and one for each stream and node.
fn commands(vhost: &str, lacking: &[LackingQueue]) -> Vec<String> {
    let nodes: BTreeSet<_> = lacking.iter().flat_map(|queue| &queue.lacking_at).collect();
    let mut commands = Vec::new();
    for node in nodes {
        let of = |kind| {
            lacking
                .iter()
                .filter(move |queue| queue.kind == kind && queue.lacking_at.contains(node))
        };
        let quorum: Vec<_> =
            of(ReplicatedKind::Quorum).map(|queue| escape_pattern(&queue.name)).collect();
        if !quorum.is_empty() {
            let [vhost, names] = [escape_pattern(vhost), quorum.join("|")]
                .map(|pattern| quote(&format!("^({pattern})$")));
            let node = quote(node);
            commands.push(format!(
                "rabbitmq-queues grow {node} all --vhost-pattern {vhost} --queue-pattern {names}"
            ));
        }
        for stream in of(ReplicatedKind::Stream) {
            let [vhost, name, node] = [vhost, &stream.name, node].map(quote);
            commands.push(format!("rabbitmq-streams add_replica --vhost {vhost} {name} {node}"));
        }
    }
    commands
}

/// A regular expression that matches a text and nothing else.
fn escape_pattern(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if r"\^$.|?*+()[]{}".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// A text as one word of a shell's command line.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._/-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
