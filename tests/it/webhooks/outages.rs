//! Tests that the broker or ferryd dies, is away or full: every call answered with 2xx is in the
//! queue, and no other call is answered so.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::net::TcpStream;

use super::{GOOD, PATH, QUEUE, endpoint, post, read_all, request, round_trip};
use crate::harness::broker::TestBroker;
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, word};

/// The number of connections that call at the same time.
const CALLERS: usize = 48;

/// The number of accepted calls before the broker is killed, and again once it is back.
const BURST: usize = 2_000;

async fn works_again(address: SocketAddr) {
    eventually(SOON, "calls are taken", async || {
        (post(address, "after").await.status == 200).then_some(())
    })
    .await;
}

/// Makes a call that must be refused with a problem of these kinds, so that the provider repeats
/// it.
async fn refused(address: SocketAddr, kinds: &[&str]) {
    let start = Instant::now();
    let answer = post(address, "refused").await;
    assert_eq!(answer.status, 503);
    assert!(kinds.contains(&answer.kind().as_str()), "{}", answer.kind());
    assert!(answer.headers["retry-after"].parse::<u32>().unwrap() > 0);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn while_the_broker_is_away_or_full_calls_are_refused_and_then_taken_again() {
    let node = BrokerNode::private().await;
    let rig = TestRig::on(&node, "", &[("acme", SandboxFile::default())]).await.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    assert_eq!(post(address, "before").await.status, 200);
    node.settle().await;

    node.set_memory_alarm(true).await;
    // The first may be on its way before the broker blocks publishers.
    for _ in 0..3 {
        refused(address, &["not-confirmed"]).await;
    }
    node.set_memory_alarm(false).await;
    works_again(address).await;

    node.stop().await;
    refused(address, &["broker-away", "not-confirmed"]).await;
    refused(address, &["broker-away"]).await;
    node.start().await;
    works_again(address).await;

    let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    let bodies: Vec<_> =
        read_all(&broker).await.into_iter().map(|webhook| webhook.call.body).collect();
    assert!(bodies.iter().any(|body| body == "before"));
    assert!(bodies.iter().filter(|body| *body == "after").count() >= 2, "{bodies:?}");
    assert!(daemon.exit_status().is_none());
}

#[tokio::test]
async fn over_a_network_that_stalls_calls_are_refused_in_time_and_then_taken_again() {
    let rig = TestRig::new("").await.called_back().await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    assert_eq!(post(address, "before").await.status, 200);
    proxy.pause();
    let refusals = (0..20).map(|_| refused(address, &["not-confirmed"]));
    join_all(refusals).await;
    proxy.resume();
    works_again(address).await;
    // Calls on their way come as well, though no request waits for them.
    let all = async || (rig.broker.depth(QUEUE).await >= Some(22)).then_some(());
    eventually(SOON, "everything is in the queue", all).await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn what_was_answered_is_in_the_queue_once_though_ferryd_is_killed_at_once() {
    let rig = TestRig::new("").await.called_back().await;
    let mut answered = 0;
    for _ in 0..3 {
        let daemon = rig.start().await;
        let address = endpoint(&daemon).await;
        let bodies: Vec<_> =
            (answered..answered + 40).map(|number| format!("call-{number}")).collect();
        let answers = join_all(bodies.iter().map(|body| post(address, body))).await;
        daemon.kill9();
        assert!(answers.iter().all(|answer| answer.status == 200));
        answered += answers.len();
        let webhooks = rig.webhooks().await;
        let kept: BTreeSet<_> = webhooks.iter().map(|webhook| &webhook.call.body).collect();
        assert_eq!((kept.len(), webhooks.len()), (answered, answered));
        // The calls that were read are back in the queue.
        rig.broker.await_depth(QUEUE, u32::try_from(answered).unwrap()).await;
    }
}

#[tokio::test]
async fn what_was_answered_is_in_the_queue_once_though_the_broker_is_killed_at_once() {
    let node = BrokerNode::private().await;
    let rig = TestRig::on(&node, "", &[("acme", SandboxFile::default())]).await.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    node.settle().await;
    let bodies: Vec<_> = (0..40).map(|number| format!("call-{number}")).collect();
    let answers = join_all(bodies.iter().map(|body| post(address, body))).await;
    node.kill9().await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    node.start().await;
    let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    broker.await_depth(QUEUE, 40).await;
    let kept: BTreeSet<_> =
        read_all(&broker).await.into_iter().map(|webhook| webhook.call.body).collect();
    assert_eq!(kept.len(), 40);
}

#[tokio::test]
async fn stopping_ends_calls_in_flight_with_their_answer() {
    let rig = TestRig::new("").await.called_back().await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri).env("FERRYD_LOG", "info,ferryd::web=debug");
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let mut kept_alive = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        round_trip(&mut kept_alive, &request("POST", PATH, GOOD, b"first")).await.unwrap().status,
        200
    );
    proxy.pause();
    let calls: Vec<_> = (0..8)
        .map(|number| tokio::spawn(async move { post(address, &format!("{number}")).await }))
        .collect();
    // ferryd holds them while it waits for confirms.
    daemon.wait_for_logs(9, SOON, |line| line["message"] == "publishing a webhook").await;
    daemon.sigterm();
    daemon
        .wait_for_log(SOON, |line| word(line, "message").starts_with("stopping: no new work"))
        .await;
    proxy.resume();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    let late = round_trip(&mut kept_alive, &request("POST", PATH, GOOD, b"late")).await;
    assert!(late.is_none_or(|answer| answer.status == 503));
    assert!(daemon.wait(SOON).await.success());
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(rig.broker.depth(QUEUE).await, Some(9));
}

