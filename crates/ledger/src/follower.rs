//! Reads the stream and applies its records one after the other.
//!
//! Every reader begins with the last message that was applied and compares it. Where that message
//! differs, the stream is another one: the index is cleared and filled anew. A stream that ends
//! before that message may only lag. It is another one where it holds a new record of this process
//! before that message ([`handle_doubt`](super::handle_doubt)).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::batch::{BatchSource, fingerprint};
use super::health::{HealthMonitor, ReadProgress};
use super::index::{IndexCheckpoint, IndexError};
use super::pending_records::PendingRecords;
use super::read_back::{DoubtRemedy, ReadBackDoubt, StreamPreview};
use super::state_cache::StreamReach;
use super::store::StateStore;
use ferryd_broker::stream::{BrokerStream, StreamEntry, StreamPosition};

/// The pause after the index could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Applies the records of the stream.
pub(super) struct LedgerFollower {
    pub stream: BrokerStream,
    pub pending_records: Arc<PendingRecords>,
    pub store: Arc<StateStore>,
    pub health_monitor: Arc<HealthMonitor>,
    /// The longest time for which a reader may be silent before it is doubted.
    pub patience: Duration,
    pub stop: CancellationToken,
    /// The message that has to be next.
    pub expected: Option<IndexCheckpoint>,
    pub progress: ReadProgress,
    pub doubt: ReadBackDoubt,
}

/// `Some` while reading goes on; `None` once it has to end.
type ReadFlow = Option<()>;

