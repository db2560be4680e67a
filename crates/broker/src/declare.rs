//! Declares a topology on a broker.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind};
use tracing::warn;

use super::error::BrokerError;
use super::message::short_or_empty;
use super::topology::{BrokerExchange, BrokerQueue, QueueArgument, QueueBinding, Topology};

/// The reply code for "exists with other arguments" (AMQP 0-9-1, `precondition-failed`).
const PRECONDITION_FAILED: u16 = 406;

/// The longest time for the broker to declare one queue, exchange or binding: a queue without a
/// leader never answers.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The result of declaring a topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeclareResult {
    /// The queues and exchanges that exist with other arguments than ferryd would give them, and
    /// are used as they are.
    pub different: Vec<String>,
    /// The queues, exchanges and bindings whose declaration the broker did not answer.
    pub unanswered: Vec<String>,
}

/// Declares everything of a topology that is missing.
///
/// A queue or exchange that exists with other arguments is used as it is, with a warning: refusing
/// to run would turn an operator's experiment into an outage. A declaration that the broker does
/// not answer is left for later, because one queue in trouble must not keep the others from being
/// served.
///
/// # Errors
/// [`BrokerError`] where the broker refuses for another reason, or is lost.
pub async fn declare(
    connection: &Connection,
    topology: &Topology,
) -> Result<DeclareResult, BrokerError> {
    let mut declarer = TopologyDeclarer {
        connection,
        channel: open(connection).await?,
        declared: DeclareResult::default(),
    };
    let exchanges = topology.exchanges.iter().map(DeclaredObject::Exchange);
    for thing in exchanges.chain(topology.queues.iter().map(DeclaredObject::Queue)) {
        declarer.declare(thing).await?;
    }
    for binding in topology
        .bindings
        .iter()
        .filter(|binding| !declarer.declared.unanswered.contains(&binding.queue))
    {
        bind(&declarer.channel, binding).await?;
    }
    // Only the declarations used the channel; if closing fails, the connection is lost, and the
    // next user of it finds out.
    let _ = declarer.channel.close(200, "declared".into()).await;
    Ok(declarer.declared)
}

/// Declares one item after the other, on a new channel after each refusal.
struct TopologyDeclarer<'a> {
    connection: &'a Connection,
    channel: Channel,
    declared: DeclareResult,
}

impl TopologyDeclarer<'_> {
    async fn declare(&mut self, thing: DeclaredObject<'_>) -> Result<(), BrokerError> {
        let name = thing.name();
        let Ok(answer) = tokio::time::timeout(TIMEOUT, thing.declare(&self.channel, false)).await
        else {
            warn!(
                name,
                "the broker does not answer for it (a queue without a leader?); trying again later"
            );
            self.declared.unanswered.push(name.to_owned());
            self.channel = open(self.connection).await?;
            return Ok(());
        };
        let Err(error) = answer else { return Ok(()) };
        if !is_precondition_failed(&error) {
            return Err(BrokerError::while_doing(format!("declare {name}"))(error));
        }
        // The refusal has closed the channel.
        self.channel = open(self.connection).await?;
        warn!(
            name,
            "exists with other arguments than ferryd's; used as it is (see `ferryd topology export`)"
        );
        self.declared.different.push(name.to_owned());
        thing
            .declare(&self.channel, true)
            .await
            .map_err(BrokerError::while_doing(format!("look for {name}")))
    }
}

/// An item of a topology that can be declared.
#[derive(Clone, Copy)]
enum DeclaredObject<'a> {
    Exchange(&'a BrokerExchange),
    Queue(&'a BrokerQueue),
}

impl<'a> DeclaredObject<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Exchange(exchange) => &exchange.name,
            Self::Queue(queue) => &queue.name,
        }
    }

    async fn declare(self, channel: &Channel, passive: bool) -> Result<(), lapin::Error> {
        match self {
            Self::Exchange(exchange) => declare_exchange(channel, exchange, passive).await,
            Self::Queue(queue) => declare_queue(channel, queue, passive).await,
        }
    }
}

fn is_precondition_failed(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == PRECONDITION_FAILED)
}

async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(BrokerError::while_doing("open a channel"))
}

async fn bind(channel: &Channel, binding: &QueueBinding) -> Result<(), BrokerError> {
    let QueueBinding { exchange, queue, key } = binding;
    let action = format!("bind queue {queue} to {exchange} under `{key}`");
    let [queue, exchange, key] = [queue, exchange, key].map(|name| short_or_empty(name));
    let bound = channel
        .queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default())
        .await;
    bound.map_err(BrokerError::while_doing(action))
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &BrokerExchange,
    passive: bool,
) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &exchange.alternate {
        arguments.insert(short_or_empty("alternate-exchange"), text(alternate));
    }
    let options =
        ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Custom(exchange.kind.as_str().to_owned());
    channel.exchange_declare(short_or_empty(&exchange.name), kind, options, arguments).await
}

async fn declare_queue(
    channel: &Channel,
    queue: &BrokerQueue,
    passive: bool,
) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            QueueArgument::Number(number) => AMQPValue::LongLongInt(*number),
            QueueArgument::Text(value) => text(value),
        };
        arguments.insert(short_or_empty(name), value);
    }
    let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short_or_empty(&queue.name), options, arguments).await.map(drop)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
