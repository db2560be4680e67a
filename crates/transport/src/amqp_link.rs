//! One connection to a provider's broker, and its channels, each with one published message at a
//! time.
//!
//! A returned message can be told from others only where its channel carries no other, and a closed
//! channel says something about a message only where it carries no other. A channel becomes free
//! once the confirm of its message was read. One whose message was abandoned is closed.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, net};

use async_rs::TokioRuntime;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::tcp::{AMQPUriTcpExt as _, AsyncTcpStream};
use lapin::types::FieldTable;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ErrorKind};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::amqp_failure as failure;
use super::amqp_setup::BrokerTarget;
use ferryd_domain::outcome::Failure;

/// The longest time for the broker to answer the closing of a connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to a broker.
pub(super) struct AmqpLink {
    connection: Arc<Connection>,
    /// Channels in confirm mode on which no message awaits its confirm.
    idle: Mutex<Vec<Channel>>,
    retired: AtomicBool,
    socket: Arc<SocketHandle>,
}

/// The reason why a link has no channel for a message.
pub(super) enum ChannelError {
    /// The link is lost; another one may have a channel.
    LinkLost(Failure),
    /// The broker allows no further channel.
    Refused(Failure),
}

impl AmqpLink {
    /// Connects, authenticates and opens the virtual host.
    pub(super) async fn open(target: &BrokerTarget) -> Result<Self, Failure> {
        let within = target.connect_timeout;
        let connecting = connect(target);
        match timeout(within, connecting).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(failure::connect_failure(&target.address, &error)),
            Err(_) => Err(failure::connect_timeout(&target.address, within)),
        }
    }

    /// Returns true if messages may be published on this link.
    pub(super) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Acquire) && self.is_connected()
    }

    /// Returns true if the connection lasts, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Returns true while the broker takes no messages, for want of memory or disk space.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Lets no further message begin on this link. Those under way go on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Returns the frame size that was negotiated, in bytes.
    pub(super) fn frame_max(&self) -> u32 {
        self.connection.configuration().frame_max()
    }

    /// Returns a free channel, or opens one within a time.
    pub(super) async fn channel(
        self: &Arc<Self>,
        within: Duration,
    ) -> Result<Channel, ChannelError> {
        if let Some(channel) = self.idle_channel() {
            return Ok(channel);
        }
        // A task of its own: a caller who leaves meanwhile leaves no half-open channel behind.
        let link = Arc::clone(self);
        let opening = tokio::spawn(async move {
            let opened = timeout(within, open_channel(&link.connection)).await;
            if opened.is_err() && !link.is_blocked() {
                link.retire();
            }
            opened
        });
        match opening.await {
            Ok(Ok(Ok(channel))) => Ok(channel),
            Ok(Ok(Err(error))) if matches!(error.kind(), ErrorKind::ChannelsLimitReached) => {
                Err(ChannelError::Refused(failure::channel_failure(&error)))
            }
            Ok(Ok(Err(error))) => Err(ChannelError::LinkLost(failure::channel_failure(&error))),
            // The task panics only if lapin does.
            Ok(Err(_)) | Err(_) => Err(ChannelError::LinkLost(failure::channel_timeout(within))),
        }
    }

    fn idle_channel(&self) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = idle.pop() {
            if channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }

    /// Takes back a channel, the confirm of whose message was read.
    pub(super) fn give_back(&self, channel: Channel) {
        if channel.status().connected() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
    }

    /// Begins to consume a queue on a channel of its own. The broker delivers at most `prefetch`
    /// messages ahead of their acks.
    pub(super) async fn consume(&self, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
        let channel = self.connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        channel.basic_consume(queue.into(), "".into(), options, arguments).await
    }

    /// Closes the connection in good order.
    pub(super) async fn say_goodbye(&self) {
        say_goodbye(&self.connection).await;
    }
}

impl Drop for AmqpLink {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the connection with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (connection, socket) = (Arc::clone(&self.connection), Arc::clone(&self.socket));
        runtime.spawn(async move {
            say_goodbye(&connection).await;
            drop(socket);
        });
    }
}

async fn say_goodbye(connection: &Connection) {
    let _ = timeout(GOODBYE, connection.close(200, "done".into())).await;
}

async fn open_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn connect(target: &BrokerTarget) -> lapin::Result<AmqpLink> {
    let socket = Arc::new(SocketHandle::default());
    let (shared, tls, within) = (Arc::clone(&socket.0), target.tls.clone(), target.connect_timeout);
    // lapin connects in a thread of its own, which does not end with the future of this function.
    let connecting = async move |uri: AMQPUri, runtime: TokioRuntime| {
        let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
        let connected = timeout(within, async {
            let stream = plain.connect_async(&runtime).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                shared.hold(stream.get_ref())?;
            }
            match &tls {
                Some(tls) => stream.into_rustls(tls, &uri.authority.host).await,
                None => Ok(stream),
            }
        });
        let connected = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(lapin::Error::from)
    };
    let runtime = lapin::runtime::default_runtime()?;
    let uri = target.uri.clone();
    let connection = Connection::connector(uri, runtime, connecting, properties()).await?;
    Ok(AmqpLink {
        connection: Arc::new(connection),
        idle: Mutex::default(),
        retired: AtomicBool::new(false),
        socket,
    })
}

fn properties() -> ConnectionProperties {
    let host = gethostname::gethostname();
    let name = format!("ferryd@{}", host.to_string_lossy());
    ConnectionProperties::default().with_connection_name(name.into())
}

/// The socket of a connection, closed when dropped. lapin keeps a thread for every connection until
/// the broker answers or the socket closes, and a broker that accepts connections may never answer.
#[derive(Default)]
struct SocketHandle(Arc<SharedSocket>);

#[derive(Default)]
struct SharedSocket(Mutex<SocketState>);

#[derive(Default)]
enum SocketState {
    #[default]
    NotConnected,
    Connected(net::TcpStream),
    Closed,
}

impl SharedSocket {
    /// Keeps a second descriptor of a socket.
    fn hold(&self, socket: &impl AsFd) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, SocketState::Closed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let socket = socket.as_fd().try_clone_to_owned()?;
        *state = SocketState::Connected(socket.into());
        Ok(())
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let SocketState::Connected(socket) = &*state {
            // Fails where the connection has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        *state = SocketState::Closed;
    }
}
