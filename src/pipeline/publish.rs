//! Publishes the effects of a message before its ack, and records after the ack that they are
//! published.

use super::Pipeline;
use super::incoming_message::IncomingMessage;
use super::messages::Effects;
use crate::failpoint::{Failpoint, pass_failpoint};
use ferryd_broker::error::BrokerError;

impl Pipeline {
    /// Publishes messages one after the other, each confirmed.
    pub(super) async fn publish(&self, effects: &Effects) -> Result<(), BrokerError> {
        for message in &effects.messages {
            match self.broker.publish_or_refuse(message).await {
                Err(BrokerError::Refused { cause }) => {
                    Box::pin(self.handle_refused_message(message, cause)).await?;
                }
                published => published?,
            }
            pass_failpoint(Failpoint::PartlyPublished);
        }
        Ok(())
    }

    /// Records that all effects are published, and replies to publishers that set `reply_to`: best
    /// effort, and after the ack.
    pub(super) async fn settle_published(&self, message: &IncomingMessage, effects: Effects) {
        if let Some(finished) = effects.settles {
            self.ledger_gate.settle(&message.identity.id, finished);
        }
        for reply in &effects.replies {
            self.broker.publish_once(reply).await;
        }
    }
}
