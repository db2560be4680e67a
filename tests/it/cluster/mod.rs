//! Kills, freezes and isolates nodes of a cluster of three, with two daemons and publishers with
//! confirm, and tests that nothing is lost or done twice. Takes ten minutes: `make test-cluster`
//! runs it.

mod ends;
mod publisher;
mod replicas;

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::harness::cluster::{NODES, TestCluster};
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::load::file;
use crate::rig::{SOON, TestRig};
use ends::{EndsSubscriber, SeenEnds};
use publisher::{ConfirmedCommand, publish_steadily};

/// The number of times that the leading node of a queue or a stream is killed.
const KILLS: usize = 10;
/// The time for which a node is frozen.
const FROZEN: Duration = Duration::from_mins(2);
/// The time for which a node is isolated from the others.
const APART: Duration = Duration::from_mins(1);
/// The interval between two commands of each publisher. There is one publisher for each node.
const PACE: Duration = Duration::from_millis(100);
/// The number of ends that have to come before the next loss: a few seconds of them.
const GOES_ON: usize = 60;
/// The longest gap between ends when a node is lost, in the median.
const GAP: Duration = Duration::from_secs(2);
/// The longest wait for ends: where a node was lost, retries can stand still for a while.
const LONG: Duration = Duration::from_mins(5);

/// The way in which a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeLoss {
    /// The node is killed, and started again once the others have recovered.
    Killed,
    /// The node hangs with its connections open, as a machine does that swaps or is paused. An
    /// orderly stop is not tested: it closes all connections, which is easier, and looks like a
    /// kill to the others.
    Frozen,
    /// The node and its clients reach each other, but not the other nodes.
    CutOff,
}

/// A load that goes on while nodes fail.
struct LossTrial {
    cluster: TestCluster,
    rig: TestRig,
    seen: SeenEnds,
    /// After each loss: the longest time without an end until the cluster was whole again.
    gaps: Vec<Duration>,
}

impl LossTrial {
    /// Waits for the ends of a few seconds of the load.
    async fn await_ends(&self) {
        let so_far = self.seen.count();
        eventually(LONG, "commands end", async || {
            (self.seen.count() > so_far + GOES_ON).then_some(())
        })
        .await;
    }

    /// Fails the node that leads a queue or a stream, and recovers it.
    async fn lose_leader(&mut self, loss: NodeLoss, queue: &str) {
        let leader = self.cluster.leader(&self.rig.vhost, queue).await;
        let (node, at) = (self.cluster.node(leader), Instant::now());
        match loss {
            NodeLoss::Killed => {
                node.kill9().await;
                self.await_ends().await;
                node.start().await;
            }
            NodeLoss::Frozen => {
                self.cluster.freeze(leader);
                sleep_until(at + FROZEN).await;
                self.cluster.thaw(leader);
                // A node that comes back that late may not find the others by itself: a person
                // starts it again.
                node.kill9().await;
                node.start().await;
            }
            NodeLoss::CutOff => {
                self.cluster.isolate(leader).await;
                sleep_until(at + APART).await;
                self.cluster.reunite(leader).await;
            }
        }
        self.cluster.await_whole(&self.rig.vhost).await;
        self.await_ends().await;
        let gap = self.seen.longest_gap(at, Instant::now());
        let (gap_ms, whole_s) = (gap.as_millis(), at.elapsed().as_secs());
        eprintln!(
            "{loss:?}, node {leader}, the leader of {queue}: {gap_ms} ms without an end, over after {whole_s} s"
        );
        self.gaps.push(gap);
    }

    /// Compares the ends of the commands with the guarantees. Returns the number of commands that
    /// ended more than once: their event was published again by a process that could not know of
    /// the first.
    async fn verify(&self, confirmed: &[ConfirmedCommand]) -> usize {
        let ended = async || {
            confirmed.iter().all(|command| !self.seen.of(&command.id).is_empty()).then_some(())
        };
        eventually(LONG, "every command ends", ended).await;
        let counted = self.rig.sandbox.calls();
        let mut repeated = 0;
        for ConfirmedCommand { id, has_key, .. } in confirmed {
            let (ends, calls) =
                (self.seen.of(id), counted.ids.get(id).copied().unwrap_or_default());
            let details = format!("{id}: {ends:?} {calls:?}\n{:#?}", self.rig.events.of(id));
            assert!(ends.iter().all(|(state, _)| state == "completed"), "{details}");
            assert_eq!(calls.acted, 1, "{details}");
            assert!(*has_key || calls.calls == 1, "called twice without a key: {details}");
            repeated += usize::from(ends.len() > 1);
        }
        repeated
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes ten minutes; `make test-cluster` runs it"]
async fn a_cluster_that_loses_its_leaders_loses_no_command_and_nothing_is_acted_upon_twice() {
    let cluster = TestCluster::start().await;
    let rig = TestRig::on(cluster.node(0), "", &file("max_in_flight = 24")).await;
    let uris = cluster.uris(&rig.vhost);
    let rig = rig.env("FERRYD_AMQP__URI", "").env("FERRYD_AMQP__URIS", &uris.join(","));
    let daemons: Vec<RunningDaemon> =
        join_all([rig.setup.start_ready(), rig.setup.start_ready()]).await;
    let subscriber = EndsSubscriber::follow(&uris).await;
    cluster.settle().await;
    let stop = CancellationToken::new();
    let publishers = (0..NODES).map(|place| {
        let uris = uris.iter().cycle().skip(place).take(NODES).cloned().collect();
        tokio::spawn(publish_steadily(format!("from-{place}"), uris, PACE, stop.clone()))
    });
    let publishers: Vec<_> = publishers.collect();
    let mut trial = LossTrial { cluster, rig, seen: subscriber.seen.clone(), gaps: Vec::new() };
    trial.await_ends().await;
    for kill in 0..KILLS {
        trial
            .lose_leader(NodeLoss::Killed, ["ferry.commands.acme", "ferry.ledger"][kill % 2])
            .await;
    }
    trial.lose_leader(NodeLoss::Frozen, "ferry.commands.acme").await;
    trial.lose_leader(NodeLoss::CutOff, "ferry.ledger").await;
    stop.cancel();
    let confirmed: Vec<_> =
        join_all(publishers).await.into_iter().flat_map(Result::unwrap).collect();
    let repeated = trial.verify(&confirmed).await;
    let slowest = confirmed.iter().map(|command| command.within).max().unwrap_or_default();
    let mut gaps = trial.gaps.clone();
    gaps.sort_unstable();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let numbers = [median, longest, slowest].map(|time| time.as_millis());
    let commands = confirmed.len();
    eprintln!(
        "{commands} commands, {repeated} of them with a repeated end; ms without an end: median {}, longest {}; slowest confirm {} ms",
        numbers[0], numbers[1], numbers[2]
    );
    assert!(median <= GAP, "{gaps:?}");
    for daemon in &daemons {
        assert!(daemon.exit_status().is_none() && !daemon.log_text().contains("panicked"));
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
    }
}
