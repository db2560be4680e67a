//! The ledger loses its beginning, and instances their index, while commands are carried.

use std::fs;

use ferryd::amqp::message::number;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use crate::harness::broker::Broker;
use crate::harness::node::Node;
use crate::harness::wait::eventually;
use crate::load::{Load, file};
use crate::rig::{Rig, SOON};

/// A retention that keeps hardly more than the segment that is written to.
const POLICY: &str = r#"[{<<"max-length-bytes">>, 200000}, {<<"stream-max-segment-size-bytes">>, 100000}]"#;

async fn bound_ledger(node: &Node, rig: &Rig) {
    let uri = rig.vhost.uri();
    let vhost = uri.rsplit('/').next().unwrap();
    let set = format!(
        r#"ok = rabbit_policy:set(<<"{vhost}">>, <<"short">>, <<"^ferry.ledger$">>, {POLICY}, 0, <<"queues">>, <<"ferry">>)"#
    );
    node.eval(&set).await;
}

/// The place of the oldest message that the ledger has.
async fn oldest(rig: &Rig) -> i64 {
    let broker = Broker::connect_eventually(&rig.vhost.uri()).await;
    let channel = broker.channel().await;
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let consuming = channel.basic_consume("ferry.ledger".into(), "".into(), BasicConsumeOptions::default(), arguments);
    let first = timeout(SOON, consuming.await.unwrap().next()).await.unwrap().unwrap().unwrap();
    number(first.properties.headers().as_ref(), "x-stream-offset").unwrap()
}

#[tokio::test]
async fn a_ledger_that_loses_its_head_and_its_index_under_load_calls_nothing_twice() {
    let node = Node::private().await;
    let rig = Rig::on(&node, "", &file("max_in_flight = 24")).await;
    bound_ledger(&node, &rig).await;
    rig.declare().await;
    let mut loads = Vec::new();
    for round in 1..=4 {
        let daemon = rig.setup.start();
        let broker = Broker::connect_eventually(&rig.vhost.uri()).await;
        let mut load = Load::new(&format!("round-{round}"), 10, "20ms");
        load.publish(&broker).await;
        assert_eq!(load.len(), 100);
        let begun = async || (rig.sandbox.calls().concurrent > 0).then_some(());
        eventually(SOON, "the provider works", begun).await;
        if round == 2 {
            node.kill9().await;
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
    rig.finish(&last).await;
}
