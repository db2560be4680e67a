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
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::batch::{BatchSource, fingerprint, lines};
use super::compression::decompress_body;
use super::health::{HealthMonitor, ReadProgress};
use super::index::{IndexCheckpoint, IndexError, UnreadableEntry};
use super::pending_records::{PendingRecords, UnreadRecord};
use super::read_back::{DoubtRemedy, ReadBackDoubt, StreamPreview};
use super::state_cache::StreamReach;
use super::store::StateStore;
use ferryd_broker::stream::{BrokerStream, StreamEntry, StreamPosition};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobRuling, JobState};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{AnyRecord, LedgerLine, Record, RecordId};
use ferryd_domain::ledger::ruling::{Ruling, RulingGrant};

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

    /// Applies the lines of a message that are new. May be called again after an error.
    fn apply(
        &mut self,
        entry: &StreamEntry,
        source: Option<BatchSource>,
    ) -> Result<(), IndexError> {
        let Some(BatchSource { writer, first }) = source else {
            self.keep_unreadable(
                RecordId { writer: Uuid::nil(), number: entry.offset },
                &entry.data,
                "no writer's batch",
            );
            return Ok(());
        };
        let data = match decompress_body(&entry.properties, &entry.data) {
            Ok(data) => data,
            Err(error) => {
                self.keep_unreadable(
                    RecordId { writer, number: first },
                    &entry.data,
                    &error.to_string(),
                );
                return Ok(());
            }
        };
        let known = self.store.lock().cache.highest(writer);
        for (number, line) in (first..).zip(lines(&data)).skip_while(|(number, _)| *number <= known)
        {
            self.apply_line(RecordId { writer, number }, line)?;
        }
        if writer == self.pending_records.writer {
            let number = self.store.lock().cache.highest(writer);
            self.pending_records.note_read_back(number);
            self.health_monitor.read_back(number);
            self.doubt = ReadBackDoubt::default();
        }
        Ok(())
    }

    fn apply_line(&mut self, id: RecordId, line: &[u8]) -> Result<(), IndexError> {
        let held = self.take_unread_record(id);
        self.progress.records += 1;
        if let Some(held) = held {
            return self.apply_held(id, held, line.len());
        }
        match LedgerLine::decode(line) {
            Ok(LedgerLine::Record(record)) => {
                self.progress.at = Some(record.at);
                self.apply_record(id, &record, line.len())?;
            }
            Ok(LedgerLine::Job(record)) => {
                self.progress.at = Some(record.at);
                self.rule_job(id, &record)?;
            }
            Ok(LedgerLine::Marker | LedgerLine::Foreign { critical: false, .. }) => {
                self.note_marker(id);
            }
            Ok(LedgerLine::Foreign { kind, command: Some(command), critical: true }) => {
                self.block(id, &command, &kind, line.len())?;
            }
            Ok(LedgerLine::Foreign { kind, command: None, critical: true }) => {
                self.keep_unreadable(
                    id,
                    line,
                    &format!("a record of the kind `{kind}` without a command"),
                );
            }
            Err(error) => self.keep_unreadable(id, line, &error.to_string()),
        }
        Ok(())
    }

    /// Records that a marker was read. The first record of a writer is a query from the command
    /// line, which waits until the marker is saved.
    fn note_marker(&self, id: RecordId) {
        let mut state = self.store.lock();
        state.cache.note_record(id);
        if id.number == 1 {
            state.save_now();
        }
    }

    /// Returns this process's own record, unless it was read back before: such a record need not be
    /// parsed.
    fn take_unread_record(&self, id: RecordId) -> Option<UnreadRecord> {
        if id.writer != self.pending_records.writer {
            return None;
        }
        let (held, lost) = self.pending_records.take(id.number);
        if lost > 0 {
            warn!(
                lost,
                "the stream has lost records of the ledger that it had confirmed; writing them again"
            );
        }
        held
    }

    fn apply_held(&self, id: RecordId, held: UnreadRecord, bytes: usize) -> Result<(), IndexError> {
        let Some(record) = &held.record else {
            self.store.lock().cache.note_record(id);
            return Ok(());
        };
        let ruled = match record {
            AnyRecord::Command(record) => self.apply_record(id, record, bytes),
            AnyRecord::Job(record) => self.rule_job(id, record).map(|ruling| match ruling {
                JobRuling::Counts => Ruling::Counts(RulingGrant::default()),
                JobRuling::Ignored => Ruling::Superseded,
            }),
        };
        match ruled {
            Ok(ruling) => {
                held.send_ruling(id, ruling);
                Ok(())
            }
            Err(error) => {
                // The record is going to be read once more.
                self.pending_records.hold_again(held);
                Err(error)
            }
        }
    }

    /// Applies a record.
    fn apply_record(
        &self,
        id: RecordId,
        record: &Record,
        bytes: usize,
    ) -> Result<Ruling, IndexError> {
        let job = record.fact.job();
        for job in job.into_iter().chain(self.replaying_job(record)?) {
            self.load_job(job)?;
        }
        let (ruling, result) = self.change(id, &record.command, bytes, |slot| {
            let ruling = CommandState::apply_record(slot, id, record);
            (ruling, slot.as_mut().and_then(CommandState::take_replay_result))
        })?;
        if let Some(job) = job.filter(|_| matches!(ruling, Ruling::Counts(_))) {
            self.store.change_job(job, JobState::count_recorded);
        }
        if let Some((job, result)) = result {
            self.store.change_job(job, |job| job.count_result(result));
        }
        Ok(ruling)
    }

    fn block(
        &self,
        id: RecordId,
        command: &CommandId,
        kind: &str,
        bytes: usize,
    ) -> Result<(), IndexError> {
        warn!(command.id = %command, kind, "a newer version of ferryd wrote something about a command that must not be passed over");
        self.change(id, command, bytes, |slot| CommandState::block(slot, kind))
    }

    fn change<T>(
        &self,
        id: RecordId,
        command: &CommandId,
        bytes: usize,
        change: impl FnOnce(&mut Option<CommandState>) -> T,
    ) -> Result<T, IndexError> {
        let mut state = self.store.lock();
        let mut loaded = None;
        if state.cache.get(command).is_none() && !state.cache.is_absent(command) {
            // Only this task adds commands, so the command is still absent afterwards.
            drop(state);
            loaded = self.store.index.command_state(command)?;
            state = self.store.lock();
        }
        let outcome = state.cache.change(command, loaded, bytes, change);
        state.cache.note_record(id);
        drop(state);
        self.store.watchers.notify_watchers(command);
        Ok(outcome)
    }

    /// Keeps a line that can't be read, for an operator.
    fn keep_unreadable(&self, id: RecordId, line: &[u8], why: &str) {
        warn!(record = %id, why, "a line of the ledger is unreadable; it is quarantined");
        debug!(line = %String::from_utf8_lossy(line));
        let mut state = self.store.lock();
        state.cache.keep_unreadable(UnreadableEntry {
            id,
            line: line.to_vec(),
            why: why.to_owned(),
        });
        if id.writer != Uuid::nil() {
            state.cache.note_record(id);
        }
    }
}
