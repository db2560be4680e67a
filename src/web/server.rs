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
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::connection_limiter::{ConnectionLimiter, ConnectionPlace, GivesWay};
use super::watched_stream::WatchedStream;
use super::{Desk, prefer, routes};
use crate::config::Network;

/// How many connections may wait to be taken.
const BACKLOG: u32 = 1024;
/// The pause after accepting failed, as it does without free file descriptors.
const BREATHER: Duration = Duration::from_millis(100);
/// The time after which another connection is looked for that gives way, where all are taken.
const SEAT_INTERVAL: Duration = Duration::from_millis(10);

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
    /// Limits those of one address.
    pub(super) limiter: Arc<ConnectionLimiter>,
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
    /// handed in are published before this returns. Connections of `proxies` are not limited by address.
    pub async fn serve(self, desk: Desk, limits: Limits, proxies: Vec<Network>) {
        let (stop, work) = (desk.stop.clone(), desk.tasks.clone());
        let limiter = Arc::new(ConnectionLimiter::new(limits.connections, GivesWay::OldestIdle, proxies));
        let reception = Reception { router: routes::router(desk), limits, limiter, tls: None, stop };
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
            loop {
                match listener.accept().await {
                    Ok((tcp, peer)) => {
                        // Before it is admitted: it must not be the one that gives way.
                        let seat = reception.find_seat(&seats).await;
                        let stream = WatchedStream::new(tcp);
                        let watched = stream.clone();
                        let Some(place) = reception.limiter.admit(peer.ip(), move || watched.is_silent()) else {
                            debug!(%peer, "closed a connection to {door}: its address has too many");
                            continue;
                        };
                        let reception = Arc::clone(&reception);
                        connections.spawn(async move {
                            reception.connection(stream, peer.ip(), Arc::new(place)).await;
                            drop(seat);
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
    /// Waits until there is room for one more connection. `None` does not come: the semaphore is never closed.
    async fn find_seat(&self, seats: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(seat) = Arc::clone(seats).try_acquire_owned() {
                return Some(seat);
            }
            self.limiter.make_room();
            let freed = tokio::time::timeout(SEAT_INTERVAL, Arc::clone(seats).acquire_owned()).await;
            if let Ok(seat) = freed {
                return seat.ok();
            }
        }
    }

    /// Serves a connection until it ends or has to give way.
    async fn connection(&self, tcp: WatchedStream, peer: IpAddr, place: Arc<ConnectionPlace>) {
        tokio::select! {
            () = self.serve_connection(tcp, peer, &place) => {}
            () = place.closed() => debug!(%peer, "closed a connection for a newer one: no request on it had a token"),
        }
    }

    async fn serve_connection(&self, tcp: WatchedStream, peer: IpAddr, place: &Arc<ConnectionPlace>) {
        let Some(tls) = &self.tls else { return self.requests(tcp, peer, place).await };
        let shaking_hands = tokio::time::timeout(self.limits.head, tls.accept(tcp));
        match self.stop.run_until_cancelled(shaking_hands).await {
            Some(Ok(Ok(stream))) => self.requests(stream, peer, place).await,
            Some(Ok(Err(error))) => debug!(%peer, %error, "a client did not get through the TLS handshake"),
            Some(Err(_)) | None => {}
        }
    }

    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr, place: &Arc<ConnectionPlace>) {
        let Self { limits, stop, .. } = self;
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            let under_way = place.begin_request();
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(Arc::clone(place));
            let answering = router.call(request);
            async move {
                let answer = answering.await;
                drop(under_way);
                answer
            }
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
