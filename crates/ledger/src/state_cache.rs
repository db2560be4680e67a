//! The view: the states of commands in memory, both those that changed and are not saved yet, and
//! those in progress that changed lately. The index has the others. The state of a command that is
//! finished is packed at once.
//!
//! An unsaved state always stays in memory. So a state that is not in memory is in the index, and
//! current there.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::batch::{BatchSource, fingerprint};
use super::index::{
    CachedState, IndexChanges, IndexCheckpoint, IndexError, StatePacker, UnreadableEntry,
};
use super::job_table::JobTable;
use super::seeded_hash::SeededHash;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobId, JobState};
use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::record::RecordId;

/// The number of saved states in each of the two generations.
const GENERATION: usize = 4_000;
/// The size of the records that changed a generation's states, in bytes: a state holds its
/// command's event, which can be large.
const GENERATION_BYTES: usize = 8 << 20;
/// The maximum number of unsaved states, above which reading has to wait.
const MAX_UNSAVED: usize = 10_000;
/// The maximum size of unsaved states, in bytes: that of a packed state, and for any other that of
/// the records that changed it.
const MAX_UNSAVED_BYTES: usize = 24 << 20;

type CommandMap<T> = HashMap<CommandId, T, SeededHash>;

/// The current states in memory, with those that are not saved.
#[derive(Default)]
pub(super) struct StateCache {
    unsaved: UnsavedChanges,
    /// The changes that the thread is saving now.
    saving: Arc<UnsavedChanges>,
    young: CommandMap<Arc<CommandState>>,
    young_bytes: usize,
    old: CommandMap<Arc<CommandState>>,
    numbers: HashMap<Uuid, WriterNumber, SeededHash>,
    packer: StatePacker,
    /// The jobs that have not ended, and those that changed.
    pub jobs: JobTable,
    reached: Option<Arc<StreamReach>>,
    /// Counts the changes, for their order.
    order: u64,
    /// Counts the batches of changes that were taken for saving.
    pub taken: u64,
}

#[derive(Default)]
pub(super) struct UnsavedChanges {
    cases: CommandMap<ChangedCommand>,
    writers: Vec<Uuid>,
    unreadable: Vec<UnreadableEntry>,
    /// The size of the states.
    bytes: usize,
}

struct ChangedCommand {
    order: u64,
    state: CachedState,
    /// The size of the packed state, or of the records that changed the whole one.
    bytes: usize,
}

/// The state of a command while it is changed.
struct TakenState {
    id: CommandId,
    order: u64,
    /// `None` where the command is not in memory.
    state: Option<Arc<CommandState>>,
    /// The size that is counted for the state.
    bytes: usize,
}

#[derive(Default)]
struct WriterNumber {
    highest: u64,
    /// True if the number is unsaved.
    moved: bool,
}

/// The last message of the stream that was applied.
pub(super) enum StreamReach {
    /// The message was applied before this process began.
    Before(IndexCheckpoint),
    /// The message was applied by this process. It is kept so that it is hashed only where that is
    /// needed.
    Message {
        /// The offset of the message.
        offset: u64,
        /// The writer of the message, and the number of its first line.
        source: Option<BatchSource>,
        /// The body of the message.
        body: Vec<u8>,
    },
}

impl StreamReach {
    /// Returns the offset of the latest message that was applied.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Before(checkpoint) => checkpoint.offset,
            Self::Message { offset, .. } => *offset,
        }
    }

    /// Returns the checkpoint that is saved.
    pub fn checkpoint(&self) -> IndexCheckpoint {
        match self {
            Self::Before(checkpoint) => *checkpoint,
            Self::Message { offset, source, body } => {
                IndexCheckpoint { offset: *offset, hash: fingerprint(*source, body) }
            }
        }
    }
}

/// The changes that one transaction saves.
pub(super) struct TakenChanges {
    unsaved: Arc<UnsavedChanges>,
    writers: Vec<(Uuid, u64)>,
    jobs: Vec<(JobId, Arc<JobState>)>,
    reached: Arc<StreamReach>,
    /// The number of this batch of changes.
    pub number: u64,
}

impl StateCache {
    /// Loads the parts of an index beside its states of commands.
    pub fn load(&mut self, checkpoint: Option<IndexCheckpoint>, writers: Vec<(Uuid, u64)>) {
        self.reached = checkpoint.map(|checkpoint| Arc::new(StreamReach::Before(checkpoint)));
        let numbered = |(writer, highest)| (writer, WriterNumber { highest, moved: false });
        self.numbers = writers.into_iter().map(numbered).collect();
    }

