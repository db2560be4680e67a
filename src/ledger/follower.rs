//! Reads the stream and applies it, record after record, in its order.
//!
//! Every reader begins with the last message that was applied and compares it. Where it is not the same, this is another
//! stream, or one that has lost its end, and everything is forgotten and read from the beginning.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::batch::{Source, fingerprint, lines};
use super::health::{Progress, Pulse};
use super::index::{Checkpoint, IndexError, KeptLine};
use super::outbox::{Held, Outbox};
use super::packing::unpack;
use super::store::Store;
use super::view::Reached;
use crate::amqp::stream::{Entry, Place, Stream};
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::{By, Fact, Line, Record, RecordId};
use crate::domain::ledger::ruling::Ruling;

/// How long to wait after the index could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Applies the stream.
pub(super) struct Follower {
    pub stream: Stream,
    pub outbox: Arc<Outbox>,
    pub store: Arc<Store>,
    pub pulse: Arc<Pulse>,
    /// For how long a reader may be silent before it is doubted.
    pub patience: Duration,
    pub stop: CancellationToken,
    /// What the next message has to be.
    pub expected: Option<Checkpoint>,
    pub progress: Progress,
    /// How often in a row reading anew brought nothing.
    pub doubts: u32,
}

/// Whether reading goes on.
type Going = Option<()>;

impl Follower {
    /// Reads until ferryd stops, then lets everything be saved.
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

    /// Begins where the index ends.
    async fn load(&mut self) -> Going {
        loop {
            let index = &self.store.index;
            match index.checkpoint().and_then(|checkpoint| Ok((checkpoint, index.writers()?))) {
                Ok((checkpoint, writers)) => {
                    self.store.lock().view.load(checkpoint, writers);
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
            entry = self.stream.read() => {
                if let Some(entry) = entry {
                    self.take(entry).await;
                }
            }
            () = self.store.damaged() => self.rebuild().await,
            () = self.pulse.stuck() => self.doubt().await,
        }
        Some(())
    }

    /// Lets the next reader begin with the last message that was applied.
    fn aim(&mut self) {
        let reached = self.store.lock().view.reached();
        self.expected = reached.map(|reached| reached.checkpoint());
        self.stream.reposition(self.expected.map_or(Place::First, |expected| Place::Offset(expected.offset)));
    }

    /// The reader is silent though something should come.
    async fn doubt(&mut self) {
        if self.stream.attached_for() < self.patience || self.pulse.quiet_for() < self.patience {
            return;
        }
        if let Some(expected) = self.expected
            && self.stream.reaches(expected.offset, self.patience).await == Some(false)
        {
            warn!(offset = expected.offset, "the ledger's stream ends before what is known of it");
            return self.rebuild().await;
        }
        if self.doubts > 0 {
            // After a stream's leader has changed, RabbitMQ 3.10 can take what a channel publishes to it for repeats: it
            // confirms them, and drops them. It knows a channel of a new session by another name.
            self.stream.end_session("what the broker confirms for the ledger does not come into its stream");
        }
        self.doubts += 1;
        self.aim();
    }

    async fn take(&mut self, entry: Entry) {
        self.pulse.beat();
        let source = Source::of(&entry.properties);
        if let Some(expected) = self.expected.take() {
            let found = Checkpoint { offset: entry.offset, hash: fingerprint(source, &entry.data) };
            if found != expected {
                warn!(offset = expected.offset, "the ledger's stream is not the one that is known");
                self.rebuild().await;
            }
            return;
        }
        self.doubts = 0;
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

    /// What to do after the index failed.
    async fn survive(&mut self, error: &IndexError) {
        if error.is_damaged() {
            warn!(%error, "the ledger's index is made anew from the stream");
            self.rebuild().await;
        } else {
            warn!(%error, "failed to read the ledger's index; trying again");
            sleep(RETRY).await;
        }
    }

    /// Forgets everything and begins anew.
    async fn rebuild(&mut self) {
        info!("reading the ledger from its beginning");
        self.progress = Progress::default();
        self.pulse.begin(u64::MAX);
        self.store.clear().await;
        self.aim();
        self.pulse.begin(self.outbox.mark(Timestamp::now()));
    }

    /// Applies the lines of a message that were not applied before. May be called again with the same message after an
    /// error.
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
            Ok(Line::Marker | Line::Foreign { critical: false, .. }) => self.store.lock().view.applied(id),
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

    /// Our own record, where it was not read back before: it need not be parsed.
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
        match self.rule(id, record, bytes) {
            Ok(ruling) => {
                held.tell(id, ruling);
                Ok(())
            }
            Err(error) => {
                // It is going to be read once more.
                self.outbox.hold_again(held);
                Err(error)
            }
        }
    }

    /// Applies a record.
    fn rule(&self, id: RecordId, record: &Record, bytes: usize) -> Result<Ruling, IndexError> {
        self.change(id, &record.command, bytes, |slot| Case::rule(slot, id, record)).inspect(|ruling| {
            if is_waited_for(&record.fact) {
                self.store.lock().view.ruled(id, ruling.clone());
            }
        })
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
            // Only this task makes cases known, so it still is not afterwards.
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

    /// Keeps a line that can't be read, for a person.
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

/// Whether a person, or a program for one, asks what became of the record.
fn is_waited_for(fact: &Fact) -> bool {
    match fact {
        Fact::Finished(finished) => !matches!(finished.by, By::Holder),
        Fact::Replayed(_) | Fact::CancelWished(_) => true,
        _ => false,
    }
}
