//! Connections on which messages are published.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::AmqpSettings;
use super::destination::LinkPurpose;
use super::error::BrokerError;
use super::failure::{CloseCause, PublishFailure};
use super::link_clock::LinkClock;
use super::session_end::{SessionEnd, follow_events};

/// A connection on which messages are published.
pub(super) struct PublishingLink {
    pub(super) connection: Connection,
    clock: watch::Receiver<LinkClock>,
    publish_timeout: Duration,
}

impl PublishingLink {
    pub(super) async fn open(
        settings: &AmqpSettings,
        purpose: LinkPurpose,
        end: &Arc<SessionEnd>,
    ) -> Result<Self, BrokerError> {
        let connection = if purpose.has_few_headers() {
            settings.connect_for_few_headers(purpose.as_str()).await?
        } else {
            settings.connect(purpose.as_str()).await?
        };
        let (sender, clock) = watch::channel(LinkClock::start());
        follow_events(&connection, Some(sender), Arc::clone(end));
        Ok(Self { connection, clock, publish_timeout: settings.publish_timeout })
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.clock.borrow().is_blocked()
    }

    /// Opens a channel in confirm mode. A connection whose broker does not even answer to that is
    /// dead.
    pub(super) async fn open_channel(
        &self,
        session: &SessionEnd,
    ) -> Result<Channel, PublishFailure> {
        let open_channel = async {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, PublishFailure>(channel)
        };
        let dead = |_| {
            let cause = CloseCause::found("no answer from the broker in time");
            Err(PublishFailure::SessionLost { cause })
        };
        self.await_answer(session, open_channel).await.unwrap_or_else(dead)
    }

    /// Waits for an answer of the broker, for as long as the session lasts.
    ///
    /// # Errors
    /// The time without an answer, in which the broker did not block publishers.
    pub(super) async fn await_answer<T>(
        &self,
        session: &SessionEnd,
        answer: impl Future<Output = Result<T, PublishFailure>>,
    ) -> Result<Result<T, PublishFailure>, Duration> {
        let (sent, mut clock) = (Instant::now(), self.clock.clone());
        let is_overdue = async {
            clock.wait_for(|clock| clock.is_overdue(sent, self.publish_timeout)).await.is_ok()
        };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            // The clock runs for as long as the session.
            is_overdue = is_overdue => {
                if is_overdue { Err(self.publish_timeout) } else { Ok(Err(session.publish_failure())) }
            }
        }
    }
}
