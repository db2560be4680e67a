//! The API's connections: how many, how slow they may be, and how they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::{Desk, prefer, routes};

/// How many connections may wait to be taken.
const BACKLOG: u32 = 1024;
/// How long nothing is accepted after accepting failed, as it does without free file descriptors.
const BREATHER: Duration = Duration::from_millis(100);

/// What connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at the same time; more wait to be taken.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head: Duration,
    /// How old a connection grows. Then it is closed after the request that is under way.
    pub age: Duration,
    /// How long a request may take to end once its connection is to be closed; at shutdown too.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head: Duration::from_secs(10),
            age: Duration::from_mins(10),
            farewell: Duration::from_secs(5),
        }
    }
}

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error(
    "the API cannot listen at {address} ({source}): end what listens there, write another `api.bind`, or `api.enabled = false`"
)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// An address that is listened at.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Begins to listen; needs a runtime. Whoever connects before [`serve`](Self::serve) waits.
    ///
    /// # Errors
    /// The address is taken, or is not this machine's.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let refused = |source| ListenError { address, source };
        let listener = listen(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the desk's `stop` is cancelled, and then those that are under way. Commands that were handed
    /// in are published before this returns.
    pub async fn serve(self, desk: Desk, limits: Limits) {
        info!(address = %self.address, "the API listens");
        let (stop, work) = (desk.stop.clone(), desk.tasks.clone());
        let service = TowerToHyperService::new(routes::router(desk));
        let (seats, connections) = (Arc::new(Semaphore::new(limits.connections)), TaskTracker::new());
        let accepting = async {
            while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((tcp, _)) => {
                        connections.spawn(connection(tcp, service.clone(), limits, stop.clone(), seat));
                    }
                    Err(error) => {
                        warn!(%error, "failed to accept a connection to the API");
                        tokio::time::sleep(BREATHER).await;
                    }
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(accepting).await;
        drop(self.listener);
        connections.close();
        connections.wait().await;
        work.close();
        work.wait().await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn connection(
    tcp: TcpStream,
    service: TowerToHyperService<Router>,
    limits: Limits,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
) {
    let requests = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(tcp), service);
    let mut requests = std::pin::pin!(requests);
    // What goes wrong on a connection is the client's doing, and the client is told by its end.
    let farewell = tokio::select! {
        _ = requests.as_mut() => return,
        () = stop.cancelled() => limits.farewell,
        () = tokio::time::sleep(limits.age) => limits.farewell + prefer::LONGEST,
    };
    requests.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(farewell, requests).await;
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
