//! Tests that the files in `rabbitmq/` set up a node as ferryd needs it, on each version of
//! RabbitMQ that the tests run on.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::harness::broker::{TestBroker, persistent};
use crate::harness::node::BrokerNode;

#[tokio::test]
async fn a_message_is_stamped_with_the_time_it_reached_the_broker_unless_its_publisher_did() {
    let node = BrokerNode::shared().await;
    let vhost = node.vhost().await;
    let broker = TestBroker::connect(&vhost.uri()).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    broker
        .channel()
        .await
        .queue_declare("q".into(), QueueDeclareOptions::durable(), arguments)
        .await
        .unwrap();
    broker.publish("", "q", b"unstamped", persistent()).await;
    broker.publish("", "q", b"stamped", persistent().with_timestamp(7)).await;
    broker.await_depth("q", 2).await;
    let stamps: Vec<_> =
        broker.peek("q").await.iter().map(|message| *message.properties.timestamp()).collect();
    // Older brokers set no time stamp; publishers have to.
    assert_eq!(stamps[0].is_some(), node.version().await >= [3, 12, 0], "{stamps:?}");
    assert_eq!(stamps[1], Some(7));
}

#[tokio::test]
async fn the_settings_of_the_node_are_in_force() {
    let node = BrokerNode::shared().await;
    let wal = node.eval("maps:get(wal_max_size_bytes, ra_system:fetch(quorum_queues))").await;
    assert_eq!(wal.trim(), "64000000");
    for (key, value) in [
        ("dead_letter_worker_publisher_confirm_timeout", "{ok, 5000}"),
        ("dead_letter_worker_consumer_prefetch", "{ok, 512}"),
        ("consumer_disconnected_timeout", "{ok, 5000}"),
        ("max_message_size", "{ok, 16777216}"),
    ] {
        assert_eq!(
            node.eval(&format!("application:get_env(rabbit, {key})")).await.trim(),
            value,
            "{key}"
        );
    }
}
