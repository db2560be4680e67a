//! What is known of commands, in memory: what changed and is not saved yet, and what was touched lately. The rest is in the
//! index.
//!
//! What is not saved is never forgotten here, so that what is not here is in the index as it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::batch::{Source, fingerprint};
use super::index::{Changes, Checkpoint, KeptLine, NotedRuling};
use super::jobs::JobTable;
use crate::domain::command_id::CommandId;
use crate::domain::job::{JobId, JobState};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::RecordId;
use crate::domain::ledger::ruling::Ruling;

/// How many saved cases each of the two generations has.
const GENERATION: usize = 20_000;
/// The same in bytes of the records that changed them: a case holds its command's event, which can be large.
const GENERATION_BYTES: usize = 32 << 20;
/// How many cases may be unsaved before reading on has to wait.
const MAX_UNSAVED: usize = 50_000;
/// The same in bytes of the records that changed them.
const MAX_UNSAVED_BYTES: usize = 64 << 20;

/// From so many unsaved cases on, more are going to change soon.
const MANY_UNSAVED: usize = 64;

/// What is known, and what of it is not saved.
#[derive(Default)]
pub(super) struct View {
    unsaved: Unsaved,
    /// What is being saved just now.
    saving: Arc<Unsaved>,
    young: HashMap<CommandId, Arc<Case>>,
    young_bytes: usize,
    old: HashMap<CommandId, Arc<Case>>,
    /// Commands that were looked for in the index in vain: new ones are asked for several times before their first record.
    absent: HashSet<CommandId>,
    /// Counts how often what is saved was forgotten here.
    turns: u64,
    numbers: HashMap<Uuid, Numbered>,
    /// The jobs that have not ended, and those that changed.
    pub jobs: JobTable,
    reached: Option<Arc<Reached>>,
    /// Counts what was changed, for its order.
    order: u64,
    /// Counts what was taken to be saved.
    pub taken: u64,
}

#[derive(Default)]
pub(super) struct Unsaved {
    cases: HashMap<CommandId, Changed>,
    writers: Vec<Uuid>,
    rulings: Vec<NotedRuling>,
    unreadable: Vec<KeptLine>,
    /// Of the records that made the changes.
    bytes: usize,
}

struct Changed {
    order: u64,
    case: Arc<Case>,
}

#[derive(Default)]
struct Numbered {
    highest: u64,
    /// Whether it is among the unsaved.
    moved: bool,
}

/// How far the stream has been applied.
pub(super) enum Reached {
    /// When this process began.
    Before(Checkpoint),
    /// To this message, which is kept so that it is hashed only where that is needed.
    Message {
        /// Its offset.
        offset: u64,
        /// Its writer.
        source: Option<Source>,
        /// Its body.
        body: Vec<u8>,
    },
}

impl Reached {
    /// The offset of the latest message that was applied.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Before(checkpoint) => checkpoint.offset,
            Self::Message { offset, .. } => *offset,
        }
    }

    /// As it is saved.
    pub fn checkpoint(&self) -> Checkpoint {
        match self {
            Self::Before(checkpoint) => *checkpoint,
            Self::Message { offset, source, body } => Checkpoint { offset: *offset, hash: fingerprint(*source, body) },
        }
    }
}

/// What is to be saved in one go.
pub(super) struct Taken {
    unsaved: Arc<Unsaved>,
    writers: Vec<(Uuid, u64)>,
    jobs: Vec<(JobId, Arc<JobState>)>,
    reached: Arc<Reached>,
    /// Counts these.
    pub number: u64,
}

impl View {
    /// What an index holds beside its cases.
    pub fn load(&mut self, checkpoint: Option<Checkpoint>, writers: Vec<(Uuid, u64)>) {
        self.reached = checkpoint.map(|checkpoint| Arc::new(Reached::Before(checkpoint)));
        let numbered = |(writer, highest)| (writer, Numbered { highest, moved: false });
        self.numbers = writers.into_iter().map(numbered).collect();
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        let (order, taken, turns) = (self.order, self.taken, self.turns + 1);
        *self = Self { turns, order, taken, ..Self::default() };
    }

    /// What is known of a command here.
    pub fn get(&self, id: &CommandId) -> Option<&Arc<Case>> {
        let changed = self.unsaved.cases.get(id).or_else(|| self.saving.cases.get(id));
        changed.map(|changed| &changed.case).or_else(|| self.young.get(id)).or_else(|| self.old.get(id))
    }

    /// Whether nothing is known of a command, neither here nor in the index.
    pub fn is_absent(&self, id: &CommandId) -> bool {
        self.absent.contains(id)
    }

    /// When looking for a command in the index begins; for [`note_absent`](Self::note_absent).
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Notes that the index has nothing of a command. Since it was looked for, from `turns` on, it may have become known;
    /// then it is known here, unless so much was forgotten meanwhile that nobody can tell.
    pub fn note_absent(&mut self, id: &CommandId, turns: u64) {
        if self.turns == turns && self.get(id).is_none() {
            if self.absent.len() >= GENERATION {
                self.absent.clear();
            }
            self.absent.insert(id.clone());
        }
    }

