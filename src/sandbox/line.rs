//! The sandbox's connections: TLS, HTTP/1.1, and a way to break them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for its handshake, and then for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after accepting failed, as it does without free file descriptors.
const BREATHER: Duration = Duration::from_millis(100);

/// The connection a request came by, for a handler that wants to break it.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(CancellationToken);

impl Line {
    /// Ends the connection with a TCP reset.
    pub(super) fn reset(&self) {
        self.0.cancel();
    }
}

/// Takes connections until `stop`, each with a handshake and requests in a task of its own.
pub(super) async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let take = async {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => {
                    let served = serve(tcp, acceptor.clone(), router.clone());
                    let stop = stop.clone();
                    tasks.spawn(async move { stop.run_until_cancelled(served).await });
                }
                Err(_) => tokio::time::sleep(BREATHER).await,
            }
        }
    };
    let _: Option<()> = stop.run_until_cancelled(take).await;
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let line = Line::default();
    let socket = Socket { tcp, line: line.clone() };
    // What goes wrong here is the client's doing, and the client is told by the closed connection.
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await else { return };
    let service = TowerToHyperService::new(router.layer(Extension(line.clone())));
    let requests = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    let _ = line.0.run_until_cancelled(requests).await;
}

/// A TCP connection that is reset rather than closed when its line says so.
struct Socket {
    tcp: TcpStream,
    line: Line,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.line.0.is_cancelled() {
            // Fails only for a connection that is gone already.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
