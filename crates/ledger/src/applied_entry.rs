//! Applies the lines of a message of the stream, and keeps those that it can't read.

use std::sync::Arc;

use tracing::{debug, warn};
use uuid::Uuid;

use super::batch::{BatchSource, last_line, lines};
use super::compression::decompress_body;
use super::follower::LedgerFollower;
use super::index::{IndexError, UnreadableEntry};
use super::read_back::ReadBackDoubt;
use super::unread_record::UnreadRecord;
use ferryd_broker::stream::StreamEntry;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobRuling, JobState};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{AnyRecord, LedgerLine, Record, RecordId};
use ferryd_domain::ledger::ruling::{Ruling, RulingGrant};

impl LedgerFollower {
    /// Applies the lines of a message that are new. May be called again after an error.
    pub(super) fn apply(
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
        if writer == self.pending_records.writer {
            let last = last_line(&entry.properties)
                .filter(|last| self.pending_records.are_next(first, *last));
            if let Some(last) = last {
                self.apply_own(first, last)?;
            } else {
                self.apply_lines(entry, writer, first)?;
            }
            let number = self.store.lock().cache.highest(writer);
            self.pending_records.note_read_back(number);
            self.health_monitor.read_back(number);
            self.doubt = ReadBackDoubt::default();
            return Ok(());
        }
        self.apply_lines(entry, writer, first)
    }

    /// Applies records of this process, which are still in memory.
    fn apply_own(&mut self, first: u64, last: u64) -> Result<(), IndexError> {
        for number in first..=last {
            let id = RecordId { writer: self.pending_records.writer, number };
            if let Some(held) = self.take_unread_record(id) {
                self.progress.records += 1;
                self.apply_held(id, held)?;
            }
        }
        Ok(())
    }

    /// Unpacks a message and applies the lines that are new.
    fn apply_lines(
        &mut self,
        entry: &StreamEntry,
        writer: Uuid,
        first: u64,
    ) -> Result<(), IndexError> {
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
        Ok(())
    }

    fn apply_line(&mut self, id: RecordId, line: &[u8]) -> Result<(), IndexError> {
        let held = self.take_unread_record(id);
        self.progress.records += 1;
        if let Some(held) = held {
            return self.apply_held(id, held);
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

    fn apply_held(&self, id: RecordId, held: UnreadRecord) -> Result<(), IndexError> {
        let (Some(record), bytes) = (&held.record, held.bytes) else {
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
            (ruling, slot.as_mut().and_then(|state| Arc::make_mut(state).take_replay_result()))
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
        change: impl FnOnce(&mut Option<Arc<CommandState>>) -> T,
    ) -> Result<T, IndexError> {
        let mut state = self.store.lock();
        let mut loaded = None;
        if state.cache.get(command).is_none() {
            // Only this task adds commands, so the command is still absent afterwards.
            drop(state);
            loaded = self.store.index.command_state(command)?;
            state = self.store.lock();
        }
        let outcome = state.cache.change(command, loaded, bytes, change)?;
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
