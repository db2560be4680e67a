//! Tests the harness itself.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::broker::{TestBroker, persistent};
use super::node::BrokerNode;
use super::tcp_proxy::TcpProxy;

const SOON: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(200);

async fn declare_quorum_queue(broker: &TestBroker, name: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let channel = broker.channel().await;
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
}

#[tokio::test]
async fn a_queue_of_one_virtual_host_is_unknown_in_another() {
    let node = BrokerNode::shared().await;
    let (ours, theirs) = (node.vhost().await, node.vhost().await);
    let (here, there) =
        (TestBroker::connect(&ours.uri()).await, TestBroker::connect(&theirs.uri()).await);
    declare_quorum_queue(&here, "orders").await;
    assert_eq!(here.depth("orders").await, Some(0));
    assert_eq!(there.depth("orders").await, None);
}

#[tokio::test]
async fn peeking_leaves_messages_and_their_order() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let broker = TestBroker::connect(&vhost.uri()).await;
    declare_quorum_queue(&broker, "orders").await;
    for body in ["1", "2", "3"] {
        broker.publish("", "orders", body.as_bytes(), persistent()).await;
    }
    for _ in 0..2 {
        let bodies: Vec<_> =
            broker.peek("orders").await.into_iter().map(|message| message.json()).collect();
        assert_eq!(bodies, [json!(1), json!(2), json!(3)]);
        broker.await_depth("orders", 3).await;
    }
    broker.purge("orders").await;
    assert_eq!(broker.depth("orders").await, Some(0));
    broker.delete_queue("orders").await;
    assert_eq!(broker.depth("orders").await, None);
}

#[tokio::test]
async fn a_subscriber_sees_the_event_that_ends_a_command() {
    let vhost = BrokerNode::shared().await.vhost().await;
    let broker = TestBroker::connect(&vhost.uri()).await;
    let events = broker.events().await;
    for state in ["waiting", "completed"] {
        let event = json!({ "subject": "a", "data": { "state": state } }).to_string();
        broker
            .publish("ferry.events", "payment.stripe.charge.x", event.as_bytes(), persistent())
            .await;
    }
    assert_eq!(events.terminal("a", SOON).await["data"]["state"], "completed");
    events.catch_up().await;
    assert_eq!(events.of("a").len(), 2);
    assert!(events.of("b").is_empty());
}

#[tokio::test]
async fn a_killed_node_keeps_what_it_confirmed_and_a_subscriber_comes_back() {
    let node = BrokerNode::private().await;
    let broker = TestBroker::connect(&node.uri()).await;
    declare_quorum_queue(&broker, "orders").await;
    let events = broker.events().await;
    broker.publish("", "orders", b"1", persistent()).await;
    node.settle().await;
    let pid = node.pid();
    node.kill9().await;
    assert!(TcpStream::connect(("127.0.0.1", node.port("amqp"))).await.is_err());
    node.start().await;
    assert_ne!(node.pid(), pid);
    let broker = TestBroker::connect_eventually(&node.uri()).await;
    broker.await_depth("orders", 1).await;
    broker
        .publish(
            "ferry.events",
            "any",
            br#"{"subject":"a","data":{"state":"failed"}}"#,
            persistent(),
        )
        .await;
    events.terminal("a", Duration::from_secs(30)).await;
}

#[tokio::test]
async fn a_memory_alarm_holds_publishers_until_it_is_over() {
    let node = BrokerNode::private().await;
    let broker = TestBroker::connect(&node.uri()).await;
    declare_quorum_queue(&broker, "orders").await;
    node.set_memory_alarm(true).await;
    let mut publish = Box::pin(broker.publish("", "orders", b"1", persistent()));
    assert!(timeout(A_WHILE, &mut publish).await.is_err(), "published in spite of the alarm");
    node.set_memory_alarm(false).await;
    timeout(SOON, publish).await.unwrap();
}

/// Starts a server that answers every byte with the same byte.
async fn echo_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn echo(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn a_paused_proxy_delivers_nothing_until_it_resumes() {
    let proxy = TcpProxy::to(echo_server().await);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut stream, 1).await.unwrap(), 1);
    proxy.pause();
    assert!(timeout(A_WHILE, echo(&mut stream, 2)).await.is_err());
    assert!(TcpStream::connect(proxy.address()).await.is_ok(), "a stalled proxy still accepts");
    proxy.resume();
    assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_proxy_cuts_and_refuses_connections() {
    let proxy = TcpProxy::to(echo_server().await);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut stream, 1).await.unwrap(), 1);
    proxy.cut().await;
    assert!(timeout(SOON, echo(&mut stream, 2)).await.unwrap().is_err());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut stream, 3).await.unwrap(), 3);
    proxy.refuse().await;
    assert!(TcpStream::connect(proxy.address()).await.is_err());
    proxy.resume();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echo(&mut stream, 4).await.unwrap(), 4);
}
