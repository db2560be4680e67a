//! A subscriber of events that keeps all it receives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const EXCHANGE: &str = "ferry.events";
const MARKER: &str = "test.marker";
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const QUIET_AFTER: Duration = Duration::from_secs(5);
const ACKED_WITHIN: Duration = Duration::from_secs(1);
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(5);

/// Every event since [`EventRecorder::follow`], in the order of arrival; repeats too, since
/// delivery is at least once.
pub(crate) struct EventRecorder {
    uri: String,
    seen: Arc<watch::Sender<Vec<Value>>>,
    follower: JoinHandle<()>,
}

impl EventRecorder {
    /// Subscribes with a durable queue, and again whenever the connection is lost. Returns once
    /// subscribed.
    pub(super) async fn follow(uri: &str) -> Self {
        let queue = format!("core.events.{}", uuid::Uuid::new_v4());
        let seen = Arc::new(watch::Sender::new(Vec::new()));
        let first = subscribe(uri, &queue).await.unwrap();
        let follower = tokio::spawn(follow(uri.to_owned(), queue, first, Arc::clone(&seen)));
        Self { uri: uri.to_owned(), seen, follower }
    }

    /// Waits for the event that ends a command: the first of state `completed` or `failed`.
    pub(crate) async fn terminal(&self, command: &str, deadline: Duration) -> Value {
        let is_terminal = |event: &&Value| {
            matches!(event["data"]["state"].as_str(), Some("completed" | "failed"))
        };
        self.first(deadline, |event| event["subject"] == command && is_terminal(&event)).await
    }

    /// Waits for the event of a command in this state.
    pub(crate) async fn state(&self, command: &str, state: &str, deadline: Duration) -> Value {
        self.first(deadline, |event| event["subject"] == command && event["data"]["state"] == state)
            .await
    }

    /// Waits for the first event that matches.
    ///
    /// # Panics
    /// Where none does within `deadline`; lists what was seen instead.
    pub(crate) async fn first(
        &self,
        deadline: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut seen = self.seen.subscribe();
        let found = timeout(deadline, seen.wait_for(|events| events.iter().any(&matches))).await;
        let Ok(events) = found else {
            panic!("no such event within {deadline:?}; seen: {:#?}", self.all())
        };
        events.unwrap().iter().find(|event| matches(event)).unwrap().clone()
    }

    /// Returns the events of one command.
    pub(crate) fn of(&self, command: &str) -> Vec<Value> {
        self.those(|event| event["subject"] == command)
    }

    /// Returns all events.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.those(|event| event["type"] != MARKER)
    }

    fn those(&self, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.seen.borrow().iter().filter(|event| matches(event)).cloned().collect()
    }

    /// Returns once every event has arrived that was confirmed before this call: an absent event
    /// was not published.
    pub(crate) async fn catch_up(&self) {
        let id = uuid::Uuid::new_v4().to_string();
        let marker = serde_json::json!({ "id": id, "type": MARKER }).to_string();
        let connection =
            Connection::connect(&self.uri, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (options, as_) = (BasicPublishOptions::default(), BasicProperties::default());
        channel
            .basic_publish(EXCHANGE.into(), MARKER.into(), options, marker.as_bytes(), as_)
            .await
            .unwrap();
        self.first(Duration::from_secs(30), |event| event["id"] == id).await;
    }
}

impl Drop for EventRecorder {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// A consumer with the connection that carries it.
type ConsumerConnection = (Connection, Consumer);

async fn follow(
    uri: String,
    queue: String,
    first: ConsumerConnection,
    seen: Arc<watch::Sender<Vec<Value>>>,
) {
    let mut subscription = Some(first);
    loop {
        if let Some((_connection, mut consumer)) = subscription.take() {
            while let Some(delivery) = next(&mut consumer).await {
                seen.send_modify(|events| {
                    events.push(serde_json::from_slice(&delivery.data).unwrap());
                });
                // The broker delivers it again where the ack is lost; over a dead connection the
                // ack may never end.
                let _acked = timeout(ACKED_WITHIN, delivery.ack(BasicAckOptions::default())).await;
            }
        }
        sleep(RECONNECT_AFTER).await;
        // A node that is starting can take a request and never answer it.
        subscription =
            timeout(SUBSCRIBED_WITHIN, subscribe(&uri, &queue)).await.ok().and_then(Result::ok);
    }
}

/// Returns the next delivery; `None` once it has been quiet for a while: a consumer of a restarted
/// broker can be cut off without any sign, and subscribing again costs nothing.
async fn next(consumer: &mut Consumer) -> Option<Delivery> {
    timeout(QUIET_AFTER, consumer.next()).await.ok()??.ok()
}

async fn subscribe(uri: &str, queue: &str) -> lapin::Result<ConsumerConnection> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel, queue).await?;
    channel.basic_qos(1000, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel.basic_consume(queue.into(), "core".into(), options, arguments).await?;
    Ok((connection, consumer))
}

/// Declares the queue, and the exchange as ferryd does: a core application may be there before the
/// first ferryd.
async fn declare(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), quorum).await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), EXCHANGE.into(), "#".into(), options, FieldTable::default())
        .await
}
