//! The connection as its requests see it: the client's address, and a handle to break it.

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use super::watched_stream::WatchedStream;

/// The address on the other side of a connection; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// The connection of a request, for a handler that breaks it; an extension of every request.
#[derive(Clone)]
pub struct ConnectionHandle {
    stream: WatchedStream,
    broken: CancellationToken,
}

impl ConnectionHandle {
    pub(super) fn new(stream: WatchedStream) -> Self {
        Self { stream, broken: CancellationToken::new() }
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(&self) {
        self.stream.reset_when_dropped();
        self.broken.cancel();
    }

    /// Waits until a handler has broken the connection.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }
}