    /// Clears the view.
    pub fn reset(&mut self) {
        *self = Self { order: self.order, taken: self.taken, ..Self::default() };
    }

    /// Returns the state of a command, if it is in memory.
    pub fn get(&self, id: &CommandId) -> Option<CachedState> {
        let changed = self.unsaved.cases.get(id).or_else(|| self.saving.cases.get(id));
        changed.map(|changed| changed.state.clone()).or_else(|| {
            let saved = self.young.get(id).or_else(|| self.old.get(id));
            saved.map(|state| CachedState::Whole(Arc::clone(state)))
        })
    }

    /// Changes the state of a command. `loaded` is the state in the index, where [`get`](Self::get)
    /// returns none.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]: the state can't be unpacked. Nothing has changed then.
    pub fn change<T>(
        &mut self,
        id: &CommandId,
        loaded: Option<CommandState>,
        bytes: usize,
        change: impl FnOnce(&mut Option<Arc<CommandState>>) -> T,
    ) -> Result<T, IndexError> {
        let TakenState { id, order, state, bytes: size } = self.take_state(id)?;
        let mut slot = state.or_else(|| loaded.map(Arc::new));
        let outcome = change(&mut slot);
        if let Some(state) = slot {
            let changed = if is_finished(&state) {
                let packed = self.packer.pack(&id, &state);
                let bytes = packed.size();
                ChangedCommand { order, state: CachedState::Packed(Arc::new(packed)), bytes }
            } else {
                let bytes = size.saturating_add(bytes);
                ChangedCommand { order, state: CachedState::Whole(state), bytes }
            };
            self.unsaved.insert(id, changed);
        }
        Ok(outcome)
    }

    /// Takes the state of a command that is about to change.
    fn take_state(&mut self, id: &CommandId) -> Result<TakenState, IndexError> {
        if let Some((id, changed)) = self.unsaved.remove(id) {
            let ChangedCommand { order, state, bytes } = changed;
            return match state {
                CachedState::Whole(state) => {
                    Ok(TakenState { id, order, state: Some(state), bytes })
                }
                CachedState::Packed(packed) => match packed.unpack(&id) {
                    Ok(state) => Ok(TakenState { id, order, state: Some(Arc::new(state)), bytes }),
                    Err(error) => {
                        let state = CachedState::Packed(packed);
                        self.unsaved.insert(id, ChangedCommand { order, state, bytes });
                        Err(error)
                    }
                },
            };
        }
        let saving =
            self.saving.cases.get(id).map(|changed| changed.state.whole(id)).transpose()?;
        let saved = self.young.remove(id).or_else(|| self.old.remove(id));
        self.order += 1;
        Ok(TakenState { id: id.clone(), order: self.order, state: saving.or(saved), bytes: 0 })
    }

    /// Returns the highest number of a writer that was applied; 0 where none was.
    pub fn highest(&self, writer: Uuid) -> u64 {
        self.numbers.get(&writer).map_or(0, |numbered| numbered.highest)
    }

    /// Marks a record as applied.
    pub fn note_record(&mut self, id: RecordId) {
        let numbered = self.numbers.entry(id.writer).or_default();
        numbered.highest = numbered.highest.max(id.number);
        if !std::mem::replace(&mut numbered.moved, true) {
            self.unsaved.writers.push(id.writer);
        }
    }

    /// Drops the saved states of these commands, which have changed in the index.
    pub fn drop_saved(&mut self, commands: &[CommandId]) {
        for id in commands {
            self.young.remove(id);
            self.old.remove(id);
        }
    }

    /// Adds a line that can't be read, to be saved.
    pub fn keep_unreadable(&mut self, line: UnreadableEntry) {
        self.unsaved.unreadable.push(line);
    }

    /// Records that a message is applied.
    pub fn note_applied(&mut self, reached: StreamReach) {
        self.reached = Some(Arc::new(reached));
    }

    /// Returns the last message that was applied.
    pub fn reached(&self) -> Option<Arc<StreamReach>> {
        self.reached.clone()
    }

    /// Returns true if there are unsaved changes.
    pub fn is_changed(&self) -> bool {
        let UnsavedChanges { cases, writers, unreadable, .. } = &self.unsaved;
        let is_empty = cases.is_empty() && writers.is_empty() && unreadable.is_empty();
        self.reached.is_some() && !(is_empty && self.jobs.is_saved())
    }

