//! Going through the queues of dead letters once, with many acted on at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lapin::Acker;
use lapin::message::Delivery;
use tokio::task::JoinSet;

use super::job_run::JobRun;
use super::letter::{LetterOutcome, LetterWorker};
use super::pace::JobPace;
use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::operator::OperatorError;
use crate::operator::queue_cursor::QueueCursor;
use crate::operator::queued_dead_letter::{LetterId, QueuedDeadLetter};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::MAX_NAMED;
use ferryd_domain::job::state::LetterRefusal;

/// The most dead letters that are acted on at a time, and the most bytes of their bodies.
const MOST_UNDER_WAY: usize = 256;
const MOST_BYTES: usize = 32 << 20;
/// For how long a walk holds messages before it gives them back and begins anew behind what it has
/// removed. The broker closes the channel of a consumer that holds a message for 30 minutes.
const LONGEST_HOLD: Duration = Duration::from_mins(10);

/// One passage through the queues.
pub(super) struct JobRound<'r> {
    run: &'r JobRun,
    pace: JobPace,
    /// Ends after the first dead letter that is acted on.
    is_canary: bool,
    under_way: JoinSet<LetterResult>,
    bytes: usize,
    /// The meant ones that were met, where ids are meant.
    met: BTreeSet<CommandId>,
    pub findings: RoundFindings,
}

/// Findings of one passage through the queues.
#[derive(Default)]
pub(super) struct RoundFindings {
    /// The commands whose dead letters stay: refused, queried at the provider, or only looked at.
    pub staying: HashSet<CommandId>,
    /// The first that was acted on, and the generation that its replay begins.
    pub first: Option<(CommandId, u32)>,
    /// The dead letters that were removed.
    pub removed: u64,
}

/// A dead letter that was acted on.
struct LetterResult {
    page: usize,
    acker: Acker,
    dead: QueuedDeadLetter,
    outcome: Result<LetterOutcome, OperatorError>,
}

impl<'r> JobRound<'r> {
    /// Prepares a passage.
    pub fn new(run: &'r JobRun, is_canary: bool) -> Self {
        Self {
            run,
            pace: JobPace::new(&run.spec),
            is_canary,
            under_way: JoinSet::new(),
            bytes: 0,
            met: BTreeSet::new(),
            findings: RoundFindings::default(),
        }
    }

    /// Goes through the queues, until all is done or the job is to stop. What was under way is
    /// finished then.
    ///
    /// # Errors
    /// [`OperatorError`]; what was not finished is in its queue.
    pub async fn go_through(&mut self, queues: &[String]) -> Result<(), OperatorError> {
        for queue in queues {
            while !self.is_over() && self.walk(queue).await? {}
        }
        Ok(())
    }

    /// Walks through one queue. Returns whether there is more to do, but the broker should get back
    /// what is held.
    async fn walk(&mut self, queue: &str) -> Result<bool, OperatorError> {
        let Some(mut walk) = QueueCursor::begin(&self.run.context.operator, queue).await? else {
            return Ok(false);
        };
        let passed = self.pass(queue, &mut walk).await;
        let finished = self.finish(&mut walk).await;
        let ended = walk.end().await;
        finished?;
        ended?;
        passed
    }

