//! Reads the stream and applies its records one after the other.
//!
//! Every reader begins with the last message that was applied and compares it. Where that message
//! differs, the stream is another one: the index is cleared and filled anew. A stream that ends
//! before that message may only lag. It is another one where it holds a new record of this process
//! before that message ([`doubt`](super::doubt)).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::batch::{Source, fingerprint, lines};
use super::doubt::{DoubtRemedy, ReadBackDoubt, StreamPreview};
use super::health::{Progress, Pulse};
use super::index::{Checkpoint, IndexError, KeptLine};
use super::outbox::{Held, Outbox};
use super::packing::unpack;
use super::store::Store;
use super::view::Reached;
use ferryd_broker::stream::{Entry, Place, Stream};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobRuling, JobState};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::{AnyRecord, Line, Record, RecordId};
use ferryd_domain::ledger::ruling::{Granted, Ruling};

/// The pause after the index could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Applies the records of the stream.
pub(super) struct Follower {
    pub stream: Stream,
    pub outbox: Arc<Outbox>,
    pub store: Arc<Store>,
    pub pulse: Arc<Pulse>,
    /// The longest time for which a reader may be silent before it is doubted.
    pub patience: Duration,
    pub stop: CancellationToken,
    /// The message that has to be next.
    pub expected: Option<Checkpoint>,
    pub progress: Progress,
    pub doubt: ReadBackDoubt,
}

/// `Some` while reading goes on; `None` once it has to end.
type Going = Option<()>;

