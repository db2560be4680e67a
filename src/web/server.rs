//! Connections over HTTP/1.1: how many, how slow they may be, and how they end.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::crowd::Crowd;
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
    /// How long the head of a request may take, and how long a connection may be idle; also how long TLS may take.
    pub head: Duration,
    /// The most bytes of the head of a request.
    pub head_bytes: usize,
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
            head_bytes: 256 << 10,
            age: Duration::from_mins(10),
            farewell: Duration::from_secs(5),
        }
    }
}

/// What is behind an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The HTTP API.
    Api,
    /// The endpoint for webhook calls.
    Webhooks,
}

impl Door {
    fn remedy(self) -> &'static str {
        match self {
            Self::Api => "write another `api.bind`, or `api.enabled = false`",
            Self::Webhooks => "or write another `webhooks.bind`",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "the API",
            Self::Webhooks => "the endpoint for webhooks",
        })
    }
}

/// The address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("{door} cannot listen at {address} ({source}): end what listens there, {remedy}", remedy = door.remedy())]
pub struct ListenError {
    /// What would be behind it.
    pub door: Door,
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// An address that is listened at.
#[derive(Debug)]
pub struct Listener {
    door: Door,
    tcp: TcpListener,
    address: SocketAddr,
}

/// Who is on the other side of a connection; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// How the connections of an address are served.
pub(super) struct Reception {
    /// Answers the requests.
    pub(super) router: Router,
    /// What connections may do.
    pub(super) limits: Limits,
    /// How many of them one address may have; `None` for all.
    pub(super) crowd: Option<Arc<Crowd>>,
    /// TLS; `None` for plain HTTP.
    pub(super) tls: Option<TlsAcceptor>,
    /// Cancelled when no more is to be served.
    pub(super) stop: CancellationToken,
}

impl Listener {
    /// Begins to listen; needs a runtime. Whoever connects before it is served waits.
    ///
    /// # Errors
    /// The address is taken, or is not this machine's.
    pub fn bind(door: Door, address: SocketAddr) -> Result<Self, ListenError> {
        let refused = |source| ListenError { door, address, source };
        let tcp = listen(address).map_err(refused)?;
        let address = tcp.local_addr().map_err(refused)?;
        Ok(Self { door, tcp, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests to the API until the desk's `stop` is cancelled, and then those that are under way. Commands that were
    /// handed in are published before this returns.
    pub async fn serve(self, desk: Desk, limits: Limits) {
        let (stop, work) = (desk.stop.clone(), desk.tasks.clone());
        let reception = Reception { router: routes::router(desk), limits, crowd: None, tls: None, stop };
        self.receive(reception).await;
        work.close();
        work.wait().await;
    }

    /// Answers requests until `stop` is cancelled, and then those that are under way.
    pub(super) async fn receive(self, reception: Reception) {
        let Self { door, tcp: listener, address } = self;
        info!(%address, "{door} listens");
        let (reception, connections) = (Arc::new(reception), TaskTracker::new());
        let seats = Arc::new(Semaphore::new(reception.limits.connections));
        let accepting = async {
            while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
                match listener.accept().await {
                    Ok((tcp, peer)) => {
                        let Some(place) = Crowd::enter(reception.crowd.as_ref(), peer.ip()) else {
                            debug!(%peer, "closed a connection to {door}: its address has too many");
                            continue;
                        };
                        let reception = Arc::clone(&reception);
                        connections.spawn(async move {
                            reception.connection(tcp, peer.ip()).await;
                            drop((seat, place));
                        });
                    }
                    Err(error) => {
                        warn!(%error, "failed to accept a connection to {door}");
                        tokio::time::sleep(BREATHER).await;
                    }
                }
            }
        };
        let _: Option<()> = reception.stop.run_until_cancelled(accepting).await;
        drop(listener);
        connections.close();
        connections.wait().await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Reception {
    async fn connection(&self, tcp: TcpStream, peer: IpAddr) {
        let Some(tls) = &self.tls else { return self.requests(tcp, peer).await };
        let shaking_hands = tokio::time::timeout(self.limits.head, tls.accept(tcp));
        match self.stop.run_until_cancelled(shaking_hands).await {
            Some(Ok(Ok(stream))) => self.requests(stream, peer).await,
            Some(Ok(Err(error))) => debug!(%peer, %error, "a client did not get through the TLS handshake"),
            Some(Err(_)) | None => {}
        }
    }

    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) {
        let Self { limits, stop, .. } = self;
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let requests = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_header_size(limits.head_bytes)
            .serve_connection(TokioIo::new(stream), service);
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
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
