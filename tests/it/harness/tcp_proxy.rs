//! A TCP proxy that stalls, cuts and refuses connections when told to.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of the bytes of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Moving,
    /// Connections stay, and new ones are accepted; nothing arrives.
    Stalled,
}

/// A proxy in front of one address. It ends when dropped.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    /// Bound and never listening: it keeps the port from others while nobody listens on it.
    _reserved: TcpSocket,
    target: Mutex<SocketAddr>,
    flow: watch::Sender<Flow>,
    /// The listener and, inside it, all connections. `None` while connections are refused.
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl TcpProxy {
    /// A proxy to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let reserved = bind("127.0.0.1:0".parse().unwrap());
        let address = reserved.local_addr().unwrap();
        let (flow, _) = watch::channel(Flow::Moving);
        let proxy = Self { address, _reserved: reserved, target: Mutex::new(target), flow, serving: Mutex::default() };
        proxy.serve();
        proxy
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stalls: what was sent is not delivered, and nobody is told.
    pub(crate) fn pause(&self) {
        self.flow.send_replace(Flow::Stalled);
    }

    /// Everything moves again, and connections are accepted again.
    pub(crate) fn resume(&self) {
        self.flow.send_replace(Flow::Moving);
        if self.serving.lock().unwrap().is_none() {
            self.serve();
        }
    }

    /// Closes every connection; new ones are served.
    pub(crate) async fn cut(&self) {
        self.refuse().await;
        self.serve();
    }

    /// Closes every connection; new ones lead to another address.
    pub(crate) async fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
        self.cut().await;
    }

    /// Closes every connection and refuses new ones, until [`TcpProxy::resume`].
    pub(crate) async fn refuse(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            let _aborted = serving.await;
        }
    }

    fn serve(&self) {
        let listener: TcpListener = bind(self.address).listen(1024).unwrap();
        let (target, flow) = (*self.target.lock().unwrap(), self.flow.subscribe());
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connect(client, target, flow.clone()));
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }
}

/// Binds a socket, also beside one that is bound there and does not listen.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Moves bytes both ways until either side closes. A client of a dead target is closed at once.
async fn connect(client: TcpStream, target: SocketAddr, mut flow: watch::Receiver<Flow>) {
    if flow.wait_for(|flow| *flow == Flow::Moving).await.is_err() {
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

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if flow.wait_for(|flow| *flow == Flow::Moving).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
