//! Tests partial failures of the link between daemon and broker: it stalls, a queue is deleted, the
//! broker closes a channel.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use tokio::time::timeout;

use crate::harness::broker::persistent;
use crate::harness::daemon::RunningDaemon;
use crate::harness::node::BrokerNode;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::load::{CommandLoad, file, notify, pay};
use crate::rig::{SOON, SandboxFile, TestRig, word};

const QUEUE: &str = "ferry.commands.acme";

/// The most commands in flight.
const IN_FLIGHT: usize = 12;

async fn rig() -> TestRig {
    TestRig::with("", &file("max_in_flight = 12")).await
}

async fn provider_works(rig: &TestRig, calls: u64) {
    let working = async || (rig.sandbox.calls().concurrent >= calls).then_some(());
    eventually(SOON, "the provider works", working).await;
}

async fn consumers(rig: &TestRig, count: u32) {
    let what = format!("the queue has {count} consumers");
    eventually(SOON, &what, async || (rig.broker.consumers(QUEUE).await == count).then_some(()))
        .await;
}

async fn session_lost(daemon: &RunningDaemon) {
    let lost = |text: &str| {
        text.contains("the session with the broker is over")
            || text.contains("connection to the broker failed")
    };
    daemon.wait_for_log(SOON, |line| line["message"].as_str().is_some_and(lost)).await;
}

/// Stalls the link, which the daemon notices by these settings within seconds.
async fn stall(settings: [(&str, &str); 2]) {
    let mut rig = rig().await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    for (name, value) in [("FERRYD_AMQP__URI", uri.as_str())].into_iter().chain(settings) {
        rig = rig.env(name, value);
    }
    let daemon = rig.start().await;
    let mut load = CommandLoad::new("stalled", 3, "300ms");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 30);
    provider_works(&rig, 10).await;
    proxy.pause();
    session_lost(&daemon).await;
    proxy.resume();
    // The broker counts the swallowed deliveries as delivered once: at most as many as can be in
    // flight.
    let unresolved = load.verify(&rig).await;
    assert!(unresolved.len() <= IN_FLIGHT, "{unresolved:?}");
    // No connection remains that the broker takes for alive and that holds deliveries for ever.
    consumers(&rig, 1).await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_stall_that_withholds_confirms_is_survived() {
    stall([("FERRYD_AMQP__PUBLISH_TIMEOUT", "1s"), ("FERRYD_AMQP__HEARTBEAT", "60s")]).await;
}

#[tokio::test]
async fn a_stall_that_withholds_heartbeats_is_survived() {
    stall([("FERRYD_AMQP__PUBLISH_TIMEOUT", "60s"), ("FERRYD_AMQP__HEARTBEAT", "1s")]).await;
}