impl LedgerFollower {
    /// Reads until ferryd stops, then saves everything.
    pub async fn follow(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // The link has ended for good.
            _ended = self.go_on() => stop.cancel(),
        }
        self.store.finish_saving();
    }

    async fn go_on(&mut self) -> ReadFlow {
        self.load().await?;
        loop {
            self.step().await?;
        }
    }

    /// Loads the index, and begins where it ends.
    async fn load(&mut self) -> ReadFlow {
        loop {
            let index = &self.store.index;
            match index
                .checkpoint()
                .and_then(|checkpoint| Ok((checkpoint, index.writers()?, index.live_jobs()?)))
            {
                Ok((checkpoint, writers, jobs)) => {
                    let mut state = self.store.lock();
                    state.cache.load(checkpoint, writers);
                    state.cache.jobs.load(jobs);
                    drop(state);
                    self.health_monitor
                        .begin(self.pending_records.pending_marker(Timestamp::now()));
                    return Some(());
                }
                Err(error) => self.recover_index(&error).await,
            }
        }
    }

    async fn step(&mut self) -> ReadFlow {
        if !self.stream.is_attached() {
            self.resume_from_applied();
            self.stream.attach().await?;
            self.health_monitor.note_progress();
        }
        tokio::select! {
            biased;
            () = self.store.wait_until_damaged() => self.rebuild().await,
            // This branch comes first: records of other writers may always be ready.
            () = self.health_monitor.wait_until_stuck() => self.handle_doubt().await,
            entry = self.stream.read() => {
                if let Some(entry) = entry {
                    self.take(entry).await;
                }
            }
        }
        Some(())
    }

    /// Lets the next reader begin with the last message that was applied.
    fn resume_from_applied(&mut self) {
        let reached = self.store.lock().cache.reached();
        self.expected = reached.map(|reached| reached.checkpoint());
        self.stream.reposition(
            self.expected
                .map_or(StreamPosition::First, |expected| StreamPosition::Offset(expected.offset)),
        );
    }

    /// Resolves a doubt: a record of this process that the broker has confirmed does not arrive.
    async fn handle_doubt(&mut self) {
        if self.stream.attached_for() < self.patience
            || !self.pending_records.is_overdue(self.patience)
        {
            return;
        }
        let is_silent = self.health_monitor.quiet_for() >= self.patience;
        let preview = self.look_ahead().await;
        let known = self.store.lock().cache.reached().map(|reached| reached.offset());
        match self.doubt.choose_remedy(preview, known, self.progress.offset, is_silent) {
            DoubtRemedy::Wait => {}
            DoubtRemedy::ReadAnew => {
                warn!("what the broker confirmed for the ledger is not read back; reading it anew");
                self.resume_from_applied();
            }
            DoubtRemedy::Reconnect => {
                // After a stream's leader has changed, RabbitMQ 3.10 can take what a channel
                // publishes for repeats: it confirms and drops them. A new session has new channel
                // names. Or the replica lags for good; the next session may reach another node.
                self.stream.end_session(
                    "what the broker confirms for the ledger does not come into its stream",
                );
                self.pending_records.write_again();
                self.resume_from_applied();
            }
            DoubtRemedy::Rebuild => {
                warn!(
                    offset = known,
                    "the ledger's stream is not the one that is known: a new record stands before an old one"
                );
                self.rebuild().await;
            }
        }
    }

    /// Writes the missing records once more, and looks for them with a second reader.
    async fn look_ahead(&self) -> StreamPreview {
        let mut ahead = self.stream.new_reader(StreamPosition::Next);
        let mut others = None;
        let looking = async {
            ahead.attach().await?;
            self.pending_records.write_again();
            loop {
                let entry = ahead.read().await?;
                if self.is_new_of_ours(BatchSource::of(&entry.properties)) {
                    return Some(entry.offset);
                }
                others.get_or_insert(entry.offset);
            }
        };
        match timeout(self.patience, looking).await {
            Ok(Some(offset)) => StreamPreview::Ours(offset),
            _ => others.map_or(StreamPreview::Nothing, StreamPreview::Others),
        }
    }

    /// Returns true if a message begins with a record of this process that was never read.
    fn is_new_of_ours(&self, source: Option<BatchSource>) -> bool {
        let ours = source.filter(|source| source.writer == self.pending_records.writer);
        ours.is_some_and(|source| source.first > self.store.lock().cache.highest(source.writer))
    }

    async fn take(&mut self, entry: StreamEntry) {
        self.health_monitor.note_progress();
        let source = BatchSource::of(&entry.properties);
        if let Some(expected) = self.expected {
            if entry.offset < expected.offset && !self.is_new_of_ours(source) {
                // The replica lags. A record of this process distinguishes it from another stream.
                if self.pending_records.oldest().is_none() {
                    self.pending_records.pending_marker(Timestamp::now());
                }
                return;
            }
            self.expected = None;
            let found =
                IndexCheckpoint { offset: entry.offset, hash: fingerprint(source, &entry.data) };
            if found != expected {
                warn!(offset = expected.offset, "the ledger's stream is not the one that is known");
                self.rebuild().await;
            }
            return;
        }
        while let Err(error) = self.apply(&entry, source) {
            self.recover_index(&error).await;
            if error.is_damaged() {
                return;
            }
        }
        let StreamEntry { offset, data, .. } = entry;
        self.progress.offset = Some(offset);
        self.health_monitor.progress(self.progress);
        self.store.note_applied(StreamReach::Message { offset, source, body: data });
        self.store.wait_for_room().await;
        self.health_monitor.note_progress();
    }

    /// Recovers from an error of the index.
    async fn recover_index(&mut self, error: &IndexError) {
        if error.is_damaged() {
            warn!(%error, "the ledger's index is made anew from the stream");
            self.rebuild().await;
        } else {
            warn!(%error, "failed to read the ledger's index; trying again");
            sleep(RETRY).await;
        }
    }

    /// Clears the index and reads the stream from its beginning.
    async fn rebuild(&mut self) {
        info!("reading the ledger from its beginning");
        (self.progress, self.doubt) = (ReadProgress::default(), ReadBackDoubt::default());
        self.health_monitor.begin(u64::MAX);
        self.store.clear().await;
        self.resume_from_applied();
        self.health_monitor.begin(self.pending_records.pending_marker(Timestamp::now()));
    }
}
