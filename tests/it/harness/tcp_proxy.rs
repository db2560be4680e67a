//! A TCP proxy that stalls, cuts and refuses connections on request.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The treatment of the bytes of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProxyFlow {
    Moving,
    /// Connections stay, and new ones are accepted; nothing arrives.
    Stalled,
}

/// A proxy in front of one address. Dropping ends it.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    /// A bound socket that never listens: it reserves the port while connections are refused.
    _reserved: TcpSocket,
    shared: Arc<ProxyState>,
    /// `None` while connections are refused.
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct ProxyState {
    target: Mutex<SocketAddr>,
    flow: watch::Sender<ProxyFlow>,
    connections: Mutex<JoinSet<()>>,
}

impl TcpProxy {
    /// Starts a proxy to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let reserved = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = reserved.local_addr().unwrap();
        let (flow, _) = watch::channel(ProxyFlow::Moving);
        let shared = ProxyState { target: Mutex::new(target), flow, connections: Mutex::default() };
        let proxy = Self {
            address,
            _reserved: reserved,
            shared: Arc::new(shared),
            listening: Mutex::default(),
        };
        proxy.listen();
        proxy
    }

    /// Returns the address where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stalls all connections: bytes are not delivered, and neither side learns of it.
    pub(crate) fn pause(&self) {
        self.shared.flow.send_replace(ProxyFlow::Stalled);
    }

    /// Lets all bytes move again, and accepts connections again.
    pub(crate) fn resume(&self) {
        self.shared.flow.send_replace(ProxyFlow::Moving);
        if self.listening.lock().unwrap().is_none() {
            self.listen();
        }
    }

    /// Closes every connection; new ones are served.
    pub(crate) async fn cut(&self) {
        let mut connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        connections.shutdown().await;
    }

    /// Closes every connection; new ones lead to another address.
    pub(crate) async fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
        self.cut().await;
    }

    /// Closes every connection and refuses new ones, until [`TcpProxy::resume`].
    pub(crate) async fn refuse(&self) {
        let listening = self.listening.lock().unwrap().take();
        if let Some(listening) = listening {
            listening.abort();
            let _aborted = listening.await;
        }
        self.cut().await;
    }

    fn listen(&self) {
        let (listener, shared) = (listen(self.address), Arc::clone(&self.shared));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, flow) = (*shared.target.lock().unwrap(), shared.flow.subscribe());
                shared.connections.lock().unwrap().spawn(connect(client, target, flow));
            }
        });
        *self.listening.lock().unwrap() = Some(listening);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.lock().unwrap().take() {
            listening.abort();
        }
        self.shared.connections.lock().unwrap().abort_all();
    }
}

/// Binds a socket, also beside one that is bound there and does not listen.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens, also where another listener was a moment ago: a process that another test is starting
/// holds that listener, too, until it runs its program.
fn listen(address: SocketAddr) -> TcpListener {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match bind(address).and_then(|socket| socket.listen(1024)) {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

/// Moves bytes both ways until either side closes. A client of a dead target is closed at once.
async fn connect(client: TcpStream, target: SocketAddr, mut flow: watch::Receiver<ProxyFlow>) {
    if flow.wait_for(|flow| *flow == ProxyFlow::Moving).await.is_err() {
        return;
    }
    if let Ok(server) = TcpStream::connect(target).await {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pump(from_client, to_server, flow.clone()) => {}
            () = pump(from_server, to_client, flow) => {}
        }
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<ProxyFlow>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if flow.wait_for(|flow| *flow == ProxyFlow::Moving).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
