//! Tests that the broker dies, is down, or runs out of memory, while the daemon goes on.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use crate::harness::broker::TestBroker;
use crate::harness::node::BrokerNode;
use crate::harness::wait::eventually;
use crate::load::{CommandLoad, file};
use crate::rig::{SOON, SandboxFile, TestRig, send, word};

/// The duration of the broker's outage.
const OUTAGE: Duration = Duration::from_secs(20);

async fn rig(node: &BrokerNode) -> TestRig {
    TestRig::on(node, "", &file("max_in_flight = 24")).await
}

async fn provider_works(rig: &TestRig, calls: u64) {
    let working = async || (rig.sandbox.calls().concurrent >= calls).then_some(());
    eventually(SOON, "the provider works", working).await;
}

/// Fails where a known outcome became unknown. No daemon died: each recognises every repeated
/// delivery as one that it works on or has ended. Only a delivery that the broker counted and never
/// sent out looks like one that another instance had begun.
async fn nothing_known_became_unknown(rig: &TestRig, load: &CommandLoad) {
    for id in load.verify(rig).await {
        assert_eq!(rig.calls(&id).calls, 0, "{id} was known: {:#?}", rig.events.of(&id));
    }
}

#[tokio::test]
async fn a_broker_that_is_killed_three_times_under_load_loses_nothing_and_makes_nothing_known_unknown()
 {
    let node = BrokerNode::private().await;
    let rig = rig(&node).await;
    let daemon = rig.setup.start_ready().await;
    node.settle().await;
    let mut loads = Vec::new();
    for kill in 1..=3 {
        let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
        let mut before = CommandLoad::new(&format!("before-{kill}"), 6, "400ms");
        before.publish(&broker).await;
        assert_eq!(before.len(), 60);
        provider_works(&rig, 12).await;
        let mut during = CommandLoad::new(&format!("during-{kill}"), 20, "10ms");
        tokio::join!(during.publish(&broker), node.kill9());
        node.start().await;
        loads.extend([before, during]);
    }
    for load in &loads {
        nothing_known_became_unknown(&rig, load).await;
    }
    assert!(daemon.exit_status().is_none());
}