#[tokio::test]
async fn cut_connections_make_nothing_unknown_that_the_daemon_works_on() {
    let rig = rig().await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    for cut in 1..=3 {
        // As many as can be in flight: all have arrived once all are being called.
        let commands: Vec<_> = (0..IN_FLIGHT)
            .map(|number| notify(&format!("{cut}-{number}"), json!({"latency": "1s"})))
            .collect();
        assert_eq!(rig.broker.publish_commands(&commands).await.len(), IN_FLIGHT);
        provider_works(&rig, IN_FLIGHT as u64).await;
        proxy.cut().await;
        for command in &commands {
            let id = word(command, "id");
            assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
            assert_eq!(rig.calls(id).calls, 1, "{id}");
        }
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn sessions_that_die_at_once_are_opened_again_after_growing_pauses() {
    let rig = rig().await;
    let proxy = TcpProxy::to(rig.vhost.address());
    let uri = rig.vhost.uri_at(proxy.address());
    let rig = rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = rig.start().await;
    let lines = |message: &'static str| daemon.logs(move |line| line["message"] == message);
    for session in 1..=3 {
        eventually(SOON, "the next session", async || {
            (lines("connected").len() >= session).then_some(())
        })
        .await;
        proxy.cut().await;
        let paused = async || {
            (lines("the session was short; connecting after a pause").len() >= session)
                .then_some(())
        };
        eventually(SOON, "the session is over", paused).await;
    }
    let pauses = lines("the session was short; connecting after a pause");
    let pauses: Vec<_> = pauses.iter().map(|line| line["pause_ms"].as_u64().unwrap()).collect();
    assert!(
        pauses.iter().zip([250, 500, 1_000]).all(|(pause, least)| *pause >= least),
        "{pauses:?}"
    );
    let event = rig.carry(&pay("after-all", json!({}))).await;
    assert_eq!(word(&event, "data.state"), "completed");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again_and_what_was_published_meanwhile_is_carried_out() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&pay("held", json!({"latency": "1s"}))).await;
    provider_works(&rig, 1).await;
    rig.broker.delete_queue(QUEUE).await;
    let mut load = CommandLoad::new("meanwhile", 2, "10ms");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 20);
    assert_eq!(load.verify(&rig).await, Vec::<String>::new());
    assert_eq!(word(&rig.terminal("held").await, "data.state"), "completed");
    consumers(&rig, 1).await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn deleted_exchanges_and_delay_queues_come_back_with_the_next_session() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let channel = rig.broker.channel().await;
    for exchange in ["ferry.retry", "ferry.dead", "ferry.redeliver"] {
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
    rig.broker.delete_queue("ferry.retry.1s").await;
    let mut load = CommandLoad::new("gone", 1, "10ms");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 10);
    load.verify(&rig).await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_channel_that_the_broker_closes_for_a_long_hold_is_opened_again_and_the_call_is_made_once()
 {
    let node = BrokerNode::private().await;
    // The broker closes a channel that holds a delivery for half an hour; this one does it after a
    // second.
    let impatient = "[application:set_env(rabbit, Key, Value) || \
                     {Key, Value} <- [{consumer_timeout, 1000}, {channel_tick_interval, 500}]]";
    node.eval(impatient).await;
    let rig = TestRig::on(&node, "", &file("max_in_flight = 12")).await;
    let daemon = rig.start().await;
    let commands =
        [notify("notified", json!({"latency": "3s"})), pay("paid", json!({"latency": "3s"}))];
    assert_eq!(rig.broker.publish_commands(&commands).await.len(), 2);
    let again =
        |line: &serde_json::Value| line["message"] == "the consumer is gone; consuming again";
    daemon.wait_for_log(SOON, again).await;
    for id in ["notified", "paid"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    assert_eq!(
        daemon.logs(|line| line["message"] == "connected").len(),
        1,
        "only the channel was closed"
    );
    consumers(&rig, 1).await;
    rig.finish(&daemon).await;
}

/// Holds a message of a queue of its own until the broker takes it back.
async fn hold_until_timed_out(rig: &TestRig) {
    let channel = rig.broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare("held".into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    rig.broker.publish("", "held", b"held", persistent()).await;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer =
        channel.basic_consume("held".into(), "".into(), options, arguments).await.unwrap();
    let held = consumer.next().await.unwrap().unwrap();
    let over = timeout(SOON, async { while let Some(Ok(_)) = consumer.next().await {} }).await;
    assert!(over.is_ok(), "the broker does not take back what is held");
    drop(held);
    rig.broker.delete_queue("held").await;
}

#[tokio::test]
async fn a_reader_of_the_ledger_to_which_nothing_comes_is_not_closed_for_what_it_has_read() {
    let node = BrokerNode::private().await;
    // The broker closes a channel that holds a delivery for half an hour; this one does it after
    // four seconds.
    let impatient = "[application:set_env(rabbit, Key, Value) || \
                     {Key, Value} <- [{consumer_timeout, 4000}, {channel_tick_interval, 500}]]";
    node.eval(impatient).await;
    let config = "log.filter = \"info,ferryd_broker::stream=debug\"";
    let rig = TestRig::on(&node, config, &[("acme", SandboxFile::default())]).await;
    let daemon = rig.start().await;
    rig.carry(&crate::rig::send("notified", json!({}))).await;
    // Every delivery of the reader is held longer than this message.
    for _ in 0..2 {
        hold_until_timed_out(&rig).await;
    }
    let gone = daemon.logs(|line| line["message"] == "the reader of a stream is gone");
    assert!(gone.is_empty(), "{}", daemon.log_text());
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn what_exists_with_other_arguments_is_used_as_it_is_with_a_warning() {
    let rig = TestRig::with("", &[("acme", SandboxFile::default())]).await;
    let channel = rig.broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(7));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    // Without the alternate exchange of ferryd's topology.
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Topic;
    channel
        .exchange_declare("ferry.commands".into(), kind, durable, FieldTable::default())
        .await
        .unwrap();
    let daemon = rig.start().await;
    for name in [QUEUE, "ferry.commands"] {
        let warned = |line: &serde_json::Value| line["level"] == "WARN" && line["name"] == name;
        daemon.wait_for_log(Duration::from_secs(1), warned).await;
    }
    let event = rig.carry(&crate::rig::charge("as-it-is", json!({}))).await;
    assert_eq!(word(&event, "data.state"), "completed");
    rig.finish(&daemon).await;
}