impl Follower {
    /// Reads until ferryd stops, then saves everything.
    pub async fn follow(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            // The link has ended for good.
            _ended = self.go_on() => stop.cancel(),
        }
        self.store.end();
    }

    async fn go_on(&mut self) -> Going {
        self.load().await?;
        loop {
            self.step().await?;
        }
    }

    /// Loads the index, and begins where it ends.
    async fn load(&mut self) -> Going {
        loop {
            let index = &self.store.index;
            match index.checkpoint().and_then(|checkpoint| Ok((checkpoint, index.writers()?, index.live_jobs()?))) {
                Ok((checkpoint, writers, jobs)) => {
                    let mut state = self.store.lock();
                    state.view.load(checkpoint, writers);
                    state.view.jobs.load(jobs);
                    drop(state);
                    self.pulse.begin(self.outbox.mark(Timestamp::now()));
                    return Some(());
                }
                Err(error) => self.survive(&error).await,
            }
        }
    }

    async fn step(&mut self) -> Going {
        if !self.stream.is_attached() {
            self.aim();
            self.stream.attach().await?;
            self.pulse.beat();
        }
        tokio::select! {
            biased;
            () = self.store.damaged() => self.rebuild().await,
            // This branch comes first: records of other writers may always be ready.
            () = self.pulse.stuck() => self.doubt().await,
            entry = self.stream.read() => {
                if let Some(entry) = entry {
                    self.take(entry).await;
                }
            }
        }
        Some(())
    }

    /// Lets the next reader begin with the last message that was applied.
    fn aim(&mut self) {
        let reached = self.store.lock().view.reached();
        self.expected = reached.map(|reached| reached.checkpoint());
        self.stream.reposition(self.expected.map_or(Place::First, |expected| Place::Offset(expected.offset)));
    }

    /// Resolves a doubt: a record of this process that the broker has confirmed does not arrive.
    async fn doubt(&mut self) {
        if self.stream.attached_for() < self.patience || !self.outbox.is_overdue(self.patience) {
            return;
        }
        let is_silent = self.pulse.quiet_for() >= self.patience;
        let preview = self.look_ahead().await;
        let known = self.store.lock().view.reached().map(|reached| reached.offset());
        match self.doubt.judge(preview, known, self.progress.offset, is_silent) {
            DoubtRemedy::Wait => {}
            DoubtRemedy::ReadAnew => {
                warn!("what the broker confirmed for the ledger is not read back; reading it anew");
                self.aim();
            }
            DoubtRemedy::Reconnect => {
                // After a stream's leader has changed, RabbitMQ 3.10 can take what a channel
                // publishes for repeats: it confirms and drops them. A new session has new channel
                // names. Or the replica lags for good; the next session may reach another node.
                self.stream.end_session("what the broker confirms for the ledger does not come into its stream");
                self.outbox.write_again();
                self.aim();
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
        let mut ahead = self.stream.fork(Place::Next);
        let mut others = None;
        let looking = async {
            ahead.attach().await?;
            self.outbox.write_again();
            loop {
                let entry = ahead.read().await?;
                if self.is_new_of_ours(Source::of(&entry.properties)) {
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
    fn is_new_of_ours(&self, source: Option<Source>) -> bool {
        let ours = source.filter(|source| source.writer == self.outbox.writer);
        ours.is_some_and(|source| source.first > self.store.lock().view.highest(source.writer))
    }

    async fn take(&mut self, entry: Entry) {
        self.pulse.beat();
        let source = Source::of(&entry.properties);
        if let Some(expected) = self.expected {
            if entry.offset < expected.offset && !self.is_new_of_ours(source) {
                // The replica lags. A record of this process distinguishes it from another stream.
                if self.outbox.oldest().is_none() {
                    self.outbox.mark(Timestamp::now());
                }
                return;
            }
            self.expected = None;
            let found = Checkpoint { offset: entry.offset, hash: fingerprint(source, &entry.data) };
            if found != expected {
                warn!(offset = expected.offset, "the ledger's stream is not the one that is known");
                self.rebuild().await;
            }
            return;
        }
        while let Err(error) = self.apply(&entry, source) {
            self.survive(&error).await;
            if error.is_damaged() {
                return;
            }
        }
        let Entry { offset, data, .. } = entry;
        self.progress.offset = Some(offset);
        self.pulse.progress(self.progress);
        self.store.reach(Reached::Message { offset, source, body: data });
        self.store.room().await;
        self.pulse.beat();
    }

    /// Recovers from an error of the index.
    async fn survive(&mut self, error: &IndexError) {
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
        (self.progress, self.doubt) = (Progress::default(), ReadBackDoubt::default());
        self.pulse.begin(u64::MAX);
        self.store.clear().await;
        self.aim();
        self.pulse.begin(self.outbox.mark(Timestamp::now()));
    }

    /// Applies the lines of a message that are new. May be called again after an error.
    fn apply(&mut self, entry: &Entry, source: Option<Source>) -> Result<(), IndexError> {
        let Some(Source { writer, first }) = source else {
            self.keep(RecordId { writer: Uuid::nil(), number: entry.offset }, &entry.data, "nobody's batch");
            return Ok(());
        };
        let data = match unpack(&entry.properties, &entry.data) {
            Ok(data) => data,
            Err(error) => {
                self.keep(RecordId { writer, number: first }, &entry.data, &error.to_string());
                return Ok(());
            }
        };
        let known = self.store.lock().view.highest(writer);
        for (number, line) in (first..).zip(lines(&data)).skip_while(|(number, _)| *number <= known) {
            self.apply_line(RecordId { writer, number }, line)?;
        }
        if writer == self.outbox.writer {
            let number = self.store.lock().view.highest(writer);
            self.outbox.told(number);
            self.pulse.read_back(number);
            self.doubt = ReadBackDoubt::default();
        }
        Ok(())
    }

    fn apply_line(&mut self, id: RecordId, line: &[u8]) -> Result<(), IndexError> {
        let held = self.held(id);
        self.progress.records += 1;
        if let Some(held) = held {
            return self.apply_held(id, held, line.len());
        }
        match Line::decode(line) {
            Ok(Line::Record(record)) => {
                self.progress.at = Some(record.at);
                self.rule(id, &record, line.len())?;
            }
            Ok(Line::Job(record)) => {
                self.progress.at = Some(record.at);
                self.rule_job(id, &record)?;
            }
            Ok(Line::Marker | Line::Foreign { critical: false, .. }) => self.note_marker(id),
            Ok(Line::Foreign { kind, command: Some(command), critical: true }) => {
                self.block(id, &command, &kind, line.len())?;
            }
            Ok(Line::Foreign { kind, command: None, critical: true }) => {
                self.keep(id, line, &format!("a record of the kind `{kind}` without a command"));
            }
            Err(error) => self.keep(id, line, &error.to_string()),
        }
        Ok(())
    }

    /// Records that a marker was read. The first record of a writer is a query from the command
    /// line, which waits until the marker is saved.
    fn note_marker(&self, id: RecordId) {
        let mut state = self.store.lock();
        state.view.applied(id);
        if id.number == 1 {
            state.hurry();
        }
    }

    /// Returns this process's own record, unless it was read back before: such a record need not be
    /// parsed.
    fn held(&self, id: RecordId) -> Option<Held> {
        if id.writer != self.outbox.writer {
            return None;
        }
        let (held, lost) = self.outbox.take(id.number);
        if lost > 0 {
            warn!(lost, "the stream has lost records of the ledger that it had confirmed; writing them again");
        }
        held
    }

    fn apply_held(&self, id: RecordId, held: Held, bytes: usize) -> Result<(), IndexError> {
        let Some(record) = &held.record else {
            self.store.lock().view.applied(id);
            return Ok(());
        };
        let ruled = match record {
            AnyRecord::Command(record) => self.rule(id, record, bytes),
            AnyRecord::Job(record) => self.rule_job(id, record).map(|ruling| match ruling {
                JobRuling::Counts => Ruling::Counts(Granted::default()),
                JobRuling::Ignored => Ruling::Passed,
            }),
        };
        match ruled {
            Ok(ruling) => {
                held.tell(id, ruling);
                Ok(())
            }
            Err(error) => {
                // The record is going to be read once more.
                self.outbox.hold_again(held);
                Err(error)
            }
        }
    }

    /// Applies a record.
    fn rule(&self, id: RecordId, record: &Record, bytes: usize) -> Result<Ruling, IndexError> {
        let job = record.fact.job();
        for job in job.into_iter().chain(self.replaying_job(record)?) {
            self.load_job(job)?;
        }
        let (ruling, result) = self.change(id, &record.command, bytes, |slot| {
            let ruling = Case::rule(slot, id, record);
            (ruling, slot.as_mut().and_then(Case::take_replay_result))
        })?;
        if let Some(job) = job.filter(|_| matches!(ruling, Ruling::Counts(_))) {
            self.store.change_job(job, JobState::count_recorded);
        }
        if let Some((job, result)) = result {
            self.store.change_job(job, |job| job.count_result(result));
        }
        Ok(ruling)
    }

    fn block(&self, id: RecordId, command: &CommandId, kind: &str, bytes: usize) -> Result<(), IndexError> {
        warn!(%command, kind, "a newer version of ferryd wrote something about a command that must not be passed over");
        self.change(id, command, bytes, |slot| Case::block(slot, kind))
    }

    fn change<T>(
        &self,
        id: RecordId,
        command: &CommandId,
        bytes: usize,
        change: impl FnOnce(&mut Option<Case>) -> T,
    ) -> Result<T, IndexError> {
        let mut state = self.store.lock();
        let mut loaded = None;
        if state.view.get(command).is_none() && !state.view.is_absent(command) {
            // Only this task adds commands, so the command is still absent afterwards.
            drop(state);
            loaded = self.store.index.case(command)?;
            state = self.store.lock();
        }
        let outcome = state.view.change(command, loaded, bytes, change);
        state.view.applied(id);
        drop(state);
        self.store.watchers.tell(command);
        Ok(outcome)
    }

    /// Keeps a line that can't be read, for an operator.
    fn keep(&self, id: RecordId, line: &[u8], why: &str) {
        warn!(record = %id, why, "a line of the ledger can't be read; it is kept aside");
        debug!(line = %String::from_utf8_lossy(line));
        let mut state = self.store.lock();
        state.view.keep(KeptLine { id, line: line.to_vec(), why: why.to_owned() });
        if id.writer != Uuid::nil() {
            state.view.applied(id);
        }
    }
}
