//! Channels that are closed at the broker, however their use ends.
//!
//! The client closes a channel by itself only where nothing is outstanding on it, and a queue
//! without a leader never answers. A connection has 2,047 channels.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::broker::BrokerSession;
use super::error::BrokerError;

/// The longest time for the broker to close a channel.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel for consuming, closed in the background when dropped.
pub struct OwnedChannel {
    session: Arc<BrokerSession>,
    channel: Channel,
}

impl OwnedChannel {
    /// Opens a channel on the connection that consumes.
    pub(super) async fn open(session: &Arc<BrokerSession>) -> Result<Self, BrokerError> {
        let channel = session.consuming_channel().await?;
        Ok(Self { session: Arc::clone(session), channel })
    }

    /// Returns the session that the channel belongs to.
    pub(super) fn session(&self) -> &Arc<BrokerSession> {
        &self.session
    }

    /// Returns the channel itself.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for OwnedChannel {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the connection with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (session, channel) = (Arc::clone(&self.session), self.channel.clone());
        runtime.spawn(async move {
            tokio::select! {
                _ = timeout(CLOSE_TIMEOUT, channel.close(200, "done".into())) => {}
                () = session.ended() => {}
            }
        });
    }
}