    /// Changes what is known of a command. `loaded` is what the index has of it, where [`get`](Self::get) has nothing.
    pub fn change<T>(
        &mut self,
        id: &CommandId,
        loaded: Option<Case>,
        bytes: usize,
        change: impl FnOnce(&mut Option<Case>) -> T,
    ) -> T {
        self.absent.remove(id);
        let before = self.unsaved.cases.remove_entry(id);
        let (key, order, known) = if let Some((key, Changed { order, case })) = before {
            (key, order, Some(case))
        } else {
            self.order += 1;
            let saving = || self.saving.cases.get(id).map(|changed| Arc::clone(&changed.case));
            let saved = self.young.remove(id).or_else(|| self.old.remove(id));
            (id.clone(), self.order, saving().or(saved))
        };
        let mut slot = known.map(Arc::unwrap_or_clone).or(loaded);
        let outcome = change(&mut slot);
        if let Some(case) = slot {
            self.unsaved.cases.insert(key, Changed { order, case: Arc::new(case) });
            self.unsaved.bytes = self.unsaved.bytes.saturating_add(bytes);
        }
        outcome
    }

    /// The highest number of a writer that was applied; 0 where none was.
    pub fn highest(&self, writer: Uuid) -> u64 {
        self.numbers.get(&writer).map_or(0, |numbered| numbered.highest)
    }

    /// Notes that a record was applied.
    pub fn applied(&mut self, id: RecordId) {
        let numbered = self.numbers.entry(id.writer).or_default();
        numbered.highest = numbered.highest.max(id.number);
        if !std::mem::replace(&mut numbered.moved, true) {
            self.unsaved.writers.push(id.writer);
        }
    }

    /// Notes the ruling on a record for which a person waits.
    pub fn ruled(&mut self, id: RecordId, command: CommandId, ruling: Ruling) {
        self.unsaved.rulings.push(NotedRuling { id, command, ruling });
    }

    /// Forgets what is saved of these commands, which has changed in the index.
    pub fn forget_saved(&mut self, commands: &[CommandId]) {
        for id in commands {
            self.young.remove(id);
            self.old.remove(id);
        }
    }

    /// Keeps a line that can't be read.
    pub fn keep(&mut self, line: KeptLine) {
        self.unsaved.unreadable.push(line);
    }

    /// Notes that a message is applied.
    pub fn reach(&mut self, reached: Reached) {
        self.reached = Some(Arc::new(reached));
    }

    /// How far the stream has been applied.
    pub fn reached(&self) -> Option<Arc<Reached>> {
        self.reached.clone()
    }

    /// Whether there is something to save.
    pub fn is_changed(&self) -> bool {
        let Unsaved { cases, writers, unreadable, .. } = &self.unsaved;
        let is_empty = cases.is_empty() && writers.is_empty() && unreadable.is_empty();
        self.reached.is_some() && !(is_empty && self.jobs.is_saved())
    }

    /// Whether something is being saved.
    pub fn is_saving(&self) -> bool {
        !self.saving.is_empty()
    }

    /// Whether so much changes that what is saved now would soon change again.
    pub fn is_busy(&self) -> bool {
        self.unsaved.cases.len() >= MANY_UNSAVED
    }

    /// Whether it is worth while to save at once.
    pub fn is_laden(&self) -> bool {
        self.unsaved.cases.len() >= MAX_UNSAVED / 10 || self.unsaved.bytes >= MAX_UNSAVED_BYTES / 10
    }

    /// Whether nothing more should be applied before something was saved.
    pub fn is_full(&self) -> bool {
        self.unsaved.cases.len() + self.saving.cases.len() >= MAX_UNSAVED
            || self.unsaved.bytes.saturating_add(self.saving.bytes) >= MAX_UNSAVED_BYTES
    }

    /// Takes what is to be saved next. It stays known here.
    pub fn take(&mut self) -> Option<Taken> {
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
        Some(Taken { unsaved, writers, jobs, reached, number: self.taken })
    }

    /// Notes that it was saved: from now on the index has it.
    pub fn saved(&mut self, taken: Taken) {
        if !Arc::ptr_eq(&self.saving, &taken.unsaved) {
            // Everything was forgotten meanwhile.
            return;
        }
        self.saving = Arc::default();
        self.jobs.saved(taken.jobs);
        let Some(Unsaved { cases, bytes, .. }) = Arc::into_inner(taken.unsaved) else { return };
        if self.young_bytes.saturating_add(bytes) > GENERATION_BYTES {
            self.turn();
        }
        self.young_bytes = self.young_bytes.saturating_add(bytes);
        for (id, Changed { case, .. }) in cases {
            if self.young.len() >= GENERATION {
                self.turn();
            }
            if !self.unsaved.cases.contains_key(&id) {
                self.old.remove(&id);
                self.young.insert(id, case);
            }
        }
    }
}

impl View {
    /// Forgets the older generation of what is saved.
    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.young_bytes = 0;
        self.turns += 1;
    }
}

impl Unsaved {
    fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.writers.is_empty() && self.unreadable.is_empty()
    }
}

impl Taken {
    /// As the index takes it.
    pub fn changes(&self) -> Changes {
        let Unsaved { cases, rulings, unreadable, .. } = self.unsaved.as_ref();
        let mut ordered: Vec<_> = cases.iter().collect();
        ordered.sort_unstable_by_key(|(_, changed)| changed.order);
        let case = |(id, changed): (&CommandId, &Changed)| (id.clone(), Arc::clone(&changed.case));
        Changes {
            cases: ordered.into_iter().map(case).collect(),
            writers: self.writers.clone(),
            jobs: self.jobs.clone(),
            rulings: rulings.clone(),
            unreadable: unreadable.clone(),
            checkpoint: self.reached.checkpoint(),
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
