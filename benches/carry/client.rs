//! The core application of the bench: publishes commands and takes their events.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use serde_json::{Value, json};

use crate::BenchError;
use crate::contender::{EVENTS, provider};

/// The longest time for one command, which is enough on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The number of commands that are published before their confirms are awaited.
const BATCH: usize = 500;

/// The content of the commands that are published, besides their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandShape {
    /// The behaviour that the sandbox shows; null for its usual one.
    pub(crate) sandbox: Value,
    /// The bytes by which the payload is larger than usual.
    pub(crate) padding: usize,
    /// The number of providers that the commands go to in turns, beyond the first.
    pub(crate) more_providers: usize,
}

/// The core application's connection to the broker.
pub(crate) struct BenchClient {
    _connection: Connection,
    channel: Channel,
    events: Consumer,
}

impl BenchClient {
    /// Connects, and consumes the events.
    pub(crate) async fn connect(uri: &str) -> Result<Self, BenchError> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let consuming = connection.create_channel().await?;
        consuming.basic_qos(1_000, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let events = consuming
            .basic_consume(EVENTS.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Self { _connection: connection, channel, events })
    }

    /// Publishes a command. The caller awaits the broker's confirm.
    pub(crate) async fn publish(
        &self,
        id: &str,
        shape: &CommandShape,
    ) -> Result<PublisherConfirm, BenchError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into());
        let options = BasicPublishOptions::default();
        let provider = shape.provider_of(id)?;
        let (exchange, key) =
            ("ferry.commands".into(), format!("payment.{provider}.charge").into());
        let body = shape.command(id, &provider);
        Ok(self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties).await?)
    }

    /// Publishes commands, and returns when the broker has all of them.
    pub(crate) async fn publish_all(
        &self,
        ids: &[String],
        shape: &CommandShape,
    ) -> Result<(), BenchError> {
        for batch in ids.chunks(BATCH) {
            let mut confirms = Vec::with_capacity(batch.len());
            for id in batch {
                confirms.push(self.publish(id, shape).await?);
            }
            try_join_all(confirms).await?;
        }
        Ok(())
    }

    /// Waits for the next event, which has to be of a completed command. Returns the command's id.
    pub(crate) async fn completed(&mut self) -> Result<String, BenchError> {
        self.next_event("completed").await
    }

    /// Waits for the next event, which has to be of a completed command, for this time at most.
    /// Returns the command's id.
    pub(crate) async fn completed_within(&mut self, most: Duration) -> Result<String, BenchError> {
        self.next_event_within("completed", most).await
    }

    /// Waits for the next event, which has to be of this state. Returns the command's id.
    pub(crate) async fn next_event(&mut self, state: &str) -> Result<String, BenchError> {
        self.next_event_within(state, PATIENCE).await
    }

    async fn next_event_within(
        &mut self,
        state: &str,
        most: Duration,
    ) -> Result<String, BenchError> {
        let event =
            tokio::time::timeout(most, self.events.next()).await?.ok_or("the events ended")??;
        let id =
            event.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        match id.split_once('/') {
            Some((command, way)) if way.ends_with(state) => Ok(command.to_owned()),
            _ => Err(format!("a command is not {state}: {}", String::from_utf8_lossy(&event.data))
                .into()),
        }
    }
}

impl CommandShape {
    /// Makes the shape of commands that the sandbox takes this time to answer, such as `5ms`.
    pub(crate) fn answered_after(latency: &str) -> Self {
        Self { sandbox: json!({ "latency": latency }), ..Self::default() }
    }

    /// Returns the name of the provider of a command, by the number in its id.
    fn provider_of(&self, id: &str) -> Result<String, BenchError> {
        let number: usize = id.split('.').nth(1).ok_or("an id without a number")?.parse()?;
        Ok(provider(number % (self.more_providers + 1)))
    }

    /// Builds a command of about 300 bytes, and the padding.
    fn command(&self, id: &str, provider: &str) -> String {
        let mut command = json!({
            "id": id, "type": "payment", "provider": provider, "operation": "charge", "reference": "order-1001",
            "payload": {
                "amount": 1099, "currency": "eur", "customer": "cus_9s6XKzkNRiz8i3",
                "description": "Two tickets for the ferry of tomorrow morning"
            },
            "metadata": { "tenant": "eu-1", "shop": "harbour" }
        });
        if !self.sandbox.is_null() {
            command["payload"]["sandbox"] = self.sandbox.clone();
        }
        if self.padding > 0 {
            command["payload"]["note"] = "harbour ".repeat(self.padding / 8).into();
        }
        command.to_string()
    }
}
