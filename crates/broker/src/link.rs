//! Connections on which messages are published.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::AmqpSettings;
use super::destination::LinkPurpose;
use super::error::BrokerError;
use super::failure::{CloseCause, PublishFailure};
use super::session_end::{SessionEnd, follow_events};

/// A connection on which messages are published.
pub(super) struct PublishingLink {
    pub(super) connection: Connection,
    blocked: watch::Receiver<bool>,
    publish_timeout: Duration,
}

impl PublishingLink {
    pub(super) async fn open(
        settings: &AmqpSettings,
        purpose: LinkPurpose,
        end: &Arc<SessionEnd>,
    ) -> Result<Self, BrokerError> {
        let connection = settings.connect(purpose.as_str()).await?;
        let (blocking, blocked) = watch::channel(false);
        follow_events(&connection, Some(blocking), Arc::clone(end));
        Ok(Self { connection, blocked, publish_timeout: settings.publish_timeout })
    }

    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
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
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = session.ended() => Ok(Err(session.publish_failure())),
            () = self.stall(session) => Err(self.publish_timeout),
        }
    }

    /// Resolves when the publish timeout has passed in one piece without the broker blocking
    /// publishers. While it blocks them (a memory or disk alarm), confirms may take for ever, and
    /// publishing again would only add copies.
    async fn stall(&self, session: &SessionEnd) {
        let mut blocked = self.blocked.clone();
        loop {
            if blocked.wait_for(|blocked| !blocked).await.is_err() {
                return session.ended().await;
            }
            if timeout(self.publish_timeout, blocked.wait_for(|blocked| *blocked)).await.is_err() {
                return;
            }
        }
    }
}