    async fn pass(&mut self, queue: &str, walk: &mut QueueCursor) -> Result<bool, OperatorError> {
        let removed_before = self.findings.removed;
        while !self.is_over() {
            let Some(delivery) = walk.next().await? else { return Ok(false) };
            if self.is_anothers(&delivery) {
                continue;
            }
            let dead = QueuedDeadLetter::read(queue, &delivery);
            if !self.run.is_meant(&dead) || self.findings.staying.contains(&dead.identity.id) {
                continue;
            }
            if !self.pace.wait_for_turn(&self.run.halt).await {
                break;
            }
            while self.under_way.len() >= MOST_UNDER_WAY || self.bytes > MOST_BYTES {
                self.finish_one(walk).await?;
            }
            self.begin(walk.page(), delivery.acker, dead);
            if self.is_canary {
                self.finish(walk).await?;
            }
            while let Some(done) = self.under_way.try_join_next() {
                self.take_note(done, walk).await?;
            }
            // A walk that removed nothing would only repeat itself.
            if walk.age() > shorten_wait(ShortenedWait::JobHold, LONGEST_HOLD)
                && self.findings.removed > removed_before
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether nothing is left to be looked for, or the job is to stop.
    fn is_over(&self) -> bool {
        let ids = &self.run.spec.filter.ids;
        let all_met = !ids.is_empty() && self.met.len() == ids.len();
        self.run.halt.is_set() || all_met || (self.is_canary && self.findings.first.is_some())
    }

    /// Returns whether a dead letter is certainly none of those that are meant by their ids,
    /// without reading all of it.
    fn is_anothers(&self, delivery: &Delivery) -> bool {
        let ids = &self.run.spec.filter.ids;
        if ids.is_empty() {
            return false;
        }
        LetterId::is_anothers(delivery, |id| ids.iter().any(|wanted| wanted.as_str() == id))
    }

    fn begin(&mut self, page: usize, acker: Acker, dead: QueuedDeadLetter) {
        if !self.run.spec.filter.ids.is_empty() {
            self.met.insert(dead.identity.id.clone());
        }
        self.bytes += dead.body.len();
        let worker: Arc<LetterWorker> = Arc::clone(&self.run.worker);
        self.under_way.spawn(async move {
            let outcome = worker.process_letter(&dead).await;
            LetterResult { page, acker, dead, outcome }
        });
    }

    /// Finishes everything that is under way.
    async fn finish(&mut self, walk: &mut QueueCursor) -> Result<(), OperatorError> {
        let mut finished = Ok(());
        while !self.under_way.is_empty() {
            // What is done is removed even where something else has failed.
            finished = self.finish_one(walk).await.and(finished);
        }
        finished
    }

    async fn finish_one(&mut self, walk: &mut QueueCursor) -> Result<(), OperatorError> {
        match self.under_way.join_next().await {
            Some(done) => self.take_note(done, walk).await,
            None => Ok(()),
        }
    }

    async fn take_note(
        &mut self,
        done: Result<LetterResult, tokio::task::JoinError>,
        walk: &mut QueueCursor,
    ) -> Result<(), OperatorError> {
        // A panic was logged where it happened; its dead letter stays.
        let Ok(LetterResult { page, acker, dead, outcome }) = done else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(dead.body.len());
        let outcome = outcome?;
        if outcome.removes() {
            walk.remove_from(page, &acker).await?;
            self.findings.removed += 1;
        }
        if outcome == LetterOutcome::Acted {
            let next = dead.letter.as_ref().filter(|_| !dead.identity.id.is_refused());
            let generation = next.map_or(0, |letter| letter.generation.saturating_add(1));
            self.findings
                .first
                .get_or_insert_with(|| (dead.identity.id.published_id(), generation));
        }
        if !outcome.removes() {
            self.findings.staying.insert(dead.identity.id.clone());
        }
        self.run.count(&dead, outcome);
        Ok(())
    }
}

impl JobRun {
    /// Returns whether a dead letter is meant, and was one when the job was started.
    fn is_meant(&self, dead: &QueuedDeadLetter) -> bool {
        let letter = dead.letter.as_ref();
        self.spec.filter.matches(&dead.identity, letter)
            && self.spec.scope.admits(&dead.identity)
            && letter.is_none_or(|letter| letter.dead_lettered_at <= self.spec.cut_off)
    }

    fn count(&self, dead: &QueuedDeadLetter, outcome: LetterOutcome) {
        let mut progress = self.progress();
        match outcome {
            // The record counts it.
            LetterOutcome::Acted | LetterOutcome::Resumed => {}
            LetterOutcome::Closed => progress.closed += 1,
            LetterOutcome::LookupRequested | LetterOutcome::Planned => progress.unrecorded += 1,
            LetterOutcome::Refused(reason) => {
                progress.refused += 1;
                if progress.refusals.len() < MAX_NAMED {
                    let (id, queue) = (dead.identity.id.clone(), dead.queue.clone());
                    progress.refusals.push(LetterRefusal { id, queue, reason });
                }
            }
        }
    }
}
