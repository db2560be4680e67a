//! Tests the link to a provider's broker where connections are lost, stall or are blocked: a message
//! that was handed over is in doubt, and no other is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_transport::amqp::{AmqpLinkSettings, AmqpPublisher};
use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::provider_broker::{ProviderBroker, QUEUE, code, in_doubt, message, not_sent, settings};
use crate::harness::node::BrokerNode;
use crate::harness::queue_trouble::QueueTrouble;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::SOON;

/// The timeout of a message whose confirm is awaited in vain.
const SHORT: Duration = Duration::from_secs(2);

/// The time in which a link misses two heartbeats of 10 s, with a margin for the interval at which it
/// looks.
const HEARTBEATS: Duration = Duration::from_secs(27);

fn short(id: &str) -> MessageRequest {
    MessageRequest { timeout: SHORT, ..message(id) }
}

#[tokio::test]
async fn a_connection_that_was_lost_between_two_messages_costs_neither() {
    let provider = ProviderBroker::new().await;
    let way = TcpProxy::to(provider.vhost.address());
    let publisher = provider.publisher_by(&way);
    assert_eq!(publisher.publish(&message("a")).await, MessageResult::Acknowledged);
    provider.close_links().await;
    assert_eq!(publisher.publish(&message("b")).await, MessageResult::Acknowledged);
    way.cut().await;
    // The client learns of it in a moment; a message that overtakes it is in doubt.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(publisher.publish(&message("c")).await, MessageResult::Acknowledged);
    assert_eq!(provider.ids().await, ["a", "b", "c"]);
    assert_eq!(provider.links().await, 1);

    way.refuse().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let failure = not_sent(publisher.publish(&message("d")).await);
    assert_eq!(code(&failure), "connect_failed", "{failure:?}");
    way.resume();
    assert_eq!(publisher.publish(&message("e")).await, MessageResult::Acknowledged);
}

