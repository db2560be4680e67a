//! Saying a word to whichever ferryd hears it first, and waiting for the answer.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use uuid::Uuid;

use super::error::is_not_found;
use super::{Operator, OperatorError};
use crate::amqp::connection::say_goodbye;
use crate::amqp::error::BrokerError;
use crate::amqp::message::{persistent, short};
use crate::pipeline::control::{Heard, Word};

/// The pseudo-queue of direct reply-to (<https://www.rabbitmq.com/docs/direct-reply-to>).
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says a word, and returns the answer.
///
/// # Errors
/// [`OperatorError::NoDaemon`], and then nothing was said; after [`OperatorError::NoAnswer`] it may be heard later.
pub async fn say(operator: &Operator, word: &Word) -> Result<Heard, OperatorError> {
    let connection = operator.amqp.connect("operator-control").await?;
    let channel = connection.create_channel().await.map_err(BrokerError::during("open a channel"))?;
    let heard = ask(operator, &channel, word).await;
    say_goodbye(&connection).await;
    heard
}

async fn ask(operator: &Operator, channel: &Channel, word: &Word) -> Result<Heard, OperatorError> {
    require_listener(operator, channel).await?;
    let during = || BrokerError::during("say a word to ferryd");
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    // Answers come on the channel that asked, which has to consume them first.
    let consuming = channel.basic_consume(REPLY_TO.into(), "".into(), no_ack, FieldTable::default());
    let mut answers = consuming.await.map_err(during())?;
    let correlation = short(&Uuid::new_v4().to_string())?;
    let properties = persistent()
        .with_content_type("application/json".into())
        .with_reply_to(REPLY_TO.into())
        .with_correlation_id(correlation.clone());
    // A word is plain data; it always has a JSON form.
    let body = serde_json::to_vec(word).unwrap_or_default();
    let exchange = short(&operator.names.control())?;
    let saying = channel.basic_publish(exchange, "".into(), BasicPublishOptions::default(), &body, properties);
    saying.await.map_err(during())?;
    let no_answer = OperatorError::NoAnswer { after: PATIENCE };
    timeout(PATIENCE, answer(&mut answers, correlation.as_str())).await.ok().flatten().ok_or(no_answer)
}

/// A word that nobody hears now would be heard at some time, when it may not be meant any more.
async fn require_listener(operator: &Operator, channel: &Channel) -> Result<(), OperatorError> {
    let queue = operator.names.control();
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(short(&queue)?, passive, FieldTable::default()).await {
        Ok(known) if known.consumer_count() > 0 => Ok(()),
        Ok(_) => Err(OperatorError::NoDaemon { queue }),
        Err(error) if is_not_found(&error) => {
            Err(OperatorError::NoExchange { exchange: queue, address: operator.amqp.address() })
        }
        Err(error) => Err(BrokerError::during(format!("look for queue {queue}"))(error).into()),
    }
}

async fn answer(answers: &mut Consumer, correlation: &str) -> Option<Heard> {
    while let Some(Ok(delivery)) = answers.next().await {
        let same = delivery.properties.correlation_id().as_ref().is_some_and(|id| id.as_str() == correlation);
        if let Ok(heard) = serde_json::from_slice(&delivery.data)
            && same
        {
            return Some(heard);
        }
    }
    None
}