/// The calls and answers of many callers.
#[derive(Default)]
struct CallerTally {
    taken: Mutex<BTreeSet<String>>,
    refused: AtomicUsize,
    enough: AtomicBool,
}

impl CallerTally {
    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    async fn await_taken(&self, count: usize) {
        eventually(SOON, "calls are taken", async || (self.taken() >= count).then_some(())).await;
    }

    /// Calls again and again over one connection, and over the next where that is lost.
    async fn call(&self, address: SocketAddr, caller: usize) {
        let (mut number, mut connection) = (0, None);
        while !self.enough.load(Ordering::Relaxed) {
            let Some(tcp) = &mut connection else {
                connection = TcpStream::connect(address).await.ok();
                continue;
            };
            number += 1;
            let body = format!("{caller}-{number}");
            match round_trip(tcp, &request("POST", PATH, GOOD, body.as_bytes())).await {
                Some(answer) if answer.status == 200 => _ = self.taken.lock().unwrap().insert(body),
                Some(answer) => {
                    assert_eq!(answer.status, 503, "{}", answer.kind());
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                None => connection = None,
            }
        }
    }
}

#[tokio::test]
async fn of_a_burst_over_a_kill_of_the_broker_every_answered_call_is_in_the_queue() {
    let node = BrokerNode::private().await;
    let rig = TestRig::on(
        &node,
        "[webhooks]\ntrusted_proxies = [\"127.0.0.1\"]",
        &[("acme", SandboxFile::default())],
    )
    .await;
    let rig = rig.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    node.settle().await;
    let tally = CallerTally::default();
    let story = async {
        tally.await_taken(BURST).await;
        node.kill9().await;
        node.start().await;
        tally.await_taken(tally.taken() + BURST).await;
        tally.enough.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all((0..CALLERS).map(|caller| tally.call(address, caller))), story);
    let (taken, refused) = (tally.taken.into_inner().unwrap(), tally.refused.into_inner());
    let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    let messages = broker.peek(QUEUE).await;
    let kept: BTreeSet<_> = messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    assert!(refused > 0, "the broker was not away");
    assert_eq!(taken.difference(&kept).collect::<Vec<_>>(), Vec::<&String>::new());
    // Only the calls under way when the broker died, and those that no request waited for any more,
    // have copies.
    let most = taken.len() + refused + CALLERS;
    assert!(
        messages.len() <= most,
        "{} kept of {} taken and {refused} refused",
        messages.len(),
        taken.len()
    );
}
