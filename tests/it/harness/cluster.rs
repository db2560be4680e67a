//! A cluster of three RabbitMQ nodes, of which one can be killed, frozen, or isolated.

use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::BrokerNode;
use super::vhost::TestVhost;
use super::wait::eventually;

/// The number of nodes, the smallest with which a cluster survives the loss of one.
pub(crate) const NODES: usize = 3;

/// The longest time for a node that was away to be a full member again.
const MEMBER_WITHIN: Duration = Duration::from_mins(4);

/// Three nodes in one cluster. They end when this value is dropped or the test process ends.
pub(crate) struct TestCluster {
    nodes: [BrokerNode; NODES],
    /// The names of the nodes in the cluster.
    names: Vec<String>,
}

impl TestCluster {
    /// Starts the nodes, one after the other, and waits until each knows the others.
    pub(crate) async fn start() -> Self {
        let first = BrokerNode::private().await;
        let (second, third) = (first.joined().await, first.joined().await);
        let nodes = [first, second, third];
        let names =
            join_all(nodes.iter().map(async |node| node.eval("node()").await.trim().to_owned()))
                .await;
        let cluster = Self { nodes, names };
        cluster.await_members().await;
        cluster
    }

    /// Returns the node with this index.
    pub(crate) fn node(&self, place: usize) -> &BrokerNode {
        &self.nodes[place]
    }

    /// Returns the URIs of a virtual host, one for each node.
    pub(crate) fn uris(&self, vhost: &TestVhost) -> Vec<String> {
        self.nodes.iter().map(|node| vhost.uri_at(node.address())).collect()
    }

    /// Returns the index of the node that leads a queue or a stream.
    pub(crate) async fn leader(&self, vhost: &TestVhost, queue: &str) -> usize {
        let vhost = vhost.name();
        let found = self.nodes[0]
            .eval(&format!(
                r#"{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)),
                   case amqqueue:get_pid(Q) of {{_, Leader}} -> Leader; Writer -> node(Writer) end"#
            ))
            .await;
        self.names.iter().position(|name| name == found.trim()).unwrap()
    }

    /// Waits until every node runs, knows the others, and has its replicas of all queues and
    /// streams of a virtual host.
    pub(crate) async fn await_whole(&self, vhost: &TestVhost) {
        self.await_members().await;
        let vhost = vhost.name();
        let lacking = format!(
            r#"lists:sum([1 || Q <- rabbit_amqqueue:list(<<"{vhost}">>),
               [{{online, Online}}] <- [rabbit_amqqueue:info(Q, [online])], length(Online) < {NODES}])"#
        );
        let whole =
            async || (self.nodes[0].try_eval(&lacking).await.ok()?.trim() == "0").then_some(());
        eventually(MEMBER_WITHIN, "every queue has all its replicas", whole).await;
    }

    async fn await_members(&self) {
        // Renamed after RabbitMQ 3.10.
        let known = format!(
            "Running = case erlang:function_exported(rabbit_nodes, list_running, 0) of
               true -> rabbit_nodes:list_running(); false -> rabbit_nodes:all_running() end,
             length(Running) =:= {NODES} andalso rabbit_node_monitor:partitions() =:= []"
        );
        for node in &self.nodes {
            let probe = async || (node.try_eval(&known).await.ok()?.trim() == "true").then_some(());
            eventually(MEMBER_WITHIN, "a node knows the others", probe).await;
        }
    }

    /// Makes the queues declared so far survive [`BrokerNode::kill9`].
    pub(crate) async fn settle(&self) {
        join_all(self.nodes.iter().map(BrokerNode::settle)).await;
    }

    /// Freezes a node, like a machine that hangs: its connections stay, and nothing answers.
    pub(crate) fn freeze(&self, place: usize) {
        kill(Pid::from_raw(self.nodes[place].pid()), Signal::SIGSTOP).unwrap();
    }

    /// Lets a frozen node go on.
    pub(crate) fn thaw(&self, place: usize) {
        kill(Pid::from_raw(self.nodes[place].pid()), Signal::SIGCONT).unwrap();
    }

    /// Isolates a node from the others; its clients still reach it. The nodes no longer accept each
    /// other's cookie, so that neither side can reopen the connections that are closed here.
    pub(crate) async fn isolate(&self, place: usize) {
        self.set_cookie(place, "no_cookie_of_theirs", "erlang:disconnect_node(Other)").await;
    }

    /// Lets an isolated node reach the others again.
    pub(crate) async fn reunite(&self, place: usize) {
        self.set_cookie(place, "erlang:get_cookie()", "true").await;
    }

    async fn set_cookie(&self, place: usize, cookie: &str, then: &str) {
        let others = self.names.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<_> = others.map(|(_, name)| format!("'{name}'")).collect();
        let others = others.join(", ");
        let each = format!(
            "[begin true = erlang:set_cookie(Other, {cookie}), {then} end || Other <- [{others}]]"
        );
        self.nodes[place].eval(&each).await;
    }
}
