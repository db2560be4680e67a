//! HTTP/1.1 connections: their number, their time limits, and how they end.

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

use super::connection_handle::{ConnectionHandle, PeerAddress};
use super::connection_limiter::{ConnectionLimiter, ConnectionPermit};
use super::watched_stream::WatchedStream;

/// The listen backlog, in connections: as many as a fully loaded provider opens at once.
const BACKLOG: u32 = 4096;
/// The pause after a failed `accept`, which fails for example when file descriptors run out.
const BREATHER: Duration = Duration::from_millis(100);
/// The interval at which another connection to close is looked for while all places are taken.
const SEAT_INTERVAL: Duration = Duration::from_millis(10);

/// The limits of a server's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most connections at the same time; further ones wait in the backlog.
    pub connections: usize,
    /// The most time for the head of a request and for the TLS handshake; also the most time that a
    /// connection may be idle.
    pub head: Duration,
    /// The most bytes of the head of a request.
    pub head_bytes: usize,
    /// The greatest age of a connection. Then the connection is closed after its current request.
    pub age: Duration,
    /// The most time for the current request once its connection is to be closed, at shutdown as
    /// well.
    pub drain_timeout: Duration,
    /// The extra time for a request whose connection has grown too old: the longest time for which
    /// an answer may be awaited.
    pub longest_answer: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            head: Duration::from_secs(10),
            head_bytes: 256 << 10,
            age: Duration::from_mins(10),
            drain_timeout: Duration::from_secs(5),
            longest_answer: Duration::ZERO,
        }
    }
}

/// The name of a server in log lines and errors, and the advice for an address that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerName {
    /// The name, such as `the API`.
    pub name: &'static str,
    /// The advice, which follows the words `end what listens there, `.
    pub remedy: &'static str,
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The error that an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{server} cannot listen at {address} ({source}): end what listens there, {remedy}", remedy = server.remedy)]
pub struct ListenError {
    /// The server.
    pub server: ServerName,
    /// The address.
    pub address: SocketAddr,
    /// The system's error.
    pub source: io::Error,
}

/// An address that the process listens on.
#[derive(Debug)]
pub struct BoundListener {
    server: ServerName,
    tcp: TcpListener,
    address: SocketAddr,
}

/// The configuration of a server: its routes, limits and TLS.
pub struct ServerConfig {
    /// Answers the requests.
    pub router: Router,
    /// The limits of the connections.
    pub limits: ConnectionLimits,
    /// Limits the connections of one address.
    pub limiter: Arc<ConnectionLimiter>,
    /// TLS; `None` for plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Stops the server when cancelled.
    pub stop: CancellationToken,
}

impl BoundListener {
    /// Begins to listen; needs a runtime. Clients that connect before [`Self::serve`] runs wait.
    ///
    /// # Errors
    /// The address is taken, or is not this machine's.
    pub fn bind(server: ServerName, address: SocketAddr) -> Result<Self, ListenError> {
        let refused = |source| ListenError { server, address, source };
        let tcp = listen(address).map_err(refused)?;
        let address = tcp.local_addr().map_err(refused)?;
        Ok(Self { server, tcp, address })
    }

    /// The address that the listener is bound to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled, and then finishes the current ones.
    pub async fn serve(self, config: ServerConfig) {
        let Self { server, tcp: listener, address } = self;
        info!(%address, "{server} listens");
        let (config, connections) = (Arc::new(config), TaskTracker::new());
        let seats = Arc::new(Semaphore::new(config.limits.connections));
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((tcp, peer)) => {
                        // The search precedes the admission, so that the new connection is not the
                        // one that gives way.
                        let seat = config.find_seat(&seats).await;
                        let stream = WatchedStream::new(tcp);
                        let watched = stream.clone();
                        let Some(place) =
                            config.limiter.admit(peer.ip(), move || watched.is_silent())
                        else {
                            debug!(%peer, "closed a connection to {server}: its address has too many");
                            continue;
                        };
                        let config = Arc::clone(&config);
                        connections.spawn(async move {
                            config.connection(stream, peer.ip(), Arc::new(place)).await;
                            drop(seat);
                        });
                    }
                    Err(error) => {
                        warn!(%error, "failed to accept a connection to {server}");
                        tokio::time::sleep(BREATHER).await;
                    }
                }
            }
        };
        let _: Option<()> = config.stop.run_until_cancelled(accepting).await;
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

/// The place of a connection, and the handle that requests get.
type ConnectionState<'a> = (&'a Arc<ConnectionPermit>, &'a ConnectionHandle);

impl ServerConfig {
    /// Waits until there is room for one more connection. `None` is never returned: the semaphore
    /// is never closed.
    async fn find_seat(&self, seats: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(seat) = Arc::clone(seats).try_acquire_owned() {
                return Some(seat);
            }
            self.limiter.make_room();
            let freed =
                tokio::time::timeout(SEAT_INTERVAL, Arc::clone(seats).acquire_owned()).await;
            if let Ok(seat) = freed {
                return seat.ok();
            }
        }
    }

    /// Serves a connection until it ends, is broken by a handler, or has to give way.
    async fn connection(&self, tcp: WatchedStream, peer: IpAddr, place: Arc<ConnectionPermit>) {
        let handle = ConnectionHandle::new(tcp.clone());
        tokio::select! {
            () = self.serve_connection(tcp, peer, (&place, &handle)) => {}
            () = handle.broken() => {}
            () = place.closed() => debug!(%peer, "closed a connection for a newer one: no request on it had a token"),
        }
    }

    async fn serve_connection(&self, tcp: WatchedStream, peer: IpAddr, known: ConnectionState<'_>) {
        let Some(tls) = &self.tls else { return self.requests(tcp, peer, known).await };
        let shaking_hands = tokio::time::timeout(self.limits.head, tls.accept(tcp));
        match self.stop.run_until_cancelled(shaking_hands).await {
            Some(Ok(Ok(stream))) => self.requests(stream, peer, known).await,
            Some(Ok(Err(error))) => {
                debug!(%peer, %error, "a client did not get through the TLS handshake");
            }
            Some(Err(_)) | None => {}
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: IpAddr,
        (place, handle): ConnectionState<'_>,
    ) {
        let Self { limits, stop, .. } = self;
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|mut request: Request<Incoming>| {
            let under_way = place.begin_request();
            request.extensions_mut().insert(PeerAddress(peer));
            request.extensions_mut().insert(Arc::clone(place));
            request.extensions_mut().insert(handle.clone());
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
        // An error of a connection is the client's fault, and the client sees it by the closed
        // connection.
        let drain_timeout = tokio::select! {
            _ = requests.as_mut() => return,
            () = stop.cancelled() => limits.drain_timeout,
            () = tokio::time::sleep(limits.age) => limits.drain_timeout + limits.longest_answer,
        };
        requests.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(drain_timeout, requests).await;
    }
}
