//! Connections for consuming, which accept header frames that are larger than the frame size.
//!
//! RabbitMQ counts a frame without its envelope of eight bytes, and does not apply the frame size
//! to its own deliveries. It accepts a header frame of up to 131,072 bytes from a publisher, and
//! delivers it with its own additions: deliveries, deaths and times. lapin counts the whole frame
//! and ends the connection at one byte too many. Every message that was delivered on it is
//! delivered again, and counted once more, until the delivery limit takes innocent ones for poison.
//!
//! A peer may only be sent a frame size that it can handle, and lapin has no setting for the other
//! direction. So this module alters the negotiation on its way: lapin receives [`TOLERANCE`] more
//! than the broker has sent, and the broker that much less than lapin answers, which is what the
//! broker has sent itself. Bodies that lapin would send could be too large then: such a connection
//! must not publish.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::{DummyIO, RuntimeParts};
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt as _, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

/// The number of bytes by which a header frame may exceed the frame size. A death repeats the
/// routing keys, `CC` among them.
const TOLERANCE: u32 = 128 * 1024;

/// The methods of class 10, `connection`, that carry the frame size, and the bytes of a frame up to
/// that field (AMQP 0-9-1, sections 2.3.5 and 4.2.3).
const TUNE: [u8; 4] = [0, 10, 0, 30];
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
const FRAME_MAX: std::ops::Range<usize> = 13..17;
const METHOD: std::ops::Range<usize> = 7..11;
const SIZE: std::ops::Range<usize> = 3..7;
/// The bytes that a frame has besides its payload.
const ENVELOPE: usize = 8;
/// The protocol header, which a client sends first.
const GREETING: usize = 8;

type TcpRuntime = <Tokio as Reactor>::TcpStream;

/// Opens a connection that must not publish.
pub(super) async fn connect_consuming(
    mut uri: AMQPUri,
    properties: ConnectionProperties,
    tls: OwnedTLSConfig,
) -> lapin::Result<Connection> {
    uri.query.frame_max = uri.query.frame_max.map(|wanted| wanted.saturating_add(TOLERANCE));
    let tokio = Tokio::current();
    let plain = Runtime::new(tokio.clone());
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), TolerantReactor(tokio)));
    let connect = async move |uri: AMQPUri, _: Runtime<_>| {
        let stream = uri.connect_with_config_async(tls.as_ref(), &plain).await?;
        Ok(AsyncTcpStream::Plain(TolerantStream::new(stream)))
    };
    Connection::connector(uri, runtime, connect, properties).await
}

/// Tokio's reactor, with streams of its own type.
#[derive(Debug, Clone)]
struct TolerantReactor(Tokio);

