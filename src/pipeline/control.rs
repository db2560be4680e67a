//! Words to ferryd itself, on a queue of their own, so that they do not wait behind commands.
//!
//! A word is JSON: `{"word":"cancel","id":"shop.order-1001.charge","by":"shop","reason":"order withdrawn"}`, or
//! `{"word":"lookup","id":"shop.order-1001.charge","by":"ada"}`. Whoever sets `reply_to` is told what came of it. What can't be
//! read is kept as a dead letter.

use std::sync::Arc;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Pipeline;
use super::acks::ack;
use super::cancel::Cancellation;
use super::inquire::LookupWish;
use crate::amqp::error::BrokerError;
use crate::amqp::message::Message;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::Person;

/// A word to ferryd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "word", rename_all = "snake_case", deny_unknown_fields)]
pub enum Word {
    /// Do not carry a command out, if it was not sent yet.
    Cancel {
        /// The command.
        id: CommandId,
        /// Who wishes it.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Ask the provider now about a command that waits.
    Lookup {
        /// The command.
        id: CommandId,
        /// Who wishes it.
        by: String,
    },
}

/// The answer to whoever set `reply_to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Heard {
    /// What came of a cancel.
    Cancel {
        /// The command.
        id: CommandId,
        /// What came of it.
        #[serde(flatten)]
        cancellation: Cancellation,
    },
    /// What came of a lookup.
    Lookup {
        /// The command.
        id: CommandId,
        /// What came of it.
        lookup: LookupWish,
    },
    /// The word was not understood.
    Refused {
        /// Why.
        error: String,
    },
}

/// Does what a word on the control queue says. One that ferryd can't answer for before it stops comes back.
pub async fn take(pipeline: Arc<Pipeline>, delivery: Delivery) {
    let heard = match serde_json::from_slice::<Word>(&delivery.data) {
        Ok(word) => do_as_told(&pipeline, word).await,
        Err(error) => refuse(&pipeline, &delivery, error.to_string()).await,
    };
    let Ok(heard) = heard else { return };
    ack([delivery.acker.clone()]).await;
    if let Some(reply) = reply(&delivery.properties, &heard) {
        pipeline.broker.publish_once(&reply).await;
    }
}

async fn do_as_told(pipeline: &Pipeline, word: Word) -> Result<Heard, BrokerError> {
    let started = Timestamp::now();
    let took_ms = || Timestamp::now().duration_since(started).as_millis();
    match word {
        Word::Cancel { id, by, reason } => {
            let cancellation = pipeline.cancel(&id, &Person { by: by.clone(), reason }).await?;
            info!(command.id = id.as_str(), by, ?cancellation, took_ms = took_ms(), "asked to cancel");
            Ok(Heard::Cancel { id, cancellation })
        }
        Word::Lookup { id, by } => {
            let lookup = pipeline.look_up_now(&id, &by).await?;
            info!(command.id = id.as_str(), by, ?lookup, took_ms = took_ms(), "asked to look up");
            Ok(Heard::Lookup { id, lookup })
        }
    }
}

async fn refuse(pipeline: &Pipeline, delivery: &Delivery, error: String) -> Result<Heard, BrokerError> {
    warn!(error, "a message on the control queue is no word that ferryd knows; it is kept as a dead letter");
    pipeline.publish(&pipeline.outbox.bury(delivery)).await?;
    Ok(Heard::Refused { error })
}

fn reply(properties: &BasicProperties, heard: &Heard) -> Option<Message> {
    let queue = properties.reply_to().clone().filter(|queue| !queue.as_str().is_empty())?;
    let mut answer = BasicProperties::default().with_content_type(ShortString::from("application/json"));
    if let Some(correlation) = properties.correlation_id().clone() {
        answer = answer.with_correlation_id(correlation);
    }
    // An answer is plain data; it always has a JSON form.
    let body = serde_json::to_vec(heard).unwrap_or_default();
    Some(Message { exchange: ShortString::default(), routing_key: queue, properties: answer, body })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_says_what_to_do_and_nothing_else() {
        let cancel = json!({ "word": "cancel", "id": "order-1", "by": "shop" });
        let word: Word = serde_json::from_value(cancel).unwrap();
        assert_eq!(word, Word::Cancel { id: "order-1".parse().unwrap(), by: "shop".to_owned(), reason: None });
        let lookup = json!({ "word": "lookup", "id": "order-1", "by": "shop" });
        let word: Word = serde_json::from_value(lookup).unwrap();
        assert_eq!(word, Word::Lookup { id: "order-1".parse().unwrap(), by: "shop".to_owned() });
        for wrong in [
            json!({ "word": "dance", "id": "order-1", "by": "shop" }),
            json!({ "word": "cancel", "id": "no id", "by": "shop" }),
            json!({ "word": "cancel", "id": "order-1" }),
        ] {
            assert!(serde_json::from_value::<Word>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_flat() {
        let heard = Heard::Cancel { id: "order-1".parse().unwrap(), cancellation: Cancellation::Noted };
        assert_eq!(serde_json::to_value(heard).unwrap(), json!({ "id": "order-1", "outcome": "noted" }));
        let heard = Heard::Lookup { id: "order-1".parse().unwrap(), lookup: LookupWish::NotWaiting };
        assert_eq!(serde_json::to_value(heard).unwrap(), json!({ "id": "order-1", "lookup": "not_waiting" }));
    }
}