    /// Returns true while changes are being saved.
    pub fn is_saving(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Returns true if there are enough changes to save at once.
    pub fn is_laden(&self) -> bool {
        self.unsaved.cases.len() >= MAX_UNSAVED / 4 || self.unsaved.bytes >= MAX_UNSAVED_BYTES / 4
    }

    /// Returns true if no more records should be applied before changes were saved.
    pub fn is_full(&self) -> bool {
        self.unsaved.cases.len() + self.saving.cases.len() >= MAX_UNSAVED
            || self.unsaved.bytes.saturating_add(self.saving.bytes) >= MAX_UNSAVED_BYTES
    }

    /// Takes the unsaved changes, to be saved next. They stay in memory.
    pub fn take(&mut self) -> Option<TakenChanges> {
        let reached = self.reached.clone().filter(|_| self.is_changed())?;
        let unsaved = Arc::new(std::mem::take(&mut self.unsaved));
        self.saving = Arc::clone(&unsaved);
        let writers = unsaved.writers.iter().filter_map(|writer| {
            let numbered = self.numbers.get_mut(writer)?;
            numbered.moved = false;
            Some((*writer, numbered.highest))
        });
        let writers = writers.collect();
        self.taken += 1;
        let jobs = self.jobs.take();
        Some(TakenChanges { unsaved, writers, jobs, reached, number: self.taken })
    }

    /// Records that the changes were saved: from now on the index has them. Commands that have ended
    /// leave the memory, since hardly anything follows on their end. They are returned: to free
    /// thousands of them takes too long for a lock.
    pub fn note_saved(&mut self, taken: TakenChanges) -> Option<UnsavedChanges> {
        if !Arc::ptr_eq(&self.saving, &taken.unsaved) {
            // The view was cleared meanwhile.
            return None;
        }
        self.saving = Arc::default();
        self.jobs.saved(taken.jobs);
        let mut saved = Arc::into_inner(taken.unsaved)?;
        let open =
            saved.cases.extract_if(|_, changed| matches!(changed.state, CachedState::Whole(_)));
        for (id, ChangedCommand { state, bytes, .. }) in open {
            let CachedState::Whole(state) = state else { continue };
            if self.unsaved.cases.contains_key(&id) {
                continue;
            }
            let size = self.young_bytes.saturating_add(bytes);
            if self.young.len() >= GENERATION || size > GENERATION_BYTES {
                self.drop_saved_generation();
            }
            self.young_bytes = self.young_bytes.saturating_add(bytes);
            self.old.remove(&id);
            self.young.insert(id, state);
        }
        Some(saved)
    }
}

impl StateCache {
    /// Drops the older generation of saved states.
    fn drop_saved_generation(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.young_bytes = 0;
    }
}

/// Returns true if a command has ended and nothing of its end is left to publish.
fn is_finished(state: &CommandState) -> bool {
    state.ending.is_some() && !matches!(state.phase, CallPhase::Decided { effects: Some(_), .. })
}

impl UnsavedChanges {
    fn insert(&mut self, id: CommandId, changed: ChangedCommand) {
        self.bytes = self.bytes.saturating_add(changed.bytes);
        self.cases.insert(id, changed);
    }

    fn remove(&mut self, id: &CommandId) -> Option<(CommandId, ChangedCommand)> {
        let removed = self.cases.remove_entry(id)?;
        self.bytes = self.bytes.saturating_sub(removed.1.bytes);
        Some(removed)
    }

    fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.writers.is_empty() && self.unreadable.is_empty()
    }
}

impl TakenChanges {
    /// Returns the changes in the form that the index saves.
    pub fn changes(&self) -> IndexChanges {
        let UnsavedChanges { cases, unreadable, .. } = self.unsaved.as_ref();
        let mut ordered: Vec<_> = cases.iter().collect();
        ordered.sort_unstable_by_key(|(_, changed)| changed.order);
        let state =
            |(id, changed): (&CommandId, &ChangedCommand)| (id.clone(), changed.state.clone());
        IndexChanges {
            cases: ordered.into_iter().map(state).collect(),
            writers: self.writers.clone(),
            jobs: self.jobs.clone(),
            unreadable: unreadable.clone(),
            checkpoint: self.reached.checkpoint(),
        }
    }
}

#[cfg(test)]
#[path = "state_cache_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "packed_state_tests.rs"]
mod packed_state_tests;