impl Reactor for TolerantReactor {
    type TcpStream = TolerantStream<AsyncTcpStream<TcpRuntime>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(addr);
        async move { Ok(TolerantStream::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

/// A stream that alters the frame size in either direction.
#[derive(Debug)]
struct TolerantStream<S> {
    stream: S,
    incoming: FrameSizeNegotiation,
    outgoing: FrameSizeNegotiation,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TolerantStream<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            incoming: FrameSizeNegotiation::incoming(),
            outgoing: FrameSizeNegotiation::outgoing(),
        }
    }

    /// Writes held-back bytes that may be passed on.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.ready.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing.ready))?;
            self.outgoing.ready.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TolerantStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.incoming.ready.is_empty() {
            if this.incoming.is_over {
                return Pin::new(&mut this.stream).poll_read(cx, buffer);
            }
            let mut chunk = [0; 4096];
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))? {
                0 => this.incoming.end(),
                read => this.incoming.pass_frames(&chunk[..read]),
            }
        }
        let read = this.incoming.ready.len().min(buffer.len());
        buffer[..read].copy_from_slice(&this.incoming.ready[..read]);
        this.incoming.ready.drain(..read);
        Poll::Ready(Ok(read))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.incoming.is_over && self.incoming.ready.is_empty() {
            return Pin::new(&mut self.stream).poll_read_vectored(cx, buffers);
        }
        match buffers.iter_mut().find(|buffer| !buffer.is_empty()) {
            Some(buffer) => self.poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TolerantStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.outgoing.is_over {
            ready!(self.poll_drain(cx))?;
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        self.outgoing.pass_frames(bytes);
        // The writer flushes.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// One direction of the handshake, passed on frame by frame until the frame size was negotiated.
#[derive(Debug)]
struct FrameSizeNegotiation {
    /// The number of bytes before the first frame that are still to come.
    greeting: usize,
    method: [u8; 4],
    alter: fn(u32) -> u32,
    /// The bytes of an incomplete frame.
    partial: Vec<u8>,
    /// The bytes that may be passed on.
    ready: Vec<u8>,
    is_over: bool,
}

impl FrameSizeNegotiation {
    /// Creates the direction from the broker to lapin; a frame size of zero means no bound.
    fn incoming() -> Self {
        Self::new(
            0,
            TUNE,
            |frame_max| if frame_max == 0 { 0 } else { frame_max.saturating_add(TOLERANCE) },
        )
    }

    /// Creates the direction from lapin to the broker.
    fn outgoing() -> Self {
        Self::new(GREETING, TUNE_OK, |frame_max| frame_max.saturating_sub(TOLERANCE))
    }

    fn new(greeting: usize, method: [u8; 4], alter: fn(u32) -> u32) -> Self {
        Self { greeting, method, alter, partial: Vec::new(), ready: Vec::new(), is_over: false }
    }

    fn pass_frames(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        if self.greeting > 0 && self.partial.len() >= self.greeting {
            self.ready.extend(self.partial.drain(..self.greeting));
            self.greeting = 0;
        }
        while self.greeting == 0 && !self.is_over && self.is_whole() {
            self.pass_frame();
        }
        if self.is_over {
            self.end();
        }
    }

    /// Passes on all bytes: the peer sends nothing more.
    fn end(&mut self) {
        self.is_over = true;
        self.ready.append(&mut self.partial);
    }

    fn is_whole(&self) -> bool {
        frame_size(&self.partial).is_some_and(|size| self.partial.len() >= size)
    }

    fn pass_frame(&mut self) {
        let size = frame_size(&self.partial).unwrap_or_default();
        let mut frame: Vec<u8> = self.partial.drain(..size).collect();
        if frame.get(METHOD).is_some_and(|method| *method == self.method)
            && let Some(field) = frame.get_mut(FRAME_MAX)
        {
            let frame_max =
                field.iter().fold(0, |frame_max, byte| (frame_max << 8) | u32::from(*byte));
            field.copy_from_slice(&(self.alter)(frame_max).to_be_bytes());
            self.is_over = true;
        }
        self.ready.append(&mut frame);
    }
}

/// Returns the size of the frame that begins here, once the bytes of its size have arrived.
fn frame_size(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(SIZE)?.iter().fold(0_usize, |size, byte| (size << 8) | usize::from(*byte));
    Some(size.saturating_add(ENVELOPE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(method: [u8; 4], arguments: &[u8]) -> Vec<u8> {
        let size = u32::try_from(method.len() + arguments.len()).unwrap().to_be_bytes();
        [&[1, 0, 0], &size[..], &method, arguments, &[206]].concat()
    }

    fn tune(method: [u8; 4], frame_max: u32) -> Vec<u8> {
        frame(method, &[&[7, 255], &frame_max.to_be_bytes()[..], &[0, 60]].concat())
    }

    /// Returns the output where the input comes in pieces of this size.
    fn passed(mut negotiation: FrameSizeNegotiation, bytes: &[u8], pieces: usize) -> Vec<u8> {
        for piece in bytes.chunks(pieces) {
            negotiation.pass_frames(piece);
        }
        assert!(negotiation.is_over && negotiation.partial.is_empty());
        negotiation.ready
    }

    #[test]
    fn the_frame_size_is_altered_on_its_way_and_nothing_else_however_the_bytes_come() {
        let start = frame([0, 10, 0, 10], &[3; 500]);
        let open_ok = frame([0, 10, 0, 41], &[0]);
        for pieces in [1, 7, 13, 16, 500, 4_096] {
            let greeting =
                |frame_max| [start.clone(), tune(TUNE, frame_max), open_ok.clone()].concat();
            assert_eq!(
                passed(FrameSizeNegotiation::incoming(), &greeting(131_072), pieces),
                greeting(131_072 + TOLERANCE),
                "{pieces}"
            );
            let answer = |frame_max| {
                [b"AMQP\0\0\x09\x01".to_vec(), start.clone(), tune(TUNE_OK, frame_max)].concat()
            };
            let answered =
                passed(FrameSizeNegotiation::outgoing(), &answer(131_072 + TOLERANCE), pieces);
            assert_eq!(answered, answer(131_072), "{pieces}");
        }
    }

    #[test]
    fn what_is_no_frame_is_passed_on_at_the_end() {
        let mut incoming = FrameSizeNegotiation::incoming();
        incoming.pass_frames(b"AMQP\0\0\x09\x01");
        assert!(incoming.ready.is_empty());
        incoming.end();
        assert_eq!(incoming.ready, b"AMQP\0\0\x09\x01");
    }
}
