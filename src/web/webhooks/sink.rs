//! The storage of verified calls: the provider's queue at the broker.
//!
//! A provider does not wait for long. A call that is not confirmed within [`PATIENCE`] is refused,
//! and not published again; a confirm that comes later only means that the provider's next call is
//! a copy. The bytes on their way to the broker are bounded, also those for which no request waits
//! any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::topology::TopologyNames;
use ferryd_broker::webhook_message::{WebhookMessage, to_message};

/// The longest time for the broker to confirm. Providers give up a call after some seconds, and
/// repeat it.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// The most bytes of calls that are sent to the broker and not confirmed.
const ROOM: usize = 64 << 20;
/// The bytes that a call counts beside its body.
const HEAD: usize = 4 << 10;

/// Stores verified calls.
pub trait WebhookSink: Send + Sync {
    /// Stores a call. Once this has returned, the call survives crashes of ferryd and of the
    /// broker.
    ///
    /// # Errors
    /// [`SinkError`]: its provider has to call again.
    fn store_webhook(&self, webhook: WebhookMessage) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// The reason why a call could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SinkError {
    /// There is no connection to the broker.
    #[error("the broker can't be reached")]
    BrokerAway,
    /// The broker blocks publishers: it is short of memory or disk.
    #[error("the broker takes no messages for now")]
    Blocked,
    /// The broker did not confirm in time.
    #[error("the broker did not confirm in time")]
    NotInTime,
    /// Too many calls are under way.
    #[error("too many calls wait for the broker's confirm")]
    Busy,
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
    /// ferryd failed.
    #[error("publishing failed in ferryd itself")]
    Failed,
}

/// Stores calls in the queues of the broker.
pub struct QueueSink {
    broker: BrokerHandle,
    names: TopologyNames,
    room: Arc<Semaphore>,
}

impl QueueSink {
    /// Uses the queues of these names.
    #[must_use]
    pub fn new(broker: BrokerHandle, names: TopologyNames) -> Self {
        Self { broker, names, room: Arc::new(Semaphore::new(ROOM)) }
    }

    async fn publish_webhook(&self, webhook: WebhookMessage) -> Result<(), SinkError> {
        if self.broker.is_blocked() {
            return Err(SinkError::Blocked);
        }
        let bytes = u32::try_from(webhook.call.body.len() + HEAD).unwrap_or(u32::MAX);
        let room =
            Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| SinkError::Busy)?;
        let message = to_message(&webhook, &self.names).map_err(|error| {
            error!(%error, "failed to make a message of a webhook");
            SinkError::Failed
        })?;
        debug!(provider = %webhook.provider, id = %webhook.id, "publishing a webhook");
        let (broker, unwanted) = (self.broker.clone(), CancellationToken::new());
        // Spawned, because the bytes count until the broker answers, also after the request has
        // given up.
        let waited_for = unwanted.clone().drop_guard();
        let publishing = tokio::spawn(async move {
            let published = broker.publish_unless(&message, &unwanted).await;
            drop(room);
            published
        });
        let published = timeout(PATIENCE, publishing).await;
        drop(waited_for);
        match published {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(_))) => Err(SinkError::Stopping),
            Ok(Err(_)) => Err(SinkError::Failed),
            Err(_) if self.broker.is_blocked() => Err(SinkError::Blocked),
            Err(_) if self.broker.is_connected() => Err(SinkError::NotInTime),
            Err(_) => Err(SinkError::BrokerAway),
        }
    }
}

impl WebhookSink for QueueSink {
    fn store_webhook(&self, webhook: WebhookMessage) -> BoxFuture<'_, Result<(), SinkError>> {
        self.publish_webhook(webhook).boxed()
    }
}
