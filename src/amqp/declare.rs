//! Declaring a topology on a broker.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ErrorKind};
use tracing::warn;

use super::error::BrokerError;
use super::topology::{Argument, Exchange, Queue, Topology};

/// The reply code for "exists with other arguments" (AMQP 0-9-1, `precondition-failed`).
const PRECONDITION_FAILED: u16 = 406;

/// How declaring went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// What exists with other arguments than ferryd would give it, and is used as it is.
    pub different: Vec<String>,
}

/// Declares everything of a topology that is not there yet.
///
/// A queue or exchange that exists with other arguments is used as it is, with a warning: refusing to run would turn an
/// operator's experiment into an outage.
///
/// # Errors
/// [`BrokerError`] where the broker refuses for another reason, or is lost.
pub async fn declare(connection: &Connection, topology: &Topology) -> Result<Declared, BrokerError> {
    let mut declared = Declared::default();
    let mut channel = open(connection).await?;
    for exchange in &topology.exchanges {
        if let Err(error) = declare_exchange(&channel, exchange, false).await {
            channel = reopen_after(connection, error, &exchange.name).await?;
            declared.note(&exchange.name);
            let action = format!("look for exchange {}", exchange.name);
            declare_exchange(&channel, exchange, true).await.map_err(BrokerError::during(action))?;
        }
    }
    for queue in &topology.queues {
        if let Err(error) = declare_queue(&channel, queue, false).await {
            channel = reopen_after(connection, error, &queue.name).await?;
            declared.note(&queue.name);
            let action = format!("look for queue {}", queue.name);
            declare_queue(&channel, queue, true).await.map_err(BrokerError::during(action))?;
        }
    }
    for binding in &topology.bindings {
        let action = format!("bind queue {} to {} under `{}`", binding.queue, binding.exchange, binding.key);
        let [queue, exchange, key] = [&binding.queue, &binding.exchange, &binding.key].map(|name| short(name));
        let bound = channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await;
        bound.map_err(BrokerError::during(action))?;
    }
    // The channel was for this alone; if closing fails, the connection is lost, and the next user of it finds out.
    let _ = channel.close(200, short("declared")).await;
    Ok(declared)
}

impl Declared {
    fn note(&mut self, name: &str) {
        warn!(name, "exists with other arguments than ferryd's; used as it is (see `ferryd topology export`)");
        self.different.push(name.to_owned());
    }
}

async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(BrokerError::during("open a channel"))
}

/// A refusal closes the channel. For a difference in arguments a new one is opened; anything else is passed on.
async fn reopen_after(connection: &Connection, error: lapin::Error, name: &str) -> Result<Channel, BrokerError> {
    let precondition = matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == PRECONDITION_FAILED);
    if precondition { open(connection).await } else { Err(BrokerError::during(format!("declare {name}"))(error)) }
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange, passive: bool) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &exchange.alternate {
        arguments.insert(short("alternate-exchange"), text(alternate));
    }
    let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Custom(exchange.kind.as_str().to_owned());
    channel.exchange_declare(short(&exchange.name), kind, options, arguments).await
}

async fn declare_queue(channel: &Channel, queue: &Queue, passive: bool) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Text(value) => text(value),
        };
        arguments.insert(short(name), value);
    }
    let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(&queue.name), options, arguments).await.map(drop)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// A name as AMQP's short string. Names of the topology are short by construction (prefix and provider have at most 63
/// bytes), and the configuration refuses longer ones; an over-long one becomes empty, which the broker refuses.
fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
