//! Tests that the ledger loses its beginning, and instances their index, while commands are
//! carried out.

use std::fs;

use ferryd_broker::message::get_number;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use crate::harness::broker::TestBroker;
use crate::harness::node::BrokerNode;
use crate::harness::wait::eventually;
use crate::load::{CommandLoad, file};
use crate::rig::{SOON, TestRig};

/// Declares the ledger before ferryd does, with a retention that keeps hardly more than the segment
/// in use.
async fn declare_short(rig: &TestRig) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(200_000));
    arguments.insert("x-stream-max-segment-size-bytes".into(), AMQPValue::LongLongInt(100_000));
    let channel = rig.broker.channel().await;
    channel
        .queue_declare("ferry.ledger".into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
}

/// Returns the offset of the oldest message in the ledger.
async fn oldest(rig: &TestRig) -> i64 {
    let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    let channel = broker.channel().await;
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let consuming = channel.basic_consume(
        "ferry.ledger".into(),
        "".into(),
        BasicConsumeOptions::default(),
        arguments,
    );
    let first = timeout(SOON, consuming.await.unwrap().next()).await.unwrap().unwrap().unwrap();
    get_number(first.properties.headers().as_ref(), "x-stream-offset").unwrap()
}

#[tokio::test]
async fn a_ledger_that_loses_its_head_and_its_index_under_load_calls_nothing_twice() {
    let node = BrokerNode::private().await;
    let rig = TestRig::on(&node, "", &file("max_in_flight = 24")).await;
    declare_short(&rig).await;
    rig.declare().await;
    let mut loads = Vec::new();
    for round in 1..=4 {
        let daemon = rig.setup.start();
        let before = rig.sandbox.calls().total;
        let broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
        let mut load = CommandLoad::new(&format!("round-{round}"), 10, "20ms");
        load.publish(&broker).await;
        assert_eq!(load.len(), 100);
        let begun = async || (rig.sandbox.calls().total > before + 20).then_some(());
        eventually(SOON, "the provider has work", begun).await;
        if round == 2 {
            // Not killed: RabbitMQ 3.10 was seen not to recover a stream of such small segments
            // after that.
            node.stop().await;
            node.start().await;
        }
        daemon.kill9();
        loads.push(load);
        let index = rig.setup.path().join("state");
        if index.exists() {
            fs::remove_dir_all(index).unwrap();
        }
    }
    let last = rig.setup.start();
    for load in &loads {
        load.verify(&rig).await;
    }
    assert!(oldest(&rig).await > 0, "the head is still there");
    last.sigterm();
    assert!(last.wait(SOON).await.success());
}