#[tokio::test]
async fn streams_that_change_their_leaders_under_load_lose_nothing() {
    let rig = rig(BrokerNode::shared().await).await;
    let daemon = rig.setup.start_ready().await;
    let mut loads = Vec::new();
    for round in 1..=3 {
        let mut load = CommandLoad::new(&format!("round-{round}"), 10, "100ms");
        load.publish(&rig.broker).await;
        assert_eq!(load.len(), 100);
        provider_works(&rig, 12).await;
        for stream in ["ferry.ledger", "ferry.calls"] {
            rig.vhost.kill_stream_leader(stream).await;
        }
        loads.push(load);
    }
    for load in &loads {
        assert_eq!(load.verify(&rig).await, Vec::<String>::new());
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_broker_that_is_down_for_a_while_is_waited_for_by_old_and_new_daemons() {
    let node = BrokerNode::private().await;
    let rig = rig(&node).await;
    let old = rig.setup.start_ready().await;
    node.settle().await;
    let mut load = CommandLoad::new("before", 3, "700ms");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 30);
    provider_works(&rig, 20).await;
    let end = Instant::now() + OUTAGE;
    node.stop().await;
    let new = rig.setup.start();
    new.wait_for_logs(4, SOON, |line| {
        line["message"] == "failed to connect to the broker; trying again"
    })
    .await;
    assert!(old.exit_status().is_none() && new.exit_status().is_none());
    sleep_until(end).await;
    node.start().await;
    new.wait_ready().await;
    // The daemon that reconnects first receives the deliveries of the other. To that daemon the
    // outcome is unknown.
    load.verify(&rig).await;
    let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    let mut after = CommandLoad::new("after", 3, "10ms");
    after.publish(&broker).await;
    assert_eq!(after.len(), 30);
    assert_eq!(after.verify(&rig).await, Vec::<String>::new());
    let both = async || (broker.consumers("ferry.commands.acme").await == 2).then_some(());
    eventually(SOON, "both daemons consume", both).await;
}

#[tokio::test]
async fn a_memory_alarm_holds_everything_and_repeats_nothing() {
    let node = BrokerNode::private().await;
    let rig = rig(&node).await;
    let daemon = rig.setup.start_ready().await;
    let mut load = CommandLoad::new("held", 4, "1s");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 40);
    provider_works(&rig, 20).await;
    node.set_memory_alarm(true).await;
    daemon
        .wait_for_log(SOON, |line| line["message"] == "the broker blocks publishers; waiting")
        .await;
    // A publish is given up after 10 s where nothing is blocked; this one has to wait as long as
    // the alarm lasts.
    let early = rig.events.first(Duration::from_secs(12), |event| event["subject"] == "held-39");
    assert!(timeout(Duration::from_secs(11), early).await.is_err(), "an event passed the alarm");
    node.set_memory_alarm(false).await;
    assert_eq!(load.verify(&rig).await, Vec::<String>::new());
    let mut ids: Vec<_> = rig.events.all().iter().map(|event| event["id"].to_string()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an event was published twice");
    assert_eq!(
        daemon.logs(|line| line["message"] == "connected").len(),
        1,
        "the link was given up"
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_holds_nothing_up() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let properties = crate::harness::broker::persistent().with_reply_to("core.gone".into());
    let command = send("answered", json!({}));
    let channel = rig.broker.channel().await;
    let (key, options) = ("payment.acme.send", BasicPublishOptions::default());
    let body = command.to_string();
    channel
        .basic_publish("ferry.commands".into(), key.into(), options, body.as_bytes(), properties)
        .await
        .unwrap();
    rig.terminal("answered").await;
    rig.finish(&daemon).await;
}

#[tokio::test]
#[ignore = "a cluster takes a quarter of a minute; `make chaos` runs it"]
async fn a_daemon_at_a_node_without_a_replica_of_the_ledger_names_the_command_that_mends_it() {
    let first = BrokerNode::private().await;
    let rig = TestRig::on(&first, "", &[("acme", SandboxFile::default())]).await;
    rig.declare().await;
    let second = first.joined().await;
    let at_second = rig.vhost.uri_at(second.address());
    let rig = rig.env("FERRYD_AMQP__URI", &at_second);
    let daemon = rig.setup.start();
    let add = "`rabbitmq-streams add_replica ferry.ledger <node>`";
    // RabbitMQ 3.10 breaks: its new node does not know the coordinator of streams. Later versions
    // report a missing replica.
    let named = |line: &Value| line["error"].as_str().is_some_and(|error| error.contains(add));
    daemon.wait_for_log(Duration::from_mins(3), named).await;
    // On RabbitMQ 3.10 the new node gets its replica only while no client tries to read there.
    let is_old = first.version().await < [3, 12, 0];
    let daemon = (!is_old).then_some(daemon);
    let name = second.eval("node()").await;
    rig.vhost
        .eval(&format!(
            r#"rabbit_stream_queue:add_replica(VHost, <<"ferry.ledger">>, {})"#,
            name.trim()
        ))
        .await;
    let coordinates = async || {
        let members =
            first.eval("catch ra:members({rabbit_stream_coordinator, node()}, 5000)").await;
        (!is_old || members.contains(name.trim())).then_some(())
    };
    eventually(
        Duration::from_mins(2),
        "the new node coordinates streams with the first",
        coordinates,
    )
    .await;
    let daemon = daemon.unwrap_or_else(|| rig.setup.start());
    daemon.wait_for_log(Duration::from_mins(2), |line| line["message"] == "ready").await;
    assert_eq!(word(&rig.carry(&send("mended", json!({}))).await, "data.state"), "completed");
}
