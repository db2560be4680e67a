//! The first index of this host, for comparing it with the stream: where no daemon keeps it, this
//! process does; else what the daemon has saved is read, behind a marker that this process appends.
//! Either way it holds everything that was in the ledger when it was requested.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::index_owner::{IndexOwner, IndexPlace, LedgerRead};
use super::publishing_connection::PublishingConnection;
use super::{OperatorContext, OperatorError};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::RecordId;
use ferryd_ledger::index::{IndexError, LedgerIndex};
use ferryd_ledger::record_encoder::RecordEncoder;

/// Longest wait until the daemon on this host has saved a marker.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks at the index.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Time between two attempts to become the owner of the index: the daemon may have ended.
const RETAKE_EVERY: Duration = Duration::from_millis(250);

/// The first index of this host.
pub enum HostIndex {
    /// The index belongs to this process.
    Owned(IndexOwner),
    /// The index belongs to a daemon.
    Read(Box<IndexReader>),
}

/// The index of a daemon, and what appends markers.
pub struct IndexReader {
    index: LedgerIndex,
    sender: PublishingConnection,
    encoder: RecordEncoder,
}

impl HostIndex {
    /// Opens the index and waits until it is known up to now. `progress` receives how far that is.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn open(
        operator: &OperatorContext,
        place: &IndexPlace,
        progress: &mut impl FnMut(LedgerRead),
    ) -> Result<Self, OperatorError> {
        let key = operator.names.ledger_key(&operator.amqp.first_address());
        let deadline = Instant::now() + PATIENCE;
        let mut writer = None;
        loop {
            // The owner may be a command like this one, which ends before it has read our marker.
            if let Some(index) = LedgerIndex::open_first(&place.dir, &key)? {
                return IndexOwner::start(operator, place, index, progress).await.map(Self::Owned);
            }
            let (sender, encoder, marker) = match writer.take() {
                Some(writer) => writer,
                None => append_marker(operator).await?,
            };
            // Opened anew each time, because its owner may be making a new file.
            if let Ok(index) = LedgerIndex::open_read_only(&place.dir, &key)
                && is_applied(&index, marker, RETAKE_EVERY).await.unwrap_or_default()
            {
                return Ok(Self::Read(Box::new(IndexReader { index, sender, encoder })));
            }
            if Instant::now() >= deadline {
                let index = LedgerIndex::open_read_only(&place.dir, &key)?;
                return Err(late(&index));
            }
            sleep(LOOK_EVERY).await;
            writer = Some((sender, encoder, marker));
        }
    }

    /// Returns the recorded state of a command.
    ///
    /// # Errors
    /// [`OperatorError::Index`].
    pub fn case(&self, id: &CommandId) -> Result<Option<Arc<CommandState>>, OperatorError> {
        match self {
            Self::Owned(owner) => Ok(owner.ledger().command_state(id)),
            Self::Read(reader) => Ok(reader.index.command_state(id)?.map(Arc::new)),
        }
    }

    /// The index itself.
    pub async fn index(&self) -> &LedgerIndex {
        match self {
            Self::Owned(owner) => {
                owner.ledger().flush().await;
                owner.ledger().index()
            }
            Self::Read(reader) => &reader.index,
        }
    }

    /// Waits until everything is known that is in the ledger now.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn refresh(&mut self) -> Result<(), OperatorError> {
        match self {
            Self::Owned(owner) => owner.refresh().await,
            Self::Read(reader) => reader.refresh().await,
        }
    }

    /// Lets go of the index. What this process has read is saved for the next one.
    pub async fn close(self) {
        match self {
            Self::Owned(owner) => owner.close().await,
            Self::Read(reader) => reader.sender.close().await,
        }
    }
}

impl IndexReader {
    async fn refresh(&mut self) -> Result<(), OperatorError> {
        let (marker, message) = self.encoder.encode_marker(Timestamp::now());
        self.sender.send(&message).await?;
        if is_applied(&self.index, marker, PATIENCE).await? {
            Ok(())
        } else {
            Err(late(&self.index))
        }
    }
}

fn late(index: &LedgerIndex) -> OperatorError {
    OperatorError::Behind { index: index.path().display().to_string(), after: PATIENCE }
}

/// Appends a marker by a new writer.
async fn append_marker(
    operator: &OperatorContext,
) -> Result<(PublishingConnection, RecordEncoder, RecordId), OperatorError> {
    let (mut sender, mut encoder) =
        (PublishingConnection::open(operator).await?, RecordEncoder::new(&operator.names));
    let (marker, message) = encoder.encode_marker(Timestamp::now());
    sender.send(&message).await?;
    Ok((sender, encoder, marker))
}

/// Returns whether the daemon applies a record and saves that within `patience`.
async fn is_applied(
    index: &LedgerIndex,
    id: RecordId,
    patience: Duration,
) -> Result<bool, IndexError> {
    let deadline = Instant::now() + patience;
    while index.highest_applied(&id.writer)? < id.number {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(true)
}
