//! Following a stream from a place in it, without declaring or changing anything.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::is_not_found;
use super::{OperatorContext, OperatorError};
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::short_string;
use ferryd_broker::stream::{BrokerStream, StreamEntry, StreamPosition};
use ferryd_broker::topology::Topology;

/// Longest wait until the broker begins to deliver.
const ATTACHING: Duration = Duration::from_secs(20);

/// A stream that is being followed, through outages of any length.
pub struct StreamTail {
    stream: BrokerStream,
    stop: CancellationToken,
    link: JoinHandle<()>,
}

impl StreamTail {
    /// Begins at `place`.
    ///
    /// # Errors
    /// [`OperatorError::Broker`], [`OperatorError::NoStream`], [`OperatorError::Silent`].
    pub async fn open(
        operator: &OperatorContext,
        name: &str,
        place: StreamPosition,
    ) -> Result<Self, OperatorError> {
        require_stream(operator, name).await?;
        let stop = CancellationToken::new();
        let (broker, link) =
            BrokerHandle::start(operator.amqp.clone(), Topology::default(), stop.clone());
        let mut stream = BrokerStream::new(broker, short_string(name)?, place);
        let attached = timeout(ATTACHING, stream.attach()).await;
        let tail = Self { stream, stop, link };
        if attached.is_err() {
            tail.close().await;
            return Err(OperatorError::Silent { stream: name.to_owned(), after: ATTACHING });
        }
        Ok(tail)
    }

    /// The next message. May be cancelled and called again.
    ///
    /// # Errors
    /// [`OperatorError::Broker`] after the link has ended for good.
    pub async fn next(&mut self) -> Result<StreamEntry, OperatorError> {
        Ok(self.stream.next().await.ok_or(BrokerError::Stopping)?)
    }

    /// Ends it.
    pub async fn close(self) {
        self.stop.cancel();
        let _ = self.link.await;
    }
}

/// Fails where the stream cannot be read. The link itself tries for ever, too long for a person who
/// waits at a prompt.
async fn require_stream(operator: &OperatorContext, name: &str) -> Result<(), OperatorError> {
    let connection = operator.amqp.connect_consuming("operator-tail").await?;
    let channel =
        connection.create_channel().await.map_err(BrokerError::while_doing("open a channel"))?;
    let passive =
        QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(short_string(name)?, passive, FieldTable::default()).await;
    say_goodbye(&connection).await;
    match found {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Err(OperatorError::NoStream {
            stream: name.to_owned(),
            address: operator.amqp.address(),
        }),
        Err(error) => {
            Err(BrokerError::while_doing(format!("look for stream {name}"))(error).into())
        }
    }
}
