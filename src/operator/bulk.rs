//! Publishing many messages: a window of them is under way at a time, on one channel, so that they
//! arrive in their order.
//!
//! With more than one message under way, the client hands a message that the broker returned as
//! unroutable to the task that awaits the next confirm, which may be another's (lapin 4.12). So a
//! return is matched by its own message id and routing key. Each comes before the confirm
//! of its own message, and each confirm takes one of those that came: once all confirms are there,
//! all returns are.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use lapin::types::ShortString;
use lapin::{Confirmation, PublisherConfirm};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::OperatorError;
use super::publishing_connection::PublishingConnection;
use ferryd_broker::message::OutgoingMessage;

/// The most messages under way. The broker lets a connection send 400 messages that a channel has
/// not looked at, and counts in steps of 200.
const MOST_UNCONFIRMED: usize = 200;

/// Fate of a message that was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFate {
    /// The message was not sent, or the broker certainly has not taken it.
    Unpublished,
    /// The message was sent, and perhaps taken.
    Unconfirmed,
    /// A queue holds it.
    Confirmed,
    /// The broker refused it, or no queue took it.
    Refused,
}

/// The fate of many messages.
#[derive(Debug)]
pub struct BulkResult {
    /// Of each, in the order in which they were given.
    pub fates: Vec<MessageFate>,
    /// Reason for which not all are confirmed; `None` where they are, or the work was stopped.
    pub failure: Option<OperatorError>,
}

/// Messages under way.
struct BulkPublish<'m> {
    messages: &'m [&'m OutgoingMessage],
    fates: Vec<MessageFate>,
    under_way: VecDeque<(usize, PublisherConfirm)>,
    returned: HashSet<(Option<ShortString>, ShortString)>,
    failure: Option<OperatorError>,
}

impl PublishingConnection {
    /// Publishes messages, each with a message id, in their order. Publishing stops at the
    /// first that the broker does not take, or on a request to stop, and waits for the confirms of
    /// those under way. `confirmed` receives the number of confirmed messages.
    pub async fn send_all(
        &mut self,
        messages: &[&OutgoingMessage],
        stop: &CancellationToken,
        mut confirmed: impl FnMut(u64),
    ) -> BulkResult {
        let window = self.most_unconfirmed().clamp(1, MOST_UNCONFIRMED);
        let mut bulk = BulkPublish {
            messages,
            fates: vec![MessageFate::Unpublished; messages.len()],
            under_way: VecDeque::with_capacity(window),
            returned: HashSet::new(),
            failure: None,
        };
        let mut done = 0;
        for place in 0..messages.len() {
            if bulk.under_way.len() >= window {
                done += u64::from(bulk.settle_oldest(self).await);
                confirmed(done);
            }
            if bulk.failure.is_some() || stop.is_cancelled() {
                break;
            }
            bulk.publish(self, place).await;
        }
        while !bulk.under_way.is_empty() {
            done += u64::from(bulk.settle_oldest(self).await);
            confirmed(done);
        }
        bulk.finish(window)
    }
}

impl BulkPublish<'_> {
    async fn publish(&mut self, sender: &PublishingConnection, place: usize) {
        let message = self.messages[place];
        self.fates[place] = MessageFate::Unconfirmed;
        let published = timeout(sender.confirm_timeout(), sender.publish(message)).await;
        match published {
            Ok(Ok(confirm)) => self.under_way.push_back((place, confirm)),
            Ok(Err(error)) => self.keep_first_failure(sender.failure(message, error)),
            Err(_) => self.keep_first_failure(sender.confirm_timeout_error(message)),
        }
    }

    /// Waits for the confirm of the oldest message under way. Returns whether it came.
    async fn settle_oldest(&mut self, sender: &PublishingConnection) -> bool {
        let Some((place, confirm)) = self.under_way.pop_front() else { return false };
        let message = self.messages[place];
        // Where one confirm did not come in time, the others are not waited for: those that are
        // there are taken.
        let is_late = matches!(self.failure, Some(OperatorError::NoConfirm { .. }));
        let patience = if is_late { Duration::ZERO } else { sender.confirm_timeout() };
        let confirmation = match timeout(patience, confirm).await {
            Ok(Ok(confirmation)) => confirmation,
            Ok(Err(error)) => {
                self.keep_first_failure(sender.failure(message, error));
                return false;
            }
            Err(_) => {
                self.keep_first_failure(sender.confirm_timeout_error(message));
                return false;
            }
        };
        let (is_taken, returned) = match confirmation {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            Confirmation::NotRequested => (false, None),
        };
        if let Some(returned) = returned {
            let (id, key) =
                (returned.properties.message_id().clone(), returned.routing_key.clone());
            self.keep_first_failure(OperatorError::Unroutable {
                exchange: message.exchange.to_string(),
                key: key.to_string(),
            });
            self.returned.insert((id, key));
        }
        self.fates[place] = if is_taken { MessageFate::Confirmed } else { MessageFate::Refused };
        if !is_taken {
            self.keep_first_failure(OperatorError::Refused {
                exchange: message.exchange.to_string(),
            });
        }
        is_taken
    }

    /// Keeps the first failure.
    fn keep_first_failure(&mut self, failure: OperatorError) {
        self.failure.get_or_insert(failure);
    }

    /// Says the outcome of each, once nothing is under way.
    fn finish(mut self, window: usize) -> BulkResult {
        let sent = self
            .fates
            .iter()
            .rposition(|fate| *fate != MessageFate::Unpublished)
            .map_or(0, |last| last + 1);
        let is_whole = !self.fates.contains(&MessageFate::Unconfirmed);
        for (place, (fate, message)) in self.fates.iter_mut().zip(self.messages).enumerate() {
            let id = (message.properties.message_id().clone(), message.routing_key.clone());
            if self.returned.contains(&id) {
                *fate = MessageFate::Refused;
            } else if !is_whole
                && !self.returned.is_empty()
                && *fate == MessageFate::Confirmed
                && place + window >= sent
            {
                // Its return may have got lost with the confirms that did not come.
                *fate = MessageFate::Unconfirmed;
            }
        }
        if matches!(self.failure, Some(OperatorError::NoExchange { .. })) {
            // There was nothing that could have taken them.
            let unconfirmed =
                self.fates.iter_mut().filter(|fate| **fate == MessageFate::Unconfirmed);
            unconfirmed.for_each(|fate| *fate = MessageFate::Unpublished);
        }
        BulkResult { fates: self.fates, failure: self.failure }
    }
}
