//! The terminal events of commands, by their time of arrival at a subscriber that consumes at every
//! node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::rig::word;

const QUEUE: &str = "core.ends";
/// The longest time to subscribe, or to acknowledge.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time without an event, after which the subscription is made anew.
const QUIET_AFTER: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// The terminal events so far.
#[derive(Clone, Default)]
pub(super) struct SeenEnds(Arc<Mutex<SharedEnds>>);

#[derive(Default)]
struct SharedEnds {
    /// The arrivals of the first terminal event of each command, in order.
    arrivals: Vec<Instant>,
    /// The state and the error of each terminal event, by command, in the order of arrival.
    ends: HashMap<String, Vec<(String, String)>>,
}

/// A subscriber with a consumer at each node. Dropping ends it.
pub(super) struct EndsSubscriber {
    pub(super) seen: SeenEnds,
    consumers: Vec<JoinHandle<()>>,
}

impl EndsSubscriber {
    /// Subscribes by a quorum queue. Returns once subscribed at every node.
    pub(super) async fn follow(uris: &[String]) -> Self {
        let seen = SeenEnds::default();
        let mut consumers = Vec::new();
        for uri in uris {
            let first = subscribe(uri).await.unwrap();
            consumers.push(tokio::spawn(follow(uri.clone(), first, seen.clone())));
        }
        Self { seen, consumers }
    }
}

impl Drop for EndsSubscriber {
    fn drop(&mut self) {
        self.consumers.iter().for_each(JoinHandle::abort);
    }
}

impl SeenEnds {
    fn take(&self, event: &Value) {
        let state = word(event, "data.state");
        if !matches!(state, "completed" | "failed") {
            return;
        }
        let end = (state.to_owned(), word(event, "data.error.kind").to_owned());
        let mut inner = self.0.lock().unwrap();
        let ends = inner.ends.entry(word(event, "subject").to_owned()).or_default();
        ends.push(end);
        if ends.len() == 1 {
            inner.arrivals.push(Instant::now());
        }
    }

    /// Returns the number of commands that have ended.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().arrivals.len()
    }

    /// Returns the terminal events of a command: none, one, or more where the event was published
    /// again.
    pub(super) fn of(&self, id: &str) -> Vec<(String, String)> {
        self.0.lock().unwrap().ends.get(id).cloned().unwrap_or_default()
    }

    /// Returns the longest time between two successive ends, one of which lies between two moments.
    pub(super) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let inner = self.0.lock().unwrap();
        let within = inner.arrivals.windows(2).filter(|pair| pair[1] >= from && pair[0] <= to);
        within.map(|pair| pair[1] - pair[0]).max().unwrap_or(to - from)
    }
}

async fn follow(uri: String, first: (Connection, lapin::Consumer), seen: SeenEnds) {
    let mut subscription = Some(first);
    loop {
        if let Some((_connection, mut consumer)) = subscription.take() {
            while let Ok(Some(Ok(delivery))) = timeout(QUIET_AFTER, consumer.next()).await {
                seen.take(&serde_json::from_slice(&delivery.data).unwrap());
                let _acked = timeout(PATIENCE, delivery.ack(BasicAckOptions::default())).await;
            }
        }
        sleep(RECONNECT_AFTER).await;
        subscription = timeout(PATIENCE, subscribe(&uri)).await.ok().and_then(Result::ok);
    }
}

async fn subscribe(uri: &str) -> lapin::Result<(Connection, lapin::Consumer)> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel).await?;
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    Ok((connection, channel.basic_consume(QUEUE.into(), "core".into(), options, arguments).await?))
}

async fn declare(channel: &Channel) -> lapin::Result<()> {
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), quorum).await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(QUEUE.into(), "ferry.events".into(), "#".into(), options, FieldTable::default())
        .await
}
