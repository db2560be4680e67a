//! A TCP connection that reports, while it is served, whether the server waits for the client.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that can be watched while it is served; clones are the same connection.
#[derive(Clone)]
pub(super) struct WatchedStream(Arc<WatchedSocket>);

struct WatchedSocket {
    tcp: TcpStream,
    /// True after bytes were read.
    was_read: AtomicBool,
    /// True while all received bytes are read and the server waits for more.
    is_waiting: AtomicBool,
}

impl WatchedStream {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self(Arc::new(WatchedSocket {
            tcp,
            was_read: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
        }))
    }

    /// Makes the system reset the connection instead of closing it, once the last clone is dropped.
    pub(super) fn reset_when_dropped(&self) {
        // Fails only for a connection that is gone already.
        let _ = self.0.tcp.set_zero_linger();
    }

    /// Returns true if the server has read everything that the client has sent so far. Before the
    /// first read the operating system is queried: right after `accept`, the runtime does not know
    /// yet of bytes that wait.
    pub(super) fn is_silent(&self) -> bool {
        let WatchedSocket { tcp, was_read, is_waiting } = &*self.0;
        if was_read.load(Ordering::Acquire) {
            is_waiting.load(Ordering::Acquire)
        } else {
            !has_unread_bytes(tcp)
        }
    }
}

/// Returns true if bytes wait to be read. The end of the stream and errors do not count: their
/// client is gone and gets no answer.
fn has_unread_bytes(tcp: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(tcp).peek(&mut byte).is_ok_and(|count| count > 0)
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let WatchedSocket { tcp, was_read, is_waiting } = &*self.0;
        loop {
            let Poll::Ready(readable) = tcp.poll_read_ready(context) else {
                is_waiting.store(true, Ordering::Release);
                return Poll::Pending;
            };
            readable?;
            match tcp.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    is_waiting.store(false, Ordering::Release);
                    was_read.store(true, Ordering::Release);
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.tcp.poll_write_ready(context))?;
            match self.0.tcp.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.tcp.poll_write_ready(context))?;
            match self.0.tcp.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no write buffer in this process.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&self.0.tcp).shutdown(Shutdown::Write) {
            // The client has gone already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (TcpStream, WatchedStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, WatchedStream::new(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn a_connection_is_silent_while_everything_that_came_is_read() {
        let (mut client, mut stream) = connected().await;
        assert!(stream.is_silent(), "nothing came");
        client.write_all(b"abcd").await.unwrap();
        // Over loopback, written bytes are in the receive buffer at once.
        assert!(!stream.is_silent(), "it is in the socket");
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        assert!(!stream.is_silent(), "the server has not asked for more");
        stream.read_exact(&mut two).await.unwrap();
        assert!(
            futures_util::poll!(std::pin::pin!(stream.clone().read_exact(&mut two))).is_pending()
        );
        assert!(stream.is_silent(), "the server waits for more");
    }

    #[tokio::test]
    async fn what_is_written_arrives_and_then_an_end() {
        let (mut client, mut stream) = connected().await;
        stream.write_all(b"abcd").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcd");
        client.write_all(b"efgh").await.unwrap();
        drop(client);
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcdefgh");
        assert!(stream.shutdown().await.is_ok(), "of a connection that has ended as well");
    }
}