#[tokio::test]
async fn a_message_whose_confirm_stalls_is_in_doubt_and_its_connection_is_not_used_again() {
    let provider = ProviderBroker::new().await;
    let way = TcpProxy::to(provider.vhost.address());
    let publisher = provider.publisher_by(&way);
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    way.pause();
    let start = Instant::now();
    let failure = in_doubt(publisher.publish(&short("stalled")).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    assert!((SHORT..SHORT * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    // A new connection stalls before anything was handed over.
    let failure = not_sent(publisher.publish(&short("not-sent")).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    way.resume();
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
    eventually(SOON, "only one connection stays", async || {
        (provider.links().await == 1).then_some(())
    })
    .await;
    // The message in doubt may have arrived late; the one that was not sent has not.
    let ids = provider.ids().await;
    assert!(ids.contains(&"after".to_owned()) && !ids.contains(&"not-sent".to_owned()), "{ids:?}");
}

#[tokio::test]
async fn a_connection_that_died_silently_while_idle_is_noticed_before_the_next_message() {
    let provider = ProviderBroker::new().await;
    let way = TcpProxy::to(provider.vhost.address());
    let publisher = provider.publisher_by(&way);
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    way.pause();
    tokio::time::sleep(HEARTBEATS).await;
    let failure = not_sent(publisher.publish(&short("not-sent")).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    way.resume();
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
    assert_eq!(provider.ids().await, ["before", "after"]);
}

#[tokio::test]
async fn messages_in_flight_are_in_doubt_when_their_connection_is_lost() {
    let provider = ProviderBroker::new().await;
    let way = TcpProxy::to(provider.vhost.address());
    let publisher = provider.publisher_by(&way);
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    QueueTrouble::Silent.begin(&provider.vhost, &provider.broker, QUEUE).await;
    let messages: Vec<_> = (0..4).map(|number| message(&format!("lost-{number}"))).collect();
    let losing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        way.cut().await;
    };
    let publishing = join_all(messages.iter().map(|message| publisher.publish(message)));
    let (results, ()) = tokio::join!(publishing, losing);
    for result in results {
        let failure = in_doubt(result);
        assert_eq!(code(&failure), "connection_lost", "{failure:?}");
    }
    QueueTrouble::Silent.end(&provider.vhost, QUEUE).await;
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
}

/// Returns the channels of the virtual host, by their processes.
async fn channels(provider: &ProviderBroker) -> BTreeSet<String> {
    let open = r"[pid_to_list(P) || [{pid, P}, {vhost, V}] <- rabbit_channel:info_all([pid, vhost]), V =:= VHost]";
    let listed = provider.vhost.eval(open).await;
    listed.split('"').filter(|text| text.starts_with('<')).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_message_that_is_abandoned_gives_back_its_place_and_not_its_channel() {
    let provider = ProviderBroker::new().await;
    let settings = AmqpLinkSettings { max_in_flight: 1, ..provider.settings() };
    let publisher = AmqpPublisher::new(&settings).unwrap();
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    let first = channels(&provider).await;
    QueueTrouble::Silent.begin(&provider.vhost, &provider.broker, QUEUE).await;
    let abandoned = message("abandoned");
    let left = timeout(Duration::from_secs(1), publisher.publish(&abandoned)).await;
    assert!(left.is_err(), "{left:?}");
    // The broker has not said what became of it, so the next message waits, and is not sent.
    let failure = not_sent(publisher.publish(&short("waiting")).await);
    assert_eq!(code(&failure), "timeout", "{failure:?}");
    QueueTrouble::Silent.end(&provider.vhost, QUEUE).await;
    assert_eq!(publisher.publish(&message("after")).await, MessageResult::Acknowledged);
    let ids = provider.ids().await;
    assert!(ids.contains(&"after".to_owned()) && !ids.contains(&"waiting".to_owned()), "{ids:?}");
    // The test's own connection has a channel for publishing, which stays.
    eventually(SOON, "one connection with one channel is left", async || {
        let left = (provider.links().await, provider.vhost.channels().await);
        (left == (1, 2)).then_some(())
    })
    .await;
    let last = channels(&provider).await;
    assert_eq!(first.intersection(&last).count(), 1, "{first:?} {last:?}");
}

#[tokio::test]
async fn a_broker_that_blocks_publishers_is_sent_nothing_once_that_is_known() {
    let node = BrokerNode::private().await;
    let provider = ProviderBroker::on(&node).await;
    let publisher = provider.publisher();
    assert_eq!(publisher.publish(&message("before")).await, MessageResult::Acknowledged);
    node.set_memory_alarm(true).await;
    // The broker says that it blocks a connection when a message comes.
    assert_eq!(code(&in_doubt(publisher.publish(&short("first")).await)), "timeout");
    for id in ["second", "third"] {
        let failure = not_sent(publisher.publish(&short(id)).await);
        assert_eq!(code(&failure), "blocked", "{failure:?}");
    }
    node.set_memory_alarm(false).await;
    eventually(SOON, "the broker takes messages again", async || {
        (publisher.publish(&message("after")).await == MessageResult::Acknowledged).then_some(())
    })
    .await;
    let ids = provider.ids().await;
    assert!(!ids.contains(&"second".to_owned()) && !ids.contains(&"third".to_owned()), "{ids:?}");
}

#[tokio::test]
async fn a_broker_that_accepts_and_never_answers_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = AmqpLinkSettings { connect_timeout: SHORT, ..settings(address, "x") };
    let publisher = AmqpPublisher::new(&settings).unwrap();
    let start = Instant::now();
    let messages = [message("a"), message("b"), message("c")];
    let results = join_all(messages.iter().map(|message| publisher.publish(message))).await;
    for result in results {
        let failure = not_sent(result);
        assert_eq!(code(&failure), "connect_timeout", "{failure:?}");
    }
    assert!(start.elapsed() < SHORT * 2, "all share one attempt: {:?}", start.elapsed());
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    let ended = timeout(SOON, socket.read_to_end(&mut read)).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok()), "the connection is closed");
    assert_eq!(read, b"AMQP\x00\x00\x09\x01");
}

/// Publishes messages one after another until the time has passed; returns each with its result.
async fn publish_for(
    time: Duration,
    sender: usize,
    publisher: &AmqpPublisher,
) -> Vec<(String, MessageResult)> {
    let (start, mut results) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let id = format!("c-{sender}-{}", results.len());
        let message = MessageRequest { timeout: Duration::from_millis(700), ..message(&id) };
        let result = publisher.publish(&message).await;
        results.push((id, result));
        // Reading the queue takes longer than publishing.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    results
}

/// Cuts, stalls and refuses the connections of a proxy by turns, with pauses of many lengths.
async fn disturb(way: &TcpProxy, provider: &ProviderBroker) {
    for round in (0..).map(|round: u64| round * 37 % 113) {
        tokio::time::sleep(Duration::from_millis(50 + round)).await;
        match round % 4 {
            0 => way.cut().await,
            1 => way.pause(),
            2 => way.refuse().await,
            _ => provider.close_links().await,
        }
        tokio::time::sleep(Duration::from_millis(10 + round * 7)).await;
        way.resume();
    }
}

#[tokio::test]
async fn however_connections_are_lost_every_result_is_true() {
    let provider = ProviderBroker::new().await;
    let way = TcpProxy::to(provider.vhost.address());
    let publisher = provider.publisher_by(&way);
    let time = Duration::from_secs(8);
    let publishing = join_all((0..12).map(|sender| publish_for(time, sender, &publisher)));
    let results = tokio::select! {
        results = publishing => results.concat(),
        () = disturb(&way, &provider) => unreachable!(),
    };
    way.resume();
    // What arrives late has arrived by now: its connection has been closed.
    eventually(SOON, "one connection is left", async || {
        let _ = publisher.publish(&message("last")).await;
        (provider.links().await == 1).then_some(())
    })
    .await;
    let ids: Vec<_> = provider.ids().await.into_iter().filter(|id| id != "last").collect();
    let there: BTreeSet<_> = ids.iter().collect();
    assert_eq!(there.len(), ids.len(), "none is there twice");
    let mut counts = [0; 3];
    for (id, result) in &results {
        match result {
            MessageResult::Acknowledged => {
                assert!(there.contains(id), "{id} is lost");
                counts[0] += 1;
            }
            MessageResult::NotSent(failure) => {
                assert!(!there.contains(id), "{id} was sent: {failure:?}");
                counts[1] += 1;
            }
            MessageResult::Incomplete(_) => counts[2] += 1,
        }
    }
    eprintln!("acknowledged, not sent, in doubt: {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
