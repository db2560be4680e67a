//! A core application for tests: publishes commands, follows events, and looks into queues.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::timeout;

use super::events::EventRecorder;
use super::wait::eventually;

const PERSISTENT: u8 = 2;
const PATIENCE: Duration = Duration::from_mins(1);
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a virtual host. After the broker was killed, make another.
pub(crate) struct TestBroker {
    uri: String,
    connection: Connection,
    publishing: Channel,
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub(crate) struct QueuedMessage {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl QueuedMessage {
    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl TestBroker {
    /// Connects.
    pub(crate) async fn connect(uri: &str) -> Self {
        Self::try_connect(uri).await.unwrap()
    }

    /// Connects as soon as the broker accepts it.
    pub(crate) async fn connect_eventually(uri: &str) -> Self {
        // A node that is starting can take a request and never answer it.
        let connecting =
            async || timeout(CONNECTED_WITHIN, Self::try_connect(uri)).await.ok()?.ok();
        eventually(PATIENCE, "the broker can be reached", connecting).await
    }

    async fn try_connect(uri: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let publishing = connection.create_channel().await?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { uri: uri.to_owned(), connection, publishing })
    }

    /// Opens another channel of this connection, for operations that the methods here lack.
    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Follows `ferry.events` from now on. Survives restarts of the broker.
    pub(crate) async fn events(&self) -> EventRecorder {
        EventRecorder::follow(&self.uri).await
    }

    /// Publishes a command under the routing key that its body gives, and waits for the confirm.
    pub(crate) async fn publish_command(&self, command: &Value) {
        self.publish(
            "ferry.commands",
            &routing_key(command),
            command.to_string().as_bytes(),
            persistent(),
        )
        .await;
    }

    /// Publishes many commands at once. Returns the ids of those that the broker confirmed: a
    /// killed broker may leave some unconfirmed.
    pub(crate) async fn publish_commands(&self, commands: &[Value]) -> Vec<String> {
        let published = join_all(commands.iter().map(async |command| {
            let (key, body) = (routing_key(command), command.to_string());
            let confirmed =
                self.try_publish("ferry.commands", &key, body.as_bytes(), persistent()).await;
            confirmed
                .is_ok_and(|confirmed| confirmed)
                .then(|| command["id"].as_str().unwrap().to_owned())
        }));
        published.await.into_iter().flatten().collect()
    }

    /// Publishes any message and waits for the confirm.
    pub(crate) async fn publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        assert!(
            self.try_publish(exchange, key, body, properties).await.unwrap(),
            "the broker refused the message"
        );
    }

    /// Publishes one more message to a queue. Returns true where the broker answers with a nack.
    pub(crate) async fn is_refused(&self, queue: &str) -> bool {
        !self.try_publish("", queue, b"{}", persistent()).await.unwrap()
    }

    pub(crate) async fn try_publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        as_: BasicProperties,
    ) -> lapin::Result<bool> {
        let options = BasicPublishOptions::default();
        let confirm =
            self.publishing.basic_publish(exchange.into(), key.into(), options, body, as_).await?;
        Ok(matches!(confirm.await?, Confirmation::Ack(_)))
    }

    /// Returns the number of messages of a queue that are ready for a consumer; `None` where the
    /// queue does not exist.
    pub(crate) async fn depth(&self, queue: &str) -> Option<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            self.channel().await.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    }

    /// Returns the number of consumers of a queue, those included whose connection only the broker
    /// takes for alive.
    pub(crate) async fn consumers(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            self.channel().await.queue_declare(queue.into(), passive, FieldTable::default()).await;
        declared.unwrap().consumer_count()
    }

    /// Waits until a queue holds this many messages.
    pub(crate) async fn await_depth(&self, queue: &str, depth: u32) {
        let what = format!("{queue} holds {depth} messages");
        eventually(PATIENCE, &what, async || {
            (self.depth(queue).await == Some(depth)).then_some(())
        })
        .await;
    }

    /// Reads all messages of a queue, which stay there in their order.
    pub(crate) async fn peek(&self, queue: &str) -> Vec<QueuedMessage> {
        let channel = self.channel().await;
        let mut messages = Vec::new();
        while let Some(got) =
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()
        {
            messages.push(QueuedMessage {
                exchange: got.exchange.to_string(),
                routing_key: got.routing_key.to_string(),
                properties: got.properties.clone(),
                body: got.data.clone(),
            });
        }
        channel.close(200, "done".into()).await.unwrap();
        messages
    }

    /// Deletes a queue, with what it holds.
    pub(crate) async fn delete_queue(&self, queue: &str) {
        self.channel()
            .await
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
    }

    /// Empties a queue.
    pub(crate) async fn purge(&self, queue: &str) {
        self.channel().await.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
    }
}

/// Returns the properties of a message that survives a restart of the broker.
pub(crate) fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(PERSISTENT)
}

/// Returns the routing key `<type>.<provider>.<operation>`, as the contract requires.
fn routing_key(command: &Value) -> String {
    let word = |field: &str| command[field].as_str().unwrap_or("any").to_owned();
    [word("type"), word("provider"), word("operation")].join(".")
}
